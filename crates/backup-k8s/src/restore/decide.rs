//! What is done with an object. Pure: the same look gives the same decision, in the plan and when it is applied.

use super::{diff::Difference, normal::Fingerprint, options::Existing};

/// What is remembered of an object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// Its identity.
    pub(super) uid: Box<str>,
    /// Of its form for comparing.
    pub(super) print: Fingerprint,
    /// It is being deleted.
    pub(super) going: bool,
    /// A workload that a restore has stopped.
    pub(super) stopped: bool,
    /// Of a volume: the claim that it is for.
    pub(super) claim: Option<Box<ClaimOf>>,
}

/// The claim that a volume is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimOf {
    /// `NAMESPACE/NAME`.
    pub(super) key: String,
    /// The claim is gone, and the volume waits for somebody to decide.
    pub(super) released: bool,
}

/// How an object of the cluster is to the one that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// There is none.
    Absent,
    /// There is one that is the same.
    Same,
    /// There is another one.
    Other(Difference),
}

/// What may be done with an existing object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Whatever the options say.
    Free,
    /// Data hang on it, or other objects: it is never deleted.
    Undeleted,
    /// It is the original's, and serves the whole cluster: it is never changed for a copy.
    Unchanged,
}

/// What the decision depends on besides both objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// What the options say.
    pub(super) existing: Existing,
    /// The namespace is made by this restore: what is in it was put there by the cluster's own controllers.
    pub(super) fresh: bool,
    /// What may be done with it at all.
    pub(super) leave: Leave,
    /// It is a volume whose claim is gone and comes back with this restore.
    pub(super) rebind: bool,
}

/// What is done with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is created.
    Create,
    /// What the backup says is set.
    Update,
    /// It is deleted and created.
    Replace,
    /// A volume forgets its old claim, so that the restored one gets it.
    Rebind,
    /// There is nothing to do.
    Same,
    /// It is left as it is.
    Skip(&'static str),
    /// It can't be restored as asked.
    Conflict(String),
}

impl Decision {
    /// True when something is written.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Replace | Self::Rebind)
    }

    /// True when what is in the cluster now is overwritten: a change there matters.
    pub(super) fn overwrites(&self) -> bool {
        matches!(self, Self::Update | Self::Replace | Self::Rebind)
    }

    /// A letter for each.
    pub(super) fn letter(&self) -> u8 {
        match self {
            Self::Create => b'c',
            Self::Update => b'u',
            Self::Replace => b'r',
            Self::Rebind => b'b',
            Self::Same => b'=',
            Self::Skip(_) => b's',
            Self::Conflict(_) => b'!',
        }
    }
}

/// Decides.
pub(super) fn decide(rules: Rules, live: Option<&Live>, state: &State) -> Decision {
    let Some(live) = live else { return Decision::Create };
    if rules.fresh {
        return Decision::Create;
    }
    if live.going {
        return Decision::Conflict("it is being deleted: plan again when it is gone".to_owned());
    }
    if rules.rebind {
        return Decision::Rebind;
    }
    let difference = match state {
        // A list that was older than the object itself: seen as new.
        State::Absent => return Decision::Create,
        State::Same => return Decision::Same,
        State::Other(difference) => difference,
    };
    let contained = difference.is_contained();
    match (rules.leave, rules.existing) {
        (Leave::Unchanged, _) => Decision::Skip("it is the original's and serves the whole cluster"),
        (_, Existing::Skip) if contained => Decision::Skip("it exists, and has more than the backup's"),
        (_, Existing::Skip) => Decision::Skip("it exists, and differs"),
        (_, Existing::Update) | (Leave::Undeleted, Existing::Replace) if contained => Decision::Same,
        (_, Existing::Update) | (Leave::Undeleted, Existing::Replace) => Decision::Update,
        (_, Existing::Replace) => Decision::Replace,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::diff::compare, *};

    fn live(going: bool) -> Live {
        Live { uid: "u".into(), print: [0; 16], going, stopped: false, claim: None }
    }

    fn rules() -> impl Strategy<Value = Rules> {
        let existing = prop_oneof![Just(Existing::Skip), Just(Existing::Update), Just(Existing::Replace)];
        let leave = prop_oneof![Just(Leave::Free), Just(Leave::Undeleted), Just(Leave::Unchanged)];
        (existing, any::<bool>(), leave, any::<bool>()).prop_map(|(existing, fresh, leave, rebind)| Rules {
            existing,
            fresh,
            leave,
            rebind,
        })
    }

    fn state() -> impl Strategy<Value = State> {
        let other = |wanted, there| State::Other(compare(&wanted, &there));
        prop_oneof![
            Just(State::Same),
            Just(other(json!({"a": 1}), json!({"a": 2}))),
            Just(other(json!({}), json!({"a": 2}))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_not_there_is_created(rules in rules(), state in state()) {
            prop_assert_eq!(decide(rules, None, &state), Decision::Create);
        }

        #[test]
        fn by_default_nothing_that_exists_is_overwritten(rules in rules(), state in state(), going in any::<bool>()) {
            let rules = Rules { existing: Existing::Skip, rebind: false, fresh: false, ..rules };
            prop_assert!(!decide(rules, Some(&live(going)), &state).writes());
        }

        #[test]
        fn what_is_kept_is_never_deleted_and_the_originals_never_touched(rules in rules(), state in state()) {
            let rules = Rules { rebind: false, fresh: false, ..rules };
            let decision = decide(rules, Some(&live(false)), &state);
            prop_assert!(rules.leave == Leave::Free || decision != Decision::Replace);
            prop_assert!(rules.leave != Leave::Unchanged || !decision.writes());
        }

        #[test]
        fn what_was_written_is_not_written_again(rules in rules()) {
            // After a write the object is the same.
            let decision = decide(Rules { rebind: false, fresh: false, ..rules }, Some(&live(false)), &State::Same);
            prop_assert_eq!(decision, Decision::Same);
        }

        #[test]
        fn an_object_on_its_way_out_is_a_conflict(rules in rules(), state in state()) {
            let decision = decide(Rules { fresh: false, ..rules }, Some(&live(true)), &state);
            prop_assert!(matches!(decision, Decision::Conflict(_)));
        }
    }

    #[test]
    fn an_update_sets_and_a_replacement_also_takes_away() {
        let rules = |existing| Rules { existing, fresh: false, leave: Leave::Free, rebind: false };
        let more = State::Other(compare(&json!({}), &json!({"a": 1})));
        let other = State::Other(compare(&json!({"a": 2}), &json!({"a": 1})));
        let decided = |existing, state| decide(rules(existing), Some(&live(false)), state);
        assert_eq!(decided(Existing::Update, &more), Decision::Same);
        assert_eq!(decided(Existing::Update, &other), Decision::Update);
        assert_eq!(decided(Existing::Replace, &more), Decision::Replace);
        assert_eq!(decided(Existing::Replace, &other), Decision::Replace);
    }
}
