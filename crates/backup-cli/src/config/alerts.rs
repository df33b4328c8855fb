//! `[alerts]`: who is told what, and how.

use std::path::Path;

use backup_core::{
    traits::{Node, nearest},
    words::{Result, TimeLength, check_component_name},
};
use backup_monitor::{ALL_KINDS, Channel, KINDS, Kind, NotifierKind, Pace, Route, Severity};
use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    jobs::Entry,
    model::{Section, placed, sections},
};

/// Keys of a notifier's section that are none of its kind's.
const ROUTE: [&str; 3] = ["severity", "kinds", "jobs"];

/// `[alerts]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsSection {
    /// Who gets mail through this host's mail server (localhost, port 25). The same as a notifier of kind `email`.
    #[serde(default)]
    email: Option<String>,
    /// A problem that lasts is told again after this time. Default: 24h.
    #[serde(default)]
    repeat: Option<TimeLength>,
    /// So many messages an hour go to one notifier at most. Default: 20.
    #[serde(default)]
    rate_limit: Option<usize>,
    /// How people and machines are told. Read as sections, for they belong to their kinds.
    #[serde(default, rename = "notifier")]
    _notifier: Vec<Value>,
}

/// What a notifier of every kind is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct RouteSection {
    /// Problems of this severity and worse: info, warning or critical. Default: warning.
    severity: Severity,
    /// What it is about: backup, verify, drill, health, notifier. Default: all of them.
    kinds: Vec<Kind>,
    /// Only what is about these jobs. Default: all, and what is about none.
    jobs: Vec<String>,
}

/// What `[alerts]` means.
#[derive(Debug)]
pub(crate) struct Alerts {
    pub(crate) channels: Vec<Channel>,
    pub(crate) pace: Pace,
}

impl Alerts {
    /// Reads the section; none is nobody to tell.
    ///
    /// # Errors
    /// With line and column.
    pub(super) fn new(
        root: &Node,
        section: Option<&AlertsSection>,
        state_dir: Option<&Path>,
        jobs: &[Entry],
    ) -> Result<Option<Self>> {
        let (Some(section), Some(node)) = (section, root.get("alerts")) else { return Ok(None) };
        let mut channels = Vec::new();
        if let Some(email) = &section.email {
            let settings = Node::new(json!({ "to": email }));
            let notifier = (kind(&node, "email")?.build)("email", &settings)
                .map_err(|_| node.error("email", "this is no address"))?;
            let route = route(&Node::new(json!({})), "email", jobs)?;
            channels.push(Channel { route, notifier });
        }
        for section in sections(&node, "notifier")? {
            check_component_name(&section.name).map_err(|e| placed(&section.node, "name", &e))?;
            if channels.iter().any(|channel| channel.route.name == section.name) {
                return Err(section.node.error("name", "`email` of [alerts] has this name"));
            }
            channels.push(channel(&section, jobs)?);
        }
        if channels.is_empty() {
            return Err(node
                .error("", "nobody is told")
                .hint("add email = \"admin@example.com\", or [[alerts.notifier]] with a kind"));
        }
        if state_dir.is_none() {
            return Err(node
                .error("", "what was told must be remembered somewhere, or it would be told each time")
                .hint("set state_dir = \"/var/lib/ha-backup\""));
        }
        let repeat = section.repeat.map_or(TimeDelta::hours(24), |length| length.0);
        if repeat < TimeDelta::minutes(1) {
            return Err(node.error("repeat", "this takes 1min at least"));
        }
        let per_hour = section.rate_limit.unwrap_or(20);
        if per_hour == 0 {
            return Err(node
                .error("rate_limit", "this takes 1 at least")
                .hint("remove [alerts] to tell nobody"));
        }
        Ok(Some(Self { channels, pace: Pace { repeat, per_hour } }))
    }
}

fn channel(section: &Section, jobs: &[Entry]) -> Result<Channel> {
    let kind = kind(&section.node, &section.kind)?;
    let settings = section.settings().without(&ROUTE);
    settings.check_keys(&with_route((kind.schema)()))?;
    let notifier = (kind.build)(&section.name, &settings)?;
    let common: Vec<&str> =
        settings.value().as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let route = route(&section.settings().without(&common), &section.name, jobs)?;
    Ok(Channel { route, notifier })
}

fn route(node: &Node, name: &str, jobs: &[Entry]) -> Result<Route> {
    let section: RouteSection = node.parse()?;
    let known = jobs.iter().map(|job| job.name.as_str());
    for (index, job) in section.jobs.iter().enumerate() {
        if !known.clone().any(|known| known == job) {
            let error = node.error(&format!("jobs.{index}"), format!("there is no job `{job}`"));
            return Err(match nearest(job, known.clone()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("there are: {}", known.collect::<Vec<_>>().join(", "))),
            });
        }
    }
    let RouteSection { severity, kinds, jobs } = section;
    Ok(Route { name: name.to_owned(), severity, kinds, jobs })
}

fn kind(node: &Node, kind: &str) -> Result<&'static NotifierKind> {
    if let Some(found) = KINDS.iter().find(|known| known.kind == kind) {
        return Ok(found);
    }
    if let Some((_, feature)) = ALL_KINDS.iter().find(|(known, _)| *known == kind) {
        let message = format!("`{kind}`: this binary was built without alerts by {feature}");
        return Err(node.error("kind", message));
    }
    let error = node.error("kind", format!("unknown kind of notifier `{kind}`"));
    Err(match nearest(kind, KINDS.iter().map(|known| known.kind)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => {
            let names: Vec<&str> = KINDS.iter().map(|known| known.kind).collect();
            error.hint(format!("this binary has {}", names.join(", ")))
        }
    })
}

/// Every kind with its schema, which has the keys of all kinds too.
pub(super) fn schemas() -> impl Iterator<Item = (&'static str, Value)> {
    KINDS.iter().map(|kind| (kind.kind, with_route((kind.schema)())))
}

/// A kind's schema, and what every notifier has.
fn with_route(mut schema: Value) -> Value {
    let inline = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let common = inline.into_generator().into_root_schema_for::<RouteSection>().to_value();
    for (key, property) in common["properties"].as_object().into_iter().flatten() {
        schema["properties"][key] = property.clone();
    }
    schema
}
