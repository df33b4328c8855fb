//! `rewrap`.

use backup_core::{
    engine::Rewrapped,
    repository::{SessionEntry, SessionState},
    words::{ErrorKind, human_bytes},
};

use super::App;
use crate::{
    args::RewrapArgs,
    exit::{Exit, Failure},
};

pub(crate) async fn run(app: &mut App, args: RewrapArgs) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let sessions = engine.sessions(&app.cx).await.map_err(Failure::looking)?;
    let chosen: Vec<SessionEntry> = if args.all {
        sessions.iter().filter(|entry| entry.state == SessionState::Committed).cloned().collect()
    } else {
        let session = app.session(&engine, &args.session).await?;
        session.committed().map_err(Failure::looking)?;
        vec![session]
    };
    let (mut good, mut closed) = (true, None);
    for entry in &chosen {
        match engine.rewrap(&app.cx, entry, &sessions).await {
            Ok(outcome) => {
                good &= !matches!(&outcome, Rewrapped::Done { problems, .. } if !problems.is_empty());
                app.result("rewrapped", &outcome, || text(&outcome))?;
            }
            // One that cannot be opened does not keep the others from being rewrapped.
            Err(error) if args.all && error.kind() == ErrorKind::WrongKey => {
                let problem = error.chain();
                let document =
                    serde_json::json!({ "session": entry.id, "outcome": "closed", "problem": problem });
                app.result("rewrapped", &document, || format!("{}  not rewrapped: {problem}", entry.id))?;
                closed = closed.or(Some(error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match closed {
        Some(error) => Err(error.into()),
        None => Ok(Exit::problems_if(!good)),
    }
}

fn text(outcome: &Rewrapped) -> String {
    match outcome {
        Rewrapped::Done { from, to, stored_bytes, problems } => {
            let mut lines = vec![format!("{from}  rewrapped as {to}, {}", human_bytes(*stored_bytes))];
            lines.extend(problems.iter().map(|problem| format!("  warning: {problem}")));
            lines.join("\n")
        }
        Rewrapped::Needless { session, why } => format!("{session}  left as it is: {why}"),
    }
}
