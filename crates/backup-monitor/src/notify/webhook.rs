//! Any address that takes JSON.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    traits::{Context, SecretSource},
    words::Result,
};
use reqwest::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Notifier, NotifierKind,
    http::{Ask, Http, HttpSettings, secret_headers},
    template,
};
use crate::alert::Message;

pub(super) const KIND: NotifierKind = NotifierKind {
    kind: "webhook",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| {
        let section: Section = node.parse()?;
        if let Some(body) = node.get("body") {
            template::check(&body)?;
        }
        Ok(Arc::new(Webhook { http: Http::new(name, node, section.http.clone())?, section }))
    },
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// The address. Where it is a secret: { env = "X" }, { file = "P" } or { command = ["..."] }.
    url: SecretSource,
    /// post or put. Default: post.
    #[serde(default)]
    method: Verb,
    /// Headers, such as Authorization = { env = "X" }.
    #[serde(default)]
    headers: BTreeMap<String, SecretSource>,
    /// What is sent, with places in braces: { text = "{title}" }. Default: all that there is to say.
    #[serde(default)]
    body: Option<serde_json::Map<String, Value>>,
    /// A text that a good answer holds. Default: any answer with a good status is one.
    #[serde(default)]
    expect: Option<String>,
    #[serde(flatten)]
    http: HttpSettings,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verb {
    #[default]
    Post,
    Put,
}

#[derive(Debug)]
struct Webhook {
    http: Http,
    section: Section,
}

#[async_trait]
impl Notifier for Webhook {
    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let url = self.http.url(&self.section.url, "url").await?;
        let body = match &self.section.body {
            Some(template) => template::fill(&Value::Object(template.clone()), message),
            None => whole(message),
        };
        let mut ask = Ask::json(url, &body);
        if matches!(self.section.method, Verb::Put) {
            ask.method = Method::PUT;
        }
        secret_headers(&self.http, &mut ask.headers, &self.section.headers).await?;
        let expect = self.section.expect.as_deref();
        self.http.send(cx, &ask, |answer| expect.is_none_or(|text| answer.body.contains(text))).await
    }
}

/// The message itself, and in short what programs look at first.
fn whole(message: &Message) -> Value {
    let mut body = serde_json::to_value(message).unwrap_or_default();
    body["title"] = message.title().into();
    body["severity"] = message.severity().as_str().into();
    body["state"] = if message.is_resolved() { "resolved" } else { "firing" }.into();
    body
}
