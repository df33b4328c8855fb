//! How full the stores were: measured whenever the dashboard looks, so that it can tell how they grow. Losing it costs the
//! forecast its history, nothing else.

use std::{collections::BTreeMap, io::Write, path::PathBuf, sync::Mutex};

use chrono::{DateTime, TimeDelta, Utc};

/// Two measurements are at least so long apart.
const APART: TimeDelta = TimeDelta::hours(6);
/// How long they are kept.
const KEPT: TimeDelta = TimeDelta::days(120);

/// Used bytes over time, by store.
type Measured = BTreeMap<String, Vec<(DateTime<Utc>, u64)>>;

/// The measurements, and the file that they are kept in where there is one.
#[derive(Debug)]
pub(super) struct SpaceBook {
    file: Option<PathBuf>,
    measured: Mutex<Measured>,
}

impl SpaceBook {
    /// Reads the file; one that cannot be read is none.
    pub(super) fn open(file: Option<PathBuf>) -> Self {
        let read = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let measured = read.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        Self { file, measured: Mutex::new(measured) }
    }

    /// Enters what is used now, and returns all measurements of the store.
    pub(super) fn enter(&self, store: &str, now: DateTime<Utc>, used: u64) -> Vec<(DateTime<Utc>, u64)> {
        let mut measured = self.measured.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let series = measured.entry(store.to_owned()).or_default();
        let new = enter(series, now, used);
        let mut all = series.clone();
        if new {
            self.write(&measured);
        } else {
            all.push((now, used));
        }
        all
    }

    fn write(&self, measured: &Measured) {
        let Some(file) = &self.file else { return };
        let folder = file.parent().unwrap_or(file);
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut new| {
            new.write_all(&serde_json::to_vec(measured)?)?;
            new.persist(file).map(drop).map_err(Into::into)
        });
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "how full the stores are cannot be written down");
        }
    }
}

/// Whether it was worth an entry.
fn enter(series: &mut Vec<(DateTime<Utc>, u64)>, now: DateTime<Utc>, used: u64) -> bool {
    // A clock that was set back must not keep the future.
    series.retain(|(at, _)| *at <= now && now - *at <= KEPT);
    let new = series.last().is_none_or(|(last, _)| now - *last >= APART);
    if new {
        series.push((now, used));
    }
    new
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the clock does, little is kept, in order, of the last months.
        #[test]
        fn little_is_kept_and_in_order(steps in prop::collection::vec(-3_000_i64..10_000, 0..300)) {
            let (mut series, mut now) = (Vec::new(), DateTime::UNIX_EPOCH + TimeDelta::days(9000));
            for (used, minutes) in steps.into_iter().enumerate() {
                now += TimeDelta::minutes(minutes);
                enter(&mut series, now, used as u64);
                prop_assert!(series.windows(2).all(|pair| pair[1].0 - pair[0].0 >= APART));
                prop_assert!(series.iter().all(|(at, _)| *at <= now && now - *at <= KEPT));
            }
        }
    }

    #[test]
    fn measurements_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (file, now) = (folder.path().join("space.json"), DateTime::UNIX_EPOCH);
        assert_eq!(SpaceBook::open(Some(file.clone())).enter("local", now, 7), [(now, 7)]);
        let later = now + TimeDelta::days(1);
        assert_eq!(SpaceBook::open(Some(file)).enter("local", later, 9), [(now, 7), (later, 9)]);
    }
}
