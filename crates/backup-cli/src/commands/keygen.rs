//! `keygen`.

use std::{io::IsTerminal, path::PathBuf};

use backup_core::{
    pipeline::NewIdentity,
    words::{Error, ErrorKind, Result as CoreResult, Secret},
};

use super::App;
use crate::{
    args::KeygenArgs,
    exit::{Exit, Failure},
    private_file,
    render::ask_secret,
};

/// Where the identity is written when nothing else is said.
const FILE: &str = "ha-backup-key.txt";

pub(crate) async fn run(app: &App, args: KeygenArgs) -> Result<Exit, Failure> {
    let file = args.output.unwrap_or_else(|| PathBuf::from(FILE));
    let subject = file.display().to_string();
    if file.exists() {
        // Said before anybody thinks of a passphrase for it.
        return Err(there_already(&subject).into());
    }
    let passphrase = if args.passphrase { Some(new_passphrase().await?) } else { None };
    let identity = NewIdentity::generate(app.cx.now());
    let recipient = identity.recipient.to_string();
    let content = tokio::task::spawn_blocking(move || identity.file(passphrase.as_ref()))
        .await
        .map_err(|e| Error::new(ErrorKind::Internal, "make", "the identity").because(e))??;
    private_file::create(&file, content.expose().as_bytes()).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => there_already(&subject),
        _ => Error::io("write the identity", subject, e),
    })?;
    let document = serde_json::json!({ "public_key": recipient, "file": file });
    app.answer(&document, || recipient.clone())?;
    app.output.note(&format!(
        "wrote the identity to {}: whoever has it reads the backups, and without it nobody does.\n\
         Keep copies of it in safe places, and none on the hosts that are backed up. On these, write\n\
         [encryption]\nrecipients = [\"{recipient}\"]",
        file.display()
    ));
    Ok(Exit::Good)
}

fn there_already(subject: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "write the identity", subject)
        .detail("the file is there, and is never written over")
        .hint("name another one with --output")
}

/// Asked for twice at a terminal; else the first line of standard input.
async fn new_passphrase() -> CoreResult<Secret> {
    let passphrase = if std::io::stdin().is_terminal() {
        let first = ask_secret("Passphrase of the new identity: ").await?;
        let again = ask_secret("Once more: ").await?;
        if first != again {
            return Err(Error::new(ErrorKind::Config, "read", "the passphrase").detail("the two differ"));
        }
        first
    } else {
        let read = || std::io::stdin().lines().next().transpose();
        let line = tokio::task::spawn_blocking(read).await.map_err(|_| Error::cancelled("read"))?;
        let line = line.map_err(|e| Error::io("read the passphrase from", "standard input", e))?;
        Secret::new(line.unwrap_or_default())
    };
    if passphrase.expose().is_empty() {
        return Err(Error::new(ErrorKind::Config, "read", "the passphrase").detail("it is empty"));
    }
    Ok(passphrase)
}
