//! A stored snapshot, fetched into a scratch file and opened.

use std::fs::File;

use backup_core::{
    traits::{Context, Finding, Selection, Source},
    words::{Error, ErrorKind, Result},
};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::{
    bolt::Db,
    inspect::{self, Inventory},
    snapshot::{Checked, TrailerCheck},
};

/// Runs blocking work on its own thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Error::new(ErrorKind::Internal, "work on", "an etcd snapshot").because(e)))
}

/// Reads the database in the first `db_bytes` of `file`.
pub(super) async fn inspect(
    cx: &Context,
    file: File,
    db_bytes: u64,
    subject: String,
    namespace: String,
) -> Result<Inventory> {
    cx.or_cancelled(
        "read the etcd snapshot",
        blocking(move || inspect::inspect(&Db::open(file, db_bytes, subject)?, &namespace)),
    )
    .await
}

/// Fetches the artifact into a scratch file and checks its hash.
pub(super) async fn fetch(cx: &Context, from: &dyn Source) -> Result<(File, Result<Checked>)> {
    let artifact = from.artifact(None)?;
    let mut scratch = tokio::fs::File::from_std(cx.scratch.file()?);
    let mut check = TrailerCheck::new();
    let mut stream = from.read(artifact, Selection::Whole).await?;
    let failed = |e| Error::io("write", "a temporary file", e);
    while let Some(piece) = stream.next().await {
        cx.check_cancelled("read the etcd snapshot")?;
        let piece = piece?;
        check.update(&piece);
        scratch.write_all(&piece).await.map_err(failed)?;
    }
    scratch.flush().await.map_err(failed)?;
    Ok((scratch.into_std().await, check.finish(&artifact.name)))
}

/// Fetches the artifact and opens it; a wrong hash is an error.
pub(super) async fn fetch_db(cx: &Context, from: &dyn Source) -> Result<Db> {
    let (file, checked) = fetch(cx, from).await?;
    let db_bytes = checked?.db_bytes;
    let subject = from.artifact(None)?.name.clone();
    blocking(move || Db::open(file, db_bytes, subject)).await
}

/// Checks the hash, opens the database and compares it with what the manifest says.
pub(super) async fn verify(cx: &Context, from: &dyn Source, namespace: &str) -> Result<Vec<Finding>> {
    let name = from.artifact(None)?.name.clone();
    let (file, checked) = fetch(cx, from).await?;
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => return Ok(vec![Finding::from_error(name, &error)]),
    };
    let inventory = match inspect(cx, file, checked.db_bytes, name.clone(), namespace.to_owned()).await {
        Ok(inventory) => inventory,
        Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
        Err(error) => return Ok(vec![Finding::from_error(name, &error)]),
    };
    let facts = &from.record().facts;
    let mut findings = vec![Finding::ok(name.clone(), "etcd's own SHA-256 agrees")];
    let counts = [
        ("revision", inventory.revision),
        ("keys", inventory.keys),
        ("changes", inventory.changes),
        ("leases", inventory.leases),
    ];
    for (what, found) in counts {
        match facts.get(what).and_then(serde_json::Value::as_u64) {
            Some(said) if said != found => findings.push(Finding::error(
                name.clone(),
                format!("{what}: {found} found, the manifest says {said}"),
            )),
            _ => {}
        }
    }
    if findings.len() == 1 {
        let read = format!("{} keys at revision {}", inventory.keys, inventory.revision);
        findings.push(Finding::ok(name, format!("opened offline: {read}")));
    }
    Ok(findings)
}
