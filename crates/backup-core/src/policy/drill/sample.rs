//! Which sessions a scheduled drill takes.

use std::collections::BTreeMap;

use crate::words::SessionId;

/// A session that could be drilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillCandidate {
    /// Which.
    pub id: SessionId,
    /// Its good components.
    pub good: Vec<String>,
}

/// What is drilled of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillPick {
    /// Which.
    pub session: SessionId,
    /// These of its components.
    pub components: Vec<String>,
}

/// For each component its newest good session, and one older by `chance`, so that in time all that is kept has its turn.
/// `chance` gives a number below its argument. The answer is in the order of the sessions, each once, newest last.
pub fn sample(
    candidates: &[DrillCandidate],
    components: &[String],
    mut chance: impl FnMut(usize) -> usize,
) -> Vec<DrillPick> {
    let mut picked: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
    for component in components {
        let mut sessions: Vec<SessionId> =
            candidates.iter().filter(|c| c.good.contains(component)).map(|c| c.id).collect();
        sessions.sort();
        let Some(newest) = sessions.pop() else { continue };
        picked.entry(newest).or_default().push(component.clone());
        if !sessions.is_empty() {
            let older = sessions[chance(sessions.len()).min(sessions.len() - 1)];
            picked.entry(older).or_default().push(component.clone());
        }
    }
    picked.into_iter().map(|(session, components)| DrillPick { session, components }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates() -> impl Strategy<Value = Vec<DrillCandidate>> {
        let good = prop::sample::subsequence(vec!["a", "b", "c"], 0..=3);
        prop::collection::vec(good, 0..12).prop_map(|sessions| {
            let id = |day: usize| format!("backup_202601{:02}_000000", day + 1).parse().unwrap();
            let named = |good: Vec<&str>| good.into_iter().map(str::to_owned).collect();
            sessions
                .into_iter()
                .enumerate()
                .map(|(day, good)| DrillCandidate { id: id(day), good: named(good) })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn each_component_is_drilled_from_its_newest_and_from_one_older(
            all in candidates(), number in any::<usize>(),
        ) {
            let components = ["a", "b"].map(str::to_owned);
            let picks = sample(&all, &components, |below| number % below);
            for component in &components {
                let good: Vec<SessionId> =
                    all.iter().filter(|c| c.good.contains(component)).map(|c| c.id).collect();
                let taken: Vec<SessionId> =
                    picks.iter().filter(|p| p.components.contains(component)).map(|p| p.session).collect();
                prop_assert_eq!(taken.len(), good.len().min(2));
                prop_assert_eq!(taken.last(), good.last());
                prop_assert!(taken.iter().all(|id| good.contains(id)));
            }
            prop_assert!(picks.iter().all(|pick| !pick.components.contains(&"c".to_owned())));
            prop_assert!(picks.windows(2).all(|pair| pair[0].session < pair[1].session));
        }
    }
}
