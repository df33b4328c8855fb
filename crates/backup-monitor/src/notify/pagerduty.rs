//! PagerDuty's events, version 2: an incident for each problem, resolved when it is over.
//! <https://developer.pagerduty.com/docs/send-alert-event>

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Context, SecretSource},
    words::Result,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Notifier, NotifierKind, cut,
    http::{Ask, Http, HttpSettings},
};
use crate::alert::{Item, Message, Standing};

/// A summary has no more characters.
const SUMMARY: usize = 1024;
/// A key has no more.
const KEY: usize = 255;

pub(super) const KIND: NotifierKind = NotifierKind {
    kind: "pagerduty",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| {
        let section: Section = node.parse()?;
        let http = Http::new(name, node, section.http.clone())?;
        http.parse(&section.server).map_err(|_| node.error("server", "this is no address"))?;
        Ok(Arc::new(PagerDuty { http, section }))
    },
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// The integration key of a service: { env = "X" }, { file = "P" } or { command = ["..."] }.
    routing_key: SecretSource,
    /// Another region: https://events.eu.pagerduty.com. Default: https://events.pagerduty.com
    #[serde(default = "server")]
    server: String,
    #[serde(flatten)]
    http: HttpSettings,
}

fn server() -> String {
    "https://events.pagerduty.com".to_owned()
}

#[derive(Debug)]
struct PagerDuty {
    http: Http,
    section: Section,
}

#[async_trait]
impl Notifier for PagerDuty {
    /// One event for each problem. Those that were taken are taken again when a later one fails: their key says that they are
    /// the same.
    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let key = self.http.secret(&self.section.routing_key, "routing_key").await?;
        let url = self.http.parse(&format!("{}/v2/enqueue", self.section.server.trim_end_matches('/')))?;
        for item in &message.alerts {
            for mut event in events(message, item) {
                event["routing_key"] = json!(key.expose());
                let mut ask = Ask::json(url.clone(), &event);
                ask.secrets.push(key.clone());
                self.http.send(cx, &ask, |answer| answer.json()["status"] == "success").await?;
            }
        }
        Ok(())
    }
}

/// What is over is resolved; what is told once is resolved at once, so that it leaves no incident open.
fn events(message: &Message, item: &Item) -> Vec<Value> {
    let key = cut(&format!("ha-backup/{}/{}", message.name, item.fingerprint), KEY);
    let resolve = json!({ "event_action": "resolve", "dedup_key": key });
    let trigger = json!({
        "event_action": "trigger",
        "dedup_key": key,
        "client": "ha-backup",
        "payload": {
            "summary": cut(&format!("[{}] {}", message.name, item.problem.title), SUMMARY),
            "source": message.host,
            "severity": item.problem.severity.as_str(),
            "timestamp": message.at.to_rfc3339(),
            "component": item.problem.job.as_deref().unwrap_or(&message.name),
            "group": message.name,
            "class": item.problem.kind.as_str(),
            "custom_details": {
                "details": cut(&item.details().join("\n"), 8000),
                "session": item.problem.session,
                "since": item.since.to_rfc3339(),
            },
        },
    });
    match item.standing {
        Standing::Resolved => vec![resolve],
        Standing::Note => vec![trigger, resolve],
        Standing::New | Standing::Changed | Standing::Again => vec![trigger],
    }
}
