//! `pin` and `unpin`.

use backup_core::engine::{PinChange, PinOutcome};

use super::App;
use crate::{
    args::PinArgs,
    exit::{Exit, Failure},
};

pub(crate) async fn pin(app: &mut App, args: &PinArgs) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let outcome =
        engine.pin(&app.cx, &args.session, args.reason.as_deref()).await.map_err(Failure::looking)?;
    app.answer(&outcome, || text(&outcome))?;
    Ok(Exit::problems_if(!outcome.away.is_empty()))
}

pub(crate) async fn unpin(app: &mut App, args: &PinArgs) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let outcome =
        engine.unpin(&app.cx, &args.session, args.reason.as_deref()).await.map_err(Failure::looking)?;
    app.answer(&outcome, || text(&outcome))?;
    Ok(Exit::problems_if(outcome.change == PinChange::PinnedAgain || !outcome.away.is_empty()))
}

fn text(outcome: &PinOutcome) -> String {
    let mut lines = vec![change(outcome)];
    lines.extend(outcome.away.iter().map(|away| {
        format!("Not in the store {}, which could not be looked at: {}", away.store, away.problem)
    }));
    lines.join("\n")
}

fn change(outcome: &PinOutcome) -> String {
    let session = outcome.session_id;
    match outcome.change {
        PinChange::Pinned => format!("{session} is pinned: it stays until `ha-backup unpin {session}`."),
        PinChange::Unpinned => format!("{session} is not pinned any more: retention decides on it again."),
        PinChange::NotPinned => format!("{session} was not pinned."),
        PinChange::PinnedAgain => format!("{session} is pinned: somebody pinned it again at the same time."),
    }
}
