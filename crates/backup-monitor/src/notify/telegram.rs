//! Telegram: a bot that writes to a chat. <https://core.telegram.org/bots/api#sendmessage>

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Context, SecretSource},
    words::Result,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{
    Notifier, NotifierKind, cut,
    http::{Ask, Http, HttpSettings},
};
use crate::alert::Message;

/// A message has no more characters.
const MOST: usize = 4096;

pub(super) const KIND: NotifierKind = NotifierKind {
    kind: "telegram",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| {
        let section: Section = node.parse()?;
        Ok(Arc::new(Telegram { http: Http::new(name, node, section.http.clone())?, section }))
    },
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// The bot's token: { env = "X" }, { file = "P" } or { command = ["..."] }.
    token: SecretSource,
    /// The chat: a number, or `@` and the name of a public channel.
    chat: String,
    /// A topic of the chat.
    #[serde(default)]
    thread: Option<i64>,
    /// Another server of the same interface. Default: https://api.telegram.org
    #[serde(default = "api")]
    server: String,
    #[serde(flatten)]
    http: HttpSettings,
}

fn api() -> String {
    "https://api.telegram.org".to_owned()
}

#[derive(Debug)]
struct Telegram {
    http: Http,
    section: Section,
}

#[async_trait]
impl Notifier for Telegram {
    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let token = self.http.secret(&self.section.token, "token").await?;
        let server = self.section.server.trim_end_matches('/');
        let url = self.http.parse(&format!("{server}/bot{}/sendMessage", token.expose()))?;
        // Plain text: nothing in it can break a markup.
        let text = format!("[{}] {}\n\n{}", message.name, message.title(), message.text());
        let mut body = json!({
            "chat_id": self.section.chat,
            "text": cut(&text, MOST),
            "link_preview_options": { "is_disabled": true },
        });
        if let Some(thread) = self.section.thread {
            body["message_thread_id"] = json!(thread);
        }
        let mut ask = Ask::json(url, &body);
        ask.secrets.push(token);
        self.http.send(cx, &ask, |answer| answer.json()["ok"] == true).await
    }
}
