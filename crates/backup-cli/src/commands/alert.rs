//! `alert`: whether people are told.

use std::time::Duration;

use backup_core::words::{Error, ErrorKind};
use clap::Subcommand;
use serde_json::json;

use super::{App, tell};
use crate::{
    config,
    exit::{Exit, Failure},
};

/// What `alert` does.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Send a test message through each notifier, and say what came of it
    Test {
        /// Through this one only
        name: Option<String>,
    },
}

/// How long all notifiers may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(app: &mut App, command: AlertCommand) -> Result<Exit, Failure> {
    let AlertCommand::Test { name } = command;
    let (file, config) = config::load(app.global.config.as_deref())?;
    let Some(teller) = tell::teller(&config)? else {
        let error = Error::new(ErrorKind::Config, "send a test message", file.display().to_string());
        return Err(error.detail("there is no [alerts]").hint("docs/alerts.md has examples").into());
    };
    let outcomes = teller.test(&app.cx, name.as_deref(), LIMIT).await?;
    app.cx.check_cancelled("send a test message")?;
    let good = outcomes.iter().all(|(_, outcome)| outcome.is_ok());
    let documents: Vec<_> = outcomes
        .iter()
        .map(|(name, outcome)| {
            let error = outcome.as_ref().err();
            json!({
                "notifier": name,
                "sent": error.is_none(),
                "error": error.map(Error::chain),
                "hint": error.and_then(Error::advice),
            })
        })
        .collect();
    app.answer(&documents, || {
        let lines: Vec<String> = outcomes.iter().map(|(name, outcome)| line(name, outcome)).collect();
        lines.join("\n")
    })?;
    Ok(Exit::problems_if(!good))
}

fn line(name: &str, outcome: &backup_core::words::Result<()>) -> String {
    match outcome {
        Ok(()) => format!("ok        {name}  the message was taken"),
        Err(error) => {
            let hint = error.advice().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            format!("FAILED    {name}  {}{hint}", error.chain())
        }
    }
}
