//! An HTTP service that makes backups and streams their progress.
//!
//! `POST /backups` begins one, `GET /events` streams what happens as server-sent events, `GET /sessions` lists what there is.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::sse::{Event as Message, Sse},
    routing::{get, post},
};
use backup_core::{
    engine::{BackupRequest, Engine},
    traits::{Context, Event, Observer},
};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Hands every event on to whoever listens.
#[derive(Debug)]
struct Announcer(broadcast::Sender<Event>);

impl Observer for Announcer {
    fn event(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.0.send(event);
    }
}

#[derive(Clone, Debug)]
struct Service {
    engine: Arc<Engine>,
    cx: Context,
    events: broadcast::Sender<Event>,
}

/// The service over an engine whose repository is there.
pub fn service(engine: Engine) -> Router {
    let (events, _) = broadcast::channel(256);
    let cx = Context::new().with_observer(Arc::new(Announcer(events.clone())));
    Router::new()
        .route("/backups", post(begin))
        .route("/events", get(follow))
        .route("/sessions", get(list))
        .with_state(Service { engine: Arc::new(engine), cx, events })
}

/// Begins a backup and answers at once. A second one of the same job is refused by the engine, and says so in the events.
async fn begin(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    let Some(job) = service.engine.jobs().first().map(|job| job.name.clone()) else {
        return (StatusCode::CONFLICT, Json(json!({ "error": "there is no job" })));
    };
    let request = BackupRequest::new(&job);
    tokio::spawn(async move {
        if let Err(error) = service.engine.backup(&service.cx, &request).await {
            let message = error.chain();
            service.cx.observer.event(Event::Warning { component: None, message });
        }
    });
    (StatusCode::ACCEPTED, Json(json!({ "job": job })))
}

/// Everything from now on, as it happens.
async fn follow(State(service): State<Service>) -> Sse<impl Stream<Item = Result<Message, Infallible>>> {
    let messages = stream::unfold(service.events.subscribe(), |mut events| async {
        loop {
            return match events.recv().await {
                Ok(event) => {
                    let body = serde_json::to_string(&event).unwrap_or_default();
                    Some((Ok(Message::default().data(body)), events))
                }
                // Who is slow misses some progress, and goes on with what comes.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => None,
            };
        }
    });
    Sse::new(messages)
}

async fn list(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    match service.engine.sessions(&service.cx).await {
        Ok(sessions) => {
            let ids: Vec<_> =
                sessions.iter().map(|entry| json!({ "id": entry.id, "state": entry.state })).collect();
            (StatusCode::OK, Json(json!({ "sessions": ids })))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, Json(json!({ "error": error.chain() }))),
    }
}
