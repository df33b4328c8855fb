//! What stands in the configuration, apart from what belongs to the kinds.

use std::{collections::BTreeMap, path::PathBuf};

use backup_core::{
    engine::{DrillSettings, JobSettings},
    pipeline::Compression,
    policy::{HealthLimits, RetentionRules},
    traits::{Node, nearest},
    words::{Codec, Error, ErrorKind, Result, SessionType, TimeLength, check_component_name},
};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    alerts::{Alerts, AlertsSection},
    dashboard::DashboardSection,
    drill::DrillSection,
    encryption::{Encryption, EncryptionSection},
    health::HealthSection,
    hooks::{AllHooks, HooksSection},
    jobs::{self, Entry, Run, VerifyLevel},
    log::LogSection,
    report::ReportSection,
    signing::{Signing, SigningSection},
    stores::{self, StoreSection},
};

/// The file as it is written. Sections of stores and components are left to their kinds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "ha-backup configuration")]
pub(crate) struct File {
    /// Name of the stack that is backed up; the unified archive's name begins with it.
    pub(crate) name: String,
    /// Time zone (IANA name) in which a day begins: it decides the type of a session.
    #[serde(default = "utc")]
    pub(crate) time_zone: String,
    /// Where temporary files are made, and where it is remembered what people were told. Default: the system's folder for temporary
    /// files; alerts need one of their own.
    #[serde(default)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where log files are kept. Without it there are none.
    #[serde(default)]
    pub(crate) log: Option<LogSection>,
    /// Where reports of sessions are kept besides the stores. Without it, in the stores only.
    #[serde(default)]
    pub(crate) report: Option<ReportSection>,
    /// How artifacts are compressed.
    #[serde(default)]
    pub(crate) compression: CompressionSection,
    /// For whom backups are encrypted. Without it they are not.
    #[serde(default)]
    pub(crate) encryption: Option<EncryptionSection>,
    /// The key that manifests are signed with, and the keys that restores trust. Without it signatures are not looked at.
    #[serde(default)]
    pub(crate) signing: Option<SigningSection>,
    /// How many periods are kept.
    #[serde(default)]
    pub(crate) retention: Keep,
    /// Where backups are kept: the first store that can take a session is its home, the others get copies. Read as sections, for they belong to their kinds.
    #[serde(default, rename = "store")]
    _store: Vec<Value>,
    /// What is backed up. Read as sections, likewise.
    #[serde(default, rename = "component")]
    _component: Vec<Value>,
    /// What is run together. Default: one job `full` of all components.
    #[serde(default)]
    pub(crate) job: Vec<JobSection>,
    /// From where on `health` finds something wrong.
    #[serde(default)]
    pub(crate) health: HealthSection,
    /// Where drills are, and what they may take.
    #[serde(default)]
    pub(crate) drill: DrillSection,
    /// Who is told when something is wrong, and how.
    #[serde(default)]
    pub(crate) alerts: Option<AlertsSection>,
    /// Commands around every backup.
    #[serde(default)]
    pub(crate) hooks: Option<HooksSection>,
    /// Where the dashboard listens, and who may see it. Without it the daemon shows none.
    #[serde(default)]
    pub(crate) dashboard: Option<DashboardSection>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// `[compression]`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CompressionSection {
    /// gzip, zstd or none.
    pub(crate) codec: Codec,
    /// Level. Default: 6 for gzip, 3 for zstd.
    pub(crate) level: Option<i32>,
}

impl Default for CompressionSection {
    fn default() -> Self {
        Self { codec: Codec::Gzip, level: None }
    }
}

/// `[retention]`: periods that are kept, each by its newest good session. Missing keys take the default.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keep {
    /// Days. Default: 7.
    pub(crate) daily: Option<u32>,
    /// Weeks. Default: 4.
    pub(crate) weekly: Option<u32>,
    /// Months. Default: 12.
    pub(crate) monthly: Option<u32>,
    /// Years. Default: 3.
    pub(crate) yearly: Option<u32>,
    /// So many of the newest good sessions of each component, besides. Default: 0.
    pub(crate) keep_last: Option<u32>,
    /// All good sessions so long before the job's newest, such as "30d", besides.
    pub(crate) keep_within: Option<TimeLength>,
    /// How long before it is done a removal is announced, such as "3d". Default: not at all.
    pub(crate) announce: Option<TimeLength>,
}

impl Keep {
    /// These rules, with `others` where a key is missing.
    pub(super) fn over(self, others: RetentionRules) -> RetentionRules {
        RetentionRules {
            daily: self.daily.unwrap_or(others.daily),
            weekly: self.weekly.unwrap_or(others.weekly),
            monthly: self.monthly.unwrap_or(others.monthly),
            yearly: self.yearly.unwrap_or(others.yearly),
            keep_last: self.keep_last.unwrap_or(others.keep_last),
            keep_within: self.keep_within.or(others.keep_within),
            announce: self.announce.or(others.announce),
        }
    }
}

/// `[[job]]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobSection {
    /// Its name, for `backup --job`.
    pub(crate) name: String,
    /// Names of its components; `*` is all of them.
    #[serde(default = "all")]
    pub(crate) components: Vec<String>,
    /// The type of all its sessions. Default: by the calendar.
    #[serde(default, rename = "type")]
    pub(crate) session_type: Option<SessionType>,
    /// Whether it writes the unified archive, and where. Default: when it has several components.
    #[serde(default)]
    pub(crate) unified: Option<Unified>,
    /// How thoroughly a run looks at what it has just written: size, checksum or content. Default: not at all.
    #[serde(default)]
    pub(crate) verify: Option<VerifyLevel>,
    /// What it does.
    #[serde(default)]
    pub(crate) run: Run,
    /// When it runs: a cron expression in the configured time zone.
    #[serde(default)]
    pub(crate) schedule: Option<String>,
    /// The daemon begins it by up to so much later, always by the same. Default: not at all.
    #[serde(default)]
    pub(crate) jitter: Option<TimeLength>,
    /// How long the daemon tries again what failed. Default: 1h; 0s for not at all.
    #[serde(default)]
    pub(crate) retry: Option<TimeLength>,
    /// Log files that are older are removed by a job that runs prune-logs. Default: 90d.
    #[serde(default)]
    pub(crate) older_than: Option<TimeLength>,
    /// How thoroughly a job that runs verify looks. Default: content.
    #[serde(default)]
    pub(crate) level: Option<VerifyLevel>,
    /// How many periods of its sessions are kept, where it differs from the common `[retention]`.
    #[serde(default)]
    pub(crate) retention: Keep,
    /// How old its newest good session may be before `health` calls it too old. Default: that of `[health]`.
    #[serde(default)]
    pub(crate) max_age: Option<TimeLength>,
    /// Commands around its runs.
    #[serde(default)]
    pub(crate) hooks: Option<HooksSection>,
}

/// `unified = true | false | "local"`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Unified {
    /// In every store, or not at all.
    Flag(bool),
    /// In stores on this host only.
    Where(OnlyLocal),
}

/// `"local"`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnlyLocal {
    /// Stores on this host.
    Local,
}

impl Unified {
    /// Whether the archive is written at all.
    pub(super) fn wanted(self) -> bool {
        !matches!(self, Self::Flag(false))
    }

    /// Whether it is in stores on this host only.
    pub(super) fn only_local(self) -> bool {
        matches!(self, Self::Where(_))
    }
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A section that belongs to a kind.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) kind: String,
    pub(crate) name: String,
    /// The whole section, for errors about `kind` and `name`.
    pub(crate) node: Node,
}

impl Section {
    /// What the kind itself reads.
    pub(crate) fn settings(&self) -> Node {
        self.node.without(&["kind", "name"])
    }
}

/// The configuration, checked as far as that goes without the kinds.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) time_zone: Tz,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) log: Option<LogSection>,
    pub(crate) report: Option<ReportSection>,
    pub(crate) compression: Compression,
    pub(crate) encryption: Encryption,
    pub(crate) signing: Signing,
    pub(crate) retention: RetentionRules,
    /// At least one, in the order in which they are tried.
    pub(crate) stores: Vec<StoreSection>,
    pub(crate) components: Vec<Section>,
    /// Those that back up; at least one.
    pub(crate) jobs: Vec<JobSettings>,
    /// All jobs, as schedules see them.
    pub(crate) entries: Vec<Entry>,
    /// Whether the usual schedules are used, because no job has one.
    pub(crate) usual_schedules: bool,
    pub(crate) health: HealthLimits,
    pub(crate) drill: DrillSettings,
    pub(crate) alerts: Option<Alerts>,
    pub(crate) hooks: AllHooks,
    pub(crate) dashboard: Option<DashboardSection>,
}

impl Config {
    /// Checks the file's root.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with line and column.
    pub(crate) fn new(root: &Node) -> Result<Self> {
        let file: File = root.parse()?;
        check_component_name(&file.name).map_err(|e| placed(root, "name", &e))?;
        let time_zone: Tz = file.time_zone.parse().map_err(|_| unknown_zone(root, &file.time_zone))?;
        let components = sections(root, "component")?;
        let compression = Compression::new(file.compression.codec, file.compression.level).map_err(|e| {
            root.error("compression.level", e.to_string()).hint(e.advice().unwrap_or_default())
        })?;
        let encryption = Encryption::new(root, file.encryption.as_ref())?;
        let signing = Signing::new(root, file.signing.as_ref())?;
        let retention = file.retention.over(RetentionRules::default());
        file.log.as_ref().map_or(Ok(()), |log| log.check(root))?;
        file.report.as_ref().map_or(Ok(()), |report| report.check(root))?;
        let jobs = jobs::read(root, &file.job, retention, &components)?;
        let health = file.health.limits(root, &components)?;
        let drill = file.drill.settings(root, file.state_dir.as_deref())?;
        let alerts = Alerts::new(root, file.alerts.as_ref(), file.state_dir.as_deref(), &jobs.entries)?;
        let hooks = AllHooks::new(root, file.hooks.as_ref(), &file.job)?;
        file.dashboard.as_ref().map_or(Ok(()), |dashboard| dashboard.check(root))?;
        Ok(Self {
            name: file.name,
            time_zone,
            state_dir: file.state_dir,
            log: file.log,
            report: file.report,
            compression,
            encryption,
            signing,
            retention,
            stores: stores::read(root, retention)?,
            components,
            jobs: jobs.backups,
            entries: jobs.entries,
            usual_schedules: jobs.usual,
            health,
            drill,
            alerts,
            hooks,
            dashboard: file.dashboard,
        })
    }

    /// The job called `name`, or the first one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none of that name.
    pub(crate) fn job(&self, name: Option<&str>) -> Result<&JobSettings> {
        let Some(name) = name else { return Ok(&self.jobs[0]) };
        if let Some(other) = self.entries.iter().find(|entry| entry.name == name && entry.run != Run::Backup)
        {
            return Err(Error::new(ErrorKind::Config, "back up the job", name)
                .detail(format!("it runs {}", other.run.as_str()))
                .hint(format!("`ha-backup run {name}`")));
        }
        self.jobs
            .iter()
            .find(|job| job.name == name)
            .ok_or_else(|| unknown("find the job", name, self.jobs.iter().map(|job| job.name.as_str())))
    }

    /// The job called `name`, whatever it does.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none of that name.
    pub(crate) fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            unknown("find the job", name, self.entries.iter().map(|entry| entry.name.as_str()))
        })
    }

    /// Fails unless a component is called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], with the nearest name.
    pub(crate) fn check_component(&self, name: &str) -> Result<()> {
        let names = self.components.iter().map(|section| section.name.as_str());
        if names.clone().any(|known| known == name) {
            return Ok(());
        }
        Err(unknown("find the component", name, names))
    }
}

/// `name` is not among `known`.
fn unknown<'a>(operation: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", known.collect::<Vec<_>>().join(", ")),
    };
    Error::new(ErrorKind::Config, operation, name).detail("there is none of that name").hint(hint)
}

/// What is wrong with a name, at its place in the file.
pub(super) fn placed(node: &Node, path: &str, error: &Error) -> Error {
    let placed = node.error(path, format!("`{}` does not do as a name", error.subject()));
    match error.advice() {
        Some(hint) => placed.hint(hint),
        None => placed,
    }
}

fn unknown_zone(root: &Node, zone: &str) -> Error {
    let known = chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name());
    let error = root.error("time_zone", format!("unknown time zone `{zone}`"));
    match nearest(zone, known) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("write an IANA name, such as UTC or Europe/Berlin"),
    }
}

/// The sections called `key`, each with a name that no other has.
pub(super) fn sections(root: &Node, key: &str) -> Result<Vec<Section>> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut sections = Vec::new();
    let nodes = root.get(key).map(|list| list.items()).unwrap_or_default();
    for (index, node) in nodes.into_iter().enumerate() {
        let section = section(node)?;
        if key == "component" {
            check_component_name(&section.name).map_err(|e| placed(&section.node, "name", &e))?;
        }
        if let Some(first) = seen.insert(section.name.clone(), index) {
            let message = format!("`{}` is the name of {key} {} too", section.name, first + 1);
            let path = if section.node.get("name").is_some() { "name" } else { "" };
            return Err(section
                .node
                .error(path, message)
                .hint(format!("give each its own: name = \"{}-2\"", section.name)));
        }
        sections.push(section);
    }
    Ok(sections)
}

fn section(node: Node) -> Result<Section> {
    if !node.value().is_object() {
        return Err(node.error("", "this is not a section"));
    }
    let text = |key: &str| match node.get(key) {
        None => Ok(None),
        Some(value) => match value.value().as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(node.error(key, "this is not a string")),
        },
    };
    let kind = text("kind")?.ok_or_else(|| {
        node.error("", "the section does not say its kind").hint("add a line such as kind = \"files\"")
    })?;
    let name = text("name")?.unwrap_or_else(|| kind.clone());
    Ok(Section { kind, name, node })
}

/// The names that a job's list means, in the order of the file.
pub(super) fn job_components(job: &JobSection, node: &Node, known: &[&str]) -> Result<Vec<String>> {
    for (index, name) in job.components.iter().enumerate() {
        if name != "*" && !known.contains(&name.as_str()) {
            let error = node.error(&format!("components.{index}"), format!("there is no component `{name}`"));
            return Err(match nearest(name, known.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("there are: {}", known.join(", "))),
            });
        }
    }
    if job.components.is_empty() {
        return Err(node
            .error("components", "the job has no component")
            .hint("components = [\"*\"] takes all"));
    }
    let wanted = |name: &&&str| job.components.iter().any(|want| want == "*" || want == **name);
    Ok(known.iter().filter(wanted).map(|name| (*name).to_owned()).collect())
}
