//! Server-sent events: the progress of runs, and that there is a new snapshot.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use tokio::sync::watch;

use super::{cache::Seen, live::Runs, router::Site};

/// Not more often than this.
const PACE: Duration = Duration::from_millis(300);
/// So often something is said at least, so that a connection that is dead is noticed.
const ALIVE: Duration = Duration::from_secs(20);

struct Listening {
    runs: watch::Receiver<Runs>,
    seen: watch::Receiver<Seen>,
    begun: bool,
    site: Site,
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// `runs`: all runs of this process, whenever one changed. `snapshot`: the stores were looked at anew.
pub(super) async fn events(State(site): State<Site>) -> Response {
    let Ok(place) = site.listeners.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many listen already\n").into_response();
    };
    let (runs, seen) = (site.live.watch(), site.cache.watch());
    let listening = Listening { runs, seen, begun: false, site, _place: place };
    let stream = stream::unfold(listening, |mut listening| async move {
        let text = if listening.begun {
            next(&mut listening).await?
        } else {
            listening.begun = true;
            let text = said("runs", &listening.site.live.runs());
            listening.runs.mark_unchanged();
            listening.seen.mark_unchanged();
            text
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), listening))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response()
}

/// The next event; none when the dashboard ends.
async fn next(listening: &mut Listening) -> Option<String> {
    let stop = &listening.site.cx.cancel;
    tokio::select! {
        () = stop.cancelled() => return None,
        () = tokio::time::sleep(PACE) => {}
    }
    tokio::select! {
        () = stop.cancelled() => None,
        changed = listening.runs.changed() => {
            changed.ok()?;
            Some(said("runs", &listening.site.live.runs()))
        }
        changed = listening.seen.changed() => {
            changed.ok()?;
            let at = listening.seen.borrow_and_update().snapshot.as_ref().map(|snapshot| snapshot.at);
            Some(said("snapshot", &at))
        }
        () = tokio::time::sleep(ALIVE) => Some(": \n\n".to_owned()),
    }
}

fn said(event: &str, data: &impl Serialize) -> String {
    // These hold strings and numbers only.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {event}\ndata: {data}\n\n")
}
