//! One component's way up: the engine reads the bytes, the component restores them.

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::time::Instant;

use super::place::{About, DrillPlace};
use crate::{
    engine::{Engine, nearest::NearCopy},
    pipeline::Keyring,
    policy::{ComponentDrill, Ladder, Rung},
    traits::{Context, Drill, Event, Selection, Source},
    words::{ComponentRecord, Error, ErrorKind, Result, human_bytes, human_time},
};

/// What removing may take after the time limit.
const AFTER: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

impl Engine {
    /// The keys that open these components; none when they are encrypted and there is no identity.
    pub(super) async fn drill_keys(&self, records: &[&ComponentRecord]) -> Result<Option<Keyring>> {
        let encrypted = records.iter().flat_map(|r| &r.artifacts).any(|artifact| artifact.is_encrypted());
        if encrypted && !self.identities.are_given() {
            return Ok(None);
        }
        self.keys_for(records.iter().copied()).await.map(Some)
    }

    /// All rungs of one component.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`], or when the throwaway place cannot be removed: all else is on the ladder.
    pub(super) async fn climb(
        &self,
        cx: &Context,
        near: &NearCopy,
        record: &ComponentRecord,
        keys: Option<&Keyring>,
        now: DateTime<Utc>,
    ) -> Result<ComponentDrill> {
        let mut ladder = Ladder::new();
        match keys {
            Some(keys) => {
                if read(cx, near, record, keys, &mut ladder).await? {
                    self.restore_and_look(cx, near, record, keys, &mut ladder).await?;
                }
            }
            None => fetch_closed(cx, near, record, &mut ladder).await?,
        }
        let climbed = ladder.finish();
        let age = |point: &crate::words::Point| (now - point.pinned.from).num_seconds();
        Ok(ComponentDrill {
            name: record.name.clone(),
            kind: record.kind.name.clone(),
            verdict: climbed.verdict,
            rungs: climbed.rungs,
            phases: climbed.phases,
            rto_seconds: climbed.rto_seconds,
            rpo_seconds: record.point.as_ref().map(age),
            bytes: record.artifacts.iter().map(|artifact| artifact.plain.size).sum(),
            tools: climbed.tools,
            neutralised: climbed.neutralised,
        })
    }

    async fn restore_and_look(
        &self,
        cx: &Context,
        near: &NearCopy,
        record: &ComponentRecord,
        keys: &Keyring,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let component = match self.component(&record.name) {
            Ok(component) if component.kind() == record.kind => component,
            Ok(_) => return not_run(ladder, "the component is of another kind in this configuration"),
            Err(_) => return not_run(ladder, "the component is not in this configuration"),
        };
        let Some(drill) = component.drill() else {
            let reason = format!("components of kind {} cannot be drilled by this version", record.kind.name);
            return not_run(ladder, &reason);
        };
        if let Err(reason) = self.has_room(drill.space(record)) {
            return not_run(ladder, &reason);
        }
        let place = match DrillPlace::make(
            &self.drill.folder,
            About { session: near.entry.id, ends_by: self.ends_by(cx) },
        ) {
            Ok(place) => place,
            Err(error) => return not_run(ladder, &format!("there is no place for it: {}", error.chain())),
        };
        let source = near.source(record, keys);
        let outcome = self.in_time(cx, drill, &place, &source, ladder).await;
        if let Err(error) = drill.remove(&place).await {
            let message = format!("what the drill made is not removed: {}", error.chain());
            cx.observer.event(Event::Warning { component: Some(record.name.clone()), message });
        }
        let removed = place.remove().await;
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => ladder.broke(&error.chain()),
        }
        removed
    }

    /// A drill that begins now has ended by then, with what comes after its time limit.
    fn ends_by(&self, cx: &Context) -> DateTime<Utc> {
        let limit = chrono::TimeDelta::from_std(self.drill.time_limit).unwrap_or(chrono::TimeDelta::MAX);
        let after = limit.checked_add(&AFTER).unwrap_or(limit);
        cx.now().checked_add_signed(after).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    async fn in_time(
        &self,
        cx: &Context,
        drill: &dyn Drill,
        place: &DrillPlace,
        source: &dyn Source,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let limit = self.drill.time_limit;
        let climbing = cx.or_cancelled("drill", drill.drill(cx, place, source, ladder));
        tokio::time::timeout(limit, climbing).await.unwrap_or_else(|_| {
            let limit = human_time(chrono::TimeDelta::from_std(limit).unwrap_or(chrono::TimeDelta::MAX));
            Err(Error::new(ErrorKind::TimedOut, "drill", "the component")
                .detail(format!("it was not done within {limit} (time_limit in [drill])")))
        })
    }

    /// Whether so many bytes have room beside what is to stay free.
    fn has_room(&self, needed: u64) -> Result<(), String> {
        let folder = &self.drill.folder;
        let nearest = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
        let about = rustix::fs::statvfs(nearest).map_err(|e| {
            format!("free space of {} is not known: {}", folder.display(), std::io::Error::from(e))
        })?;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        // Tables and file systems take some more than the bytes in them.
        let wanted = needed.saturating_add(needed / 10);
        if free >= wanted.saturating_add(self.drill.keep_free) {
            return Ok(());
        }
        Err(format!(
            "no space: it takes {} in {}, where {} are free and {} are to stay so (keep_free in [drill])",
            human_bytes(wanted),
            folder.display(),
            human_bytes(free),
            human_bytes(self.drill.keep_free)
        ))
    }
}

fn not_run(ladder: &mut Ladder, reason: &str) -> Result<()> {
    ladder.rest_not_run(reason);
    Ok(())
}

/// Reads every artifact to its plain bytes, all hashes compared. True when they are right.
async fn read(
    cx: &Context,
    near: &NearCopy,
    record: &ComponentRecord,
    keys: &Keyring,
    ladder: &mut Ladder,
) -> Result<bool> {
    let begun = Instant::now();
    let mut bytes = read_whole(cx, near, record, keys).await;
    if bytes.as_ref().is_err_and(|error| near.has_others(error))
        && near.settle(cx, std::iter::once(record)).await.is_ok()
    {
        bytes = read_whole(cx, near, record, keys).await;
    }
    match bytes {
        Ok(bytes) => {
            ladder.phase("fetch", begun.elapsed(), bytes);
            let objects: usize = record.artifacts.iter().map(|artifact| artifact.volumes.len()).sum();
            let stored = human_bytes(record.stored_bytes());
            let objects = if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") };
            ladder.passed(Rung::Fetched, format!("{objects}, {stored}, with the right SHA-256"));
            let encrypted = record.artifacts.iter().any(|artifact| artifact.is_encrypted());
            let how = if encrypted { "decrypted and unpacked" } else { "not encrypted; unpacked" };
            ladder.passed(Rung::Decrypted, format!("{how} to {} with the right SHA-256", human_bytes(bytes)));
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        Err(error) => {
            // Which of the two it was, the stored bytes alone say.
            match near.settle(cx, std::iter::once(record)).await {
                Err(cancelled) if cancelled.kind() == ErrorKind::Cancelled => return Err(cancelled),
                Err(stored) => ladder.broke(&stored.chain()),
                Ok(()) => {
                    ladder.passed(Rung::Fetched, "every stored byte has its SHA-256");
                    ladder.broke(&error.chain());
                }
            }
            Ok(false)
        }
    }
}

async fn read_whole(cx: &Context, near: &NearCopy, record: &ComponentRecord, keys: &Keyring) -> Result<u64> {
    let source = near.source(record, keys);
    let mut bytes = 0;
    for artifact in &record.artifacts {
        let mut stream = source.read(artifact, Selection::Whole).await?;
        while let Some(chunk) = cx.or_cancelled("drill", async { stream.next().await.transpose() }).await? {
            bytes += chunk.len() as u64;
        }
    }
    Ok(bytes)
}

/// Without a key only the stored bytes can be looked at.
async fn fetch_closed(
    cx: &Context,
    near: &NearCopy,
    record: &ComponentRecord,
    ladder: &mut Ladder,
) -> Result<()> {
    match near.settle(cx, std::iter::once(record)).await {
        Ok(()) => ladder.passed(Rung::Fetched, "every stored byte has its SHA-256"),
        Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
        Err(error) => ladder.broke(&error.chain()),
    }
    let mut readers: Vec<&str> =
        record.artifacts.iter().flat_map(|a| &a.recipients).map(String::as_str).collect();
    readers.dedup();
    let reason =
        format!("it is encrypted and there is no identity; it can be read by {}", readers.join(", "));
    ladder.rest_not_run(&reason);
    Ok(())
}
