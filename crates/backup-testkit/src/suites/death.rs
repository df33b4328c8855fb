//! Dying hosts, within one process.

use std::sync::Arc;

use backup_core::{
    traits::{Depth, Meta, Store},
    words::{Key, Result},
};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::Value;

use super::faults::FaultyStore;

/// Runs `work` on `host` until it ends or the host dies; dead, it is dropped where it stands, and there is no outcome.
pub async fn until_death<T>(host: &FaultyStore, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = host.died() => None,
        done = work => if host.is_dead() { None } else { Some(done) },
    }
}

/// Makes claims and journals of this process into those of one that has ended, as if the host had been started anew.
///
/// # Errors
/// When the store refuses.
pub async fn bury(store: &Arc<dyn Store>) -> Result<()> {
    let sessions = Key::new("sessions")?;
    let files: Vec<Meta> = store.list(&sessions, Depth::All).try_collect().await?;
    for meta in files {
        let name = meta.key.file_name();
        if name != "begin.json" && !name.starts_with("restore-") {
            continue;
        }
        let (_, stream) = store.get(&meta.key, None).await?;
        let body = stream.try_collect::<Vec<Bytes>>().await?.concat();
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(&body) else { continue };
        let process = match fields.get_mut("process") {
            Some(Value::Object(process)) => process,
            _ => &mut fields,
        };
        if process.get("pid").and_then(Value::as_u64) == Some(std::process::id().into()) {
            // No process ever has this number.
            process.insert("pid".to_owned(), u32::MAX.into());
            store.put(&meta.key, Value::Object(fields).to_string().into()).await?;
        }
    }
    Ok(())
}
