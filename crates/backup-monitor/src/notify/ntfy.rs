//! ntfy: a topic that phones subscribe to. <https://docs.ntfy.sh/publish/#publish-as-json>

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Context, SecretSource},
    words::{Result, Secret},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{
    Notifier, NotifierKind, cut,
    http::{Ask, Http, HttpSettings},
};
use crate::alert::{Message, Severity};

/// More would become an attachment (4096 bytes).
const MOST: usize = 1300;

pub(super) const KIND: NotifierKind = NotifierKind {
    kind: "ntfy",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| {
        let section: Section = node.parse()?;
        let http = Http::new(name, node, section.http.clone())?;
        http.parse(&section.server).map_err(|_| node.error("server", "this is no address"))?;
        Ok(Arc::new(Ntfy { http, section }))
    },
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// The topic. Where a server has no users, whoever knows it can read and write it: { env = "X" } or { file = "P" } then.
    topic: SecretSource,
    /// The server. Default: https://ntfy.sh
    #[serde(default = "server")]
    server: String,
    /// An access token.
    #[serde(default)]
    token: Option<SecretSource>,
    #[serde(flatten)]
    http: HttpSettings,
}

fn server() -> String {
    "https://ntfy.sh".to_owned()
}

#[derive(Debug)]
struct Ntfy {
    http: Http,
    section: Section,
}

#[async_trait]
impl Notifier for Ntfy {
    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let topic = self.http.secret(&self.section.topic, "topic").await?;
        let (priority, tag) = match (message.is_resolved(), message.severity()) {
            (true, _) => (3, "white_check_mark"),
            (_, Severity::Critical) => (5, "rotating_light"),
            (_, Severity::Warning) => (4, "warning"),
            (_, Severity::Info) => (2, "information_source"),
        };
        let body = json!({
            "topic": topic.expose(),
            "title": cut(&format!("[{}] {}", message.name, message.title()), 250),
            "message": cut(&message.text(), MOST),
            "priority": priority,
            "tags": [tag],
        });
        let mut ask = Ask::json(self.http.parse(&self.section.server)?, &body);
        ask.secrets.push(topic);
        if let Some(token) = &self.section.token {
            let token = self.http.secret(token, "token").await?;
            let bearer = Secret::new(format!("Bearer {}", token.expose()));
            self.http.header(&mut ask.headers, "authorization", &bearer)?;
        }
        self.http.send(cx, &ask, |answer| answer.json()["event"] == "message").await
    }
}
