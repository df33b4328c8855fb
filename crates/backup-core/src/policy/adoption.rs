//! Which sessions the files of another program were, by their names: purely.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::{
    repository::stamp_of,
    traits::Meta,
    words::{Key, SessionId, SessionType, check_component_name},
};

/// The folder of archives that hold the files of the others once more.
const UNIFIED: &str = "unified";
/// A file that was written to so lately may not be whole yet.
const SETTLED: TimeDelta = TimeDelta::minutes(10);

/// What is known of a store before files in it are adopted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Sessions of which the store has anything.
    pub(crate) sessions: BTreeSet<SessionId>,
    /// Objects that a manifest names.
    pub(crate) named: BTreeSet<Key>,
}

/// Files that were made together.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The id that they get; free, and no file's stamp.
    pub(crate) id: SessionId,
    /// When they were begun.
    pub(crate) begun: DateTime<Utc>,
    /// The folder they stand in.
    pub(crate) session_type: SessionType,
    /// By the component's name, which is the folder they stand in.
    pub(crate) components: BTreeMap<String, Vec<Meta>>,
    /// The archive of them all.
    pub(crate) unified: Option<Meta>,
}

/// A file that is left alone, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Which.
    pub key: Key,
    /// Why.
    pub why: String,
}

/// Groups `files` (all below the types' folders) by the stamp in their names, which is a time in `zone`. No id equals a stamp
/// that any file has: what stands under a session's stamp goes with it, and these files stand under others.
pub(crate) fn found(
    files: &[Meta],
    known: &Known,
    zone: Tz,
    now: DateTime<Utc>,
) -> (Vec<Found>, Vec<PassedOver>) {
    let mut groups: BTreeMap<(SessionId, SessionType), Found> = BTreeMap::new();
    let mut passed_over = Vec::new();
    for file in files.iter().filter(|file| !known.named.contains(&file.key)) {
        match place(file, known, zone, now) {
            Ok(Place { stamp, begun, session_type, component }) => {
                let group = groups.entry((stamp, session_type)).or_insert_with(|| Found {
                    id: SessionId::at(begun),
                    begun,
                    session_type,
                    components: BTreeMap::new(),
                    unified: None,
                });
                match component {
                    None => group.unified = Some(file.clone()),
                    Some(name) => group.components.entry(name).or_default().push(file.clone()),
                }
            }
            Err(why) => passed_over.push(PassedOver { key: file.key.clone(), why }),
        }
    }
    let (whole, lone): (Vec<Found>, Vec<Found>) =
        groups.into_values().partition(|group| !group.components.is_empty());
    passed_over.extend(lone.into_iter().filter_map(|group| group.unified).map(|file| PassedOver {
        key: file.key,
        why: "it is an archive of files that are not there".to_owned(),
    }));
    (with_free_ids(whole, files, known), passed_over)
}

struct Place {
    stamp: SessionId,
    begun: DateTime<Utc>,
    session_type: SessionType,
    component: Option<String>,
}

fn place(file: &Meta, known: &Known, zone: Tz, now: DateTime<Utc>) -> Result<Place, String> {
    let parts: Vec<&str> = file.key.as_str().split('/').collect();
    let [session_type, folder, _] = parts[..] else {
        return Err("it does not stand in TYPE/NAME/".to_owned());
    };
    let session_type = SessionType::ALL.into_iter().find(|known| known.as_str() == session_type);
    let session_type = session_type.ok_or_else(|| "its folder is no type of session".to_owned())?;
    let stamp = stamp_of(&file.key).ok_or_else(|| "there is no _YYYYMMDD_HHMMSS in its name".to_owned())?;
    if known.sessions.contains(&stamp) {
        return Err(format!("{stamp} is a session of this repository"));
    }
    // From now on runs claim ids: none of theirs may come to be this stamp.
    if stamp.time() >= now {
        return Err(format!(
            "as UTC its stamp is yet to come: import it after {}",
            stamp.time().format("%F %H:%M UTC")
        ));
    }
    if now - file.modified < SETTLED {
        return Err("it was written to in the last ten minutes: it may not be whole yet".to_owned());
    }
    let component = match folder {
        UNIFIED => None,
        name => {
            check_component_name(name).map_err(|_| format!("`{name}` does not do as a component's name"))?;
            Some(name.to_owned())
        }
    };
    Ok(Place { stamp, begun: utc(stamp, zone), session_type, component })
}

/// The stamp as a time in `zone`: of two, when clocks were set back, the first; when they were set forward over it, the time
/// that clocks which had not been would have shown.
fn utc(stamp: SessionId, zone: Tz) -> DateTime<Utc> {
    let naive = stamp.time().naive_utc();
    let at =
        |naive: chrono::NaiveDateTime| naive.and_local_timezone(zone).earliest().map(|time| time.to_utc());
    let skipped = || at(naive - TimeDelta::hours(3)).map(|time| time + TimeDelta::hours(3));
    at(naive).or_else(skipped).unwrap_or_else(|| naive.and_utc())
}

fn with_free_ids(mut groups: Vec<Found>, files: &[Meta], known: &Known) -> Vec<Found> {
    let mut taken: BTreeSet<SessionId> = files.iter().filter_map(|file| stamp_of(&file.key)).collect();
    taken.extend(&known.sessions);
    groups.sort_by_key(|group| (group.begun, group.session_type));
    for group in &mut groups {
        while !taken.insert(group.id) {
            group.id = group.id.next();
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BERLIN: Tz = Tz::Europe__Berlin;

    fn now() -> DateTime<Utc> {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn file(key: &str) -> Meta {
        Meta::new(Key::new(key).unwrap(), 1, now() - TimeDelta::days(1))
    }

    fn ids(groups: &[Found]) -> Vec<String> {
        groups.iter().map(|group| group.id.stamp()).collect()
    }

    #[test]
    fn files_of_one_stamp_are_one_session_at_its_time_in_the_zone() {
        let files = [
            file("weekly/etcd/etcd_backup_20260108_020000.db.gz"),
            file("weekly/supabase/supabase_backup_20260108_020000_config.yaml.gz"),
            file("weekly/unified/crm_unified_backup_20260108_020000.tar.gz"),
            file("daily/etcd/etcd_backup_20250708_020000.db.gz"),
        ];
        let (groups, passed_over) = found(&files, &Known::default(), BERLIN, now());
        assert_eq!(ids(&groups), ["20250708_000000", "20260108_010000"]);
        assert_eq!(groups[1].components.keys().collect::<Vec<_>>(), ["etcd", "supabase"]);
        assert!(groups[1].unified.is_some() && groups[1].session_type == SessionType::Weekly);
        assert_eq!(passed_over, []);
    }

    #[test]
    fn what_is_not_theirs_or_not_sure_is_left_alone_and_said() {
        let mut young = file("daily/etcd/etcd_backup_20260107_020000.db.gz");
        young.modified = now() - TimeDelta::minutes(1);
        let files = [
            young,
            file("daily/etcd/notes.txt"),
            file("daily/etcd_backup_20260107_020001.db.gz"),
            file("daily/My DB/x_20260107_020002.db.gz"),
            file("daily/unified/crm_unified_backup_20260107_020003.tar.gz"),
            file("daily/etcd/etcd_backup_20260107_020004.db.gz"),
            file("daily/etcd/etcd_backup_20260601_010000.db.gz"),
            file("daily/etcd/etcd_backup_20260107_020005.db.gz"),
        ];
        let known = Known {
            sessions: BTreeSet::from(["backup_20260107_020004".parse().unwrap()]),
            named: BTreeSet::from([files[7].key.clone()]),
        };
        let (groups, passed_over) = found(&files, &known, BERLIN, now());
        assert!(groups.is_empty(), "{groups:?}");
        assert_eq!(passed_over.len(), 7, "{passed_over:?}");
    }

    #[test]
    fn both_daylight_changes_have_an_answer() {
        let at = |stamp: &str| utc(format!("backup_{stamp}").parse().unwrap(), BERLIN).to_rfc3339();
        assert_eq!(at("20251026_023000"), "2025-10-26T00:30:00+00:00");
        assert_eq!(at("20260329_023000"), "2026-03-29T01:30:00+00:00");
    }

    proptest! {
        #[test]
        fn ids_are_free_and_every_file_is_accounted_for_once(
            hours in prop::collection::vec((0i64..2000, 0usize..2), 1..40),
            offset in prop::sample::select(vec![Tz::UTC, BERLIN, Tz::Asia__Almaty, Tz::America__New_York]),
            session in 0i64..2000,
        ) {
            let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
            let stamp = |hour: i64| SessionId::at(start + TimeDelta::hours(hour));
            let files: BTreeSet<String> = hours
                .iter()
                .map(|(hour, kind)| format!("{}/etcd/etcd_backup_{}.db.gz", ["daily", "weekly"][*kind], stamp(*hour).stamp()))
                .collect();
            let files: Vec<Meta> = files.iter().map(|key| file(key)).collect();
            let known = Known { sessions: BTreeSet::from([stamp(session)]), named: BTreeSet::new() };
            let (groups, passed_over) = found(&files, &known, offset, now());
            let stamps: BTreeSet<SessionId> = files.iter().filter_map(|file| stamp_of(&file.key)).collect();
            let mut seen = BTreeSet::new();
            for group in &groups {
                prop_assert!(!stamps.contains(&group.id) && !known.sessions.contains(&group.id));
                prop_assert!(seen.insert(group.id));
                prop_assert!((group.id.time() - group.begun).num_seconds() <= 40);
            }
            let adopted: usize = groups.iter().flat_map(|group| group.components.values()).map(Vec::len).sum();
            prop_assert_eq!(adopted + passed_over.len(), files.len());
        }
    }
}
