//! Alertmanager's interface, version 2.
//! <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    traits::{Context, SecretSource},
    words::Result,
};
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Notifier, NotifierKind,
    http::{Ask, Http, HttpSettings, secret_headers},
};
use crate::alert::{Item, Message, Severity, Standing};

/// What is told once is over by itself after this time.
const NOTE: TimeDelta = TimeDelta::minutes(5);
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];
/// Labels that are ours.
const OWN: [&str; 6] = ["alertname", "severity", "kind", "installation", "fingerprint", "job_name"];

pub(super) const KIND: NotifierKind = NotifierKind {
    kind: "alertmanager",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| {
        let section: Section = node.parse()?;
        if let Some(taken) = OWN.iter().find(|name| section.labels.contains_key(**name)) {
            return Err(node.error(&format!("labels.{taken}"), format!("the label `{taken}` is set already")));
        }
        Ok(Arc::new(Alertmanager { http: Http::new(name, node, section.http.clone())?, section }))
    },
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// Its address, such as http://alertmanager:9093
    url: SecretSource,
    /// Labels that every alert has besides.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// For how long an alert stands when nothing more is heard of it; longer than `repeat`. Default: "2d".
    #[serde(default)]
    lasts: Option<backup_core::words::TimeLength>,
    /// Headers, such as Authorization = { env = "X" }.
    #[serde(default)]
    headers: BTreeMap<String, SecretSource>,
    #[serde(flatten)]
    http: HttpSettings,
}

#[derive(Debug)]
struct Alertmanager {
    http: Http,
    section: Section,
}

#[async_trait]
impl Notifier for Alertmanager {
    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let mut url = self.http.url(&self.section.url, "url").await?;
        let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let alerts: Vec<Value> = message.alerts.iter().flat_map(|item| self.alerts(message, item)).collect();
        let mut ask = Ask::json(url, &Value::Array(alerts));
        secret_headers(&self.http, &mut ask.headers, &self.section.headers).await?;
        // It says nothing.
        self.http.send(cx, &ask, |answer| answer.body.trim().is_empty()).await
    }
}

impl Alertmanager {
    /// Its labels are its identity. The severity is one of them, for routes: where it is another one now, or all is over, those
    /// of the other severities end.
    fn alerts(&self, message: &Message, item: &Item) -> Vec<Value> {
        let lasts = self.section.lasts.map_or(TimeDelta::days(2), |length| length.0);
        let (now, own) = (message.at, item.problem.severity);
        let (end, all) = match item.standing {
            Standing::Resolved => (now, true),
            Standing::Note => (now + NOTE, false),
            Standing::Changed => (now + lasts, true),
            Standing::New | Standing::Again => (now + lasts, false),
        };
        let severities = SEVERITIES.into_iter().filter(|severity| all || *severity == own);
        severities
            .map(|severity| self.alert(message, item, severity, if severity == own { end } else { now }))
            .collect()
    }

    fn alert(&self, message: &Message, item: &Item, severity: Severity, end: DateTime<Utc>) -> Value {
        let mut labels = json!({
            "alertname": "HaBackup",
            "severity": severity.as_str(),
            "kind": item.problem.kind.as_str(),
            "installation": message.name,
            "fingerprint": item.fingerprint,
        });
        if let Some(job) = &item.problem.job {
            labels["job_name"] = json!(job);
        }
        for (name, value) in &self.section.labels {
            labels[name] = json!(value);
        }
        json!({
            "labels": labels,
            "annotations": {
                "summary": item.problem.title,
                "description": item.details().join("\n"),
                "host": message.host,
            },
            "startsAt": item.since.to_rfc3339(),
            "endsAt": end.to_rfc3339(),
        })
    }
}
