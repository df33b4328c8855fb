//! Dead-man pings: somebody else raises the alarm when they stay away. <https://healthchecks.io/docs/http_api/>

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Context, SecretSource},
    words::Result,
};
use reqwest::{Method, header::HeaderMap};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Notifier, NotifierKind, Takes, cut,
    http::{Answer, Ask, Http, HttpSettings},
};
use crate::alert::{Message, Phase};

/// More of a ping's text is not kept there (100 kB).
const MOST: usize = 10_000;

pub(super) const KIND: NotifierKind = NotifierKind {
    kind: "ping",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| {
        let section: Section = node.parse()?;
        Ok(Arc::new(Ping { http: Http::new(name, node, section.http.clone())?, section }))
    },
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// The check's address, such as https://hc-ping.com/UUID; `{job}` in it becomes the job's name. It is a secret:
    /// { env = "X" }, { file = "P" } or { command = ["..."] }.
    url: SecretSource,
    /// Whether the end is told by the exit code (URL/3) instead of URL and URL/fail. Default: false.
    #[serde(default)]
    exit_status: bool,
    #[serde(flatten)]
    http: HttpSettings,
}

#[derive(Debug)]
struct Ping {
    http: Http,
    section: Section,
}

#[async_trait]
impl Notifier for Ping {
    fn takes(&self) -> Takes {
        Takes::Runs
    }

    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let address = self.http.secret(&self.section.url, "url").await?;
        let (end, run, text, job) = match &message.signal {
            Some(signal) => {
                (self.end(signal.phase), Some(&signal.run), signal.text.clone(), signal.job.as_str())
            }
            // A test: it is written down there, and changes no state.
            None => ("/log".to_owned(), None, message.text(), "test"),
        };
        let mut url = self.http.parse(&address.expose().replace("{job}", job))?;
        let path = format!("{}{end}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        if let Some(run) = run {
            url.query_pairs_mut().append_pair("rid", run);
        }
        let (body, headers) = (cut(&text, MOST).into_bytes(), HeaderMap::new());
        let ask = Ask { method: Method::POST, url, headers, body, secrets: vec![address] };
        self.http.send(cx, &ask, took_it).await
    }
}

impl Ping {
    /// What is appended to the address.
    fn end(&self, phase: Phase) -> String {
        match phase {
            Phase::Started => "/start".to_owned(),
            Phase::Noted => "/log".to_owned(),
            Phase::Ended(code) if self.section.exit_status => format!("/{code}"),
            Phase::Ended(0) => String::new(),
            Phase::Ended(_) => "/fail".to_owned(),
        }
    }
}

/// `OK`. A check that is not there, or too many pings, are answered with 200 too: "OK (not found)", "OK (rate limited)".
fn took_it(answer: &Answer) -> bool {
    let body = answer.body.trim();
    body.eq_ignore_ascii_case("ok") || body.is_empty() || answer.json()["ok"] == true
}
