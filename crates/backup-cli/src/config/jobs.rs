//! The jobs: what each does, on what, and when.

use backup_core::{
    engine::{JobSettings, Level},
    policy::{RetentionRules, Retries, Schedule},
    traits::Node,
    words::{Error, Result, SessionType, TimeLength, check_component_name},
};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;

use super::model::{JobSection, Section, Unified, job_components, placed};

/// What a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Run {
    /// A backup.
    #[default]
    Backup,
    /// Verification of the newest good session of each of its components.
    Verify,
    /// A drill of the newest good session of each of its components, and of one older by chance.
    Drill,
    /// A look at how the backups stand.
    Health,
    /// Removal of old log files.
    PruneLogs,
}

impl Run {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::Health => "health",
            Self::PruneLogs => "prune-logs",
        }
    }
}

/// How thoroughly a job verifies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VerifyLevel {
    /// Lengths.
    Size,
    /// Every stored byte.
    Checksum,
    /// Every artifact, as its kind reads it.
    #[default]
    Content,
}

impl From<VerifyLevel> for Level {
    fn from(level: VerifyLevel) -> Self {
        match level {
            VerifyLevel::Size => Self::Size,
            VerifyLevel::Checksum => Self::Checksum,
            VerifyLevel::Content => Self::Content,
        }
    }
}

/// A job as schedules see it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) run: Run,
    /// Its components; none for a health job.
    pub(crate) components: Vec<String>,
    pub(crate) level: Level,
    pub(crate) schedule: Option<Schedule>,
    /// By up to how much later the daemon begins it.
    pub(crate) jitter: TimeDelta,
    /// How long the daemon tries again what failed.
    pub(crate) retry: TimeDelta,
    /// How old a log file may be.
    pub(crate) older_than: TimeDelta,
}

impl Entry {
    /// Without components and schedule, and else as by default.
    fn new(name: &str, run: Run) -> Self {
        Self {
            name: name.to_owned(),
            run,
            components: Vec::new(),
            level: Level::Content,
            schedule: None,
            jitter: TimeDelta::zero(),
            retry: Retries::default().window,
            older_than: OLD_LOGS,
        }
    }
}

/// The schedules of the scripts.
const FULL: &str = "0 2 * * *";
const ETCD: &str = "0 */6 * * *";
const VERIFY: &str = "0 3 * * 0";
/// A drill that somebody asked for without saying when.
const DRILL: &str = "0 4 1 * *";
const HEALTH: &str = "0 */4 * * *";
const PRUNE_LOGS: &str = "0 4 1 * *";
const OLD_LOGS: TimeDelta = TimeDelta::days(90);

/// Keys of a job that only a backup has.
const OF_BACKUPS: [&str; 5] = ["type", "unified", "verify", "retention", "max_age"];

/// All jobs.
#[derive(Debug)]
pub(super) struct Jobs {
    /// Those that back up; at least one.
    pub(super) backups: Vec<JobSettings>,
    /// All of them, as schedules see them.
    pub(super) entries: Vec<Entry>,
    /// Whether the scripts' schedules are used, because no job has one.
    pub(super) usual: bool,
}

/// Reads the `[[job]]` sections and adds what the scripts had where they leave it open.
///
/// # Errors
/// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
pub(super) fn read(
    root: &Node,
    sections: &[JobSection],
    common: RetentionRules,
    components: &[Section],
) -> Result<Jobs> {
    let names: Vec<&str> = components.iter().map(|section| section.name.as_str()).collect();
    let nodes = root.get("job").map(|list| list.items()).unwrap_or_default();
    let (mut backups, mut entries): (Vec<JobSettings>, Vec<Entry>) = (Vec::new(), Vec::new());
    for (section, node) in sections.iter().zip(nodes) {
        check_component_name(&section.name).map_err(|e| placed(&node, "name", &e))?;
        if entries.iter().any(|entry| entry.name == section.name) {
            return Err(node.error("name", format!("another job is called `{}` too", section.name)));
        }
        check_keys(section, &node)?;
        let components = match section.run {
            Run::Health | Run::PruneLogs => Vec::new(),
            Run::Backup | Run::Verify | Run::Drill => job_components(section, &node, &names)?,
        };
        if section.run == Run::Backup {
            backups.push(backup(section, components.clone(), common));
        }
        if section.run == Run::PruneLogs && root.get("log").is_none() {
            return Err(node
                .error("run", "there is no log folder whose files could be removed")
                .hint("add a section [log] with its folder"));
        }
        entries.push(entry(section, components, schedule(section, &node)?));
    }
    let all: Vec<String> = names.into_iter().map(str::to_owned).collect();
    if backups.is_empty() {
        let taken = |name: &&str| entries.iter().any(|entry| entry.name == **name);
        let name = ["full", "backup"].into_iter().find(|name| !taken(name)).unwrap_or("all");
        backups.push(JobSettings::new(name).components(all.clone()).retention(common));
        backups.extend(usual_etcd(&entries, components).map(|job| job.retention(common)));
        let added = backups
            .iter()
            .map(|job| Entry { components: job.components.clone(), ..Entry::new(&job.name, Run::Backup) });
        entries.extend(added);
    }
    let usual = usual_schedules(&mut entries, &all, root.get("log").is_some());
    Ok(Jobs { backups, entries, usual })
}

fn entry(section: &JobSection, components: Vec<String>, schedule: Option<Schedule>) -> Entry {
    let usual = Entry::new(&section.name, section.run);
    let length = |given: Option<TimeLength>, usual| given.map_or(usual, |length| length.0);
    Entry {
        components,
        level: section.level.unwrap_or_default().into(),
        schedule,
        jitter: length(section.jitter, usual.jitter),
        retry: length(section.retry, usual.retry),
        older_than: length(section.older_than, usual.older_than),
        ..usual
    }
}

fn backup(section: &JobSection, components: Vec<String>, common: RetentionRules) -> JobSettings {
    let mut job = JobSettings::new(section.name.clone())
        .components(components)
        .retention(section.retention.over(common));
    job.session_type = section.session_type;
    job.unified = section.unified.map(Unified::wanted);
    job.unified_local = section.unified.is_some_and(Unified::only_local);
    job.verify = section.verify.map(Into::into);
    job.max_age = section.max_age.map(|length| length.0);
    job
}

/// A key that means nothing for what the job does is a mistake.
fn check_keys(section: &JobSection, node: &Node) -> Result<()> {
    let foreign: Vec<&str> = match section.run {
        Run::Backup => vec!["level", "older_than"],
        Run::Verify => [&OF_BACKUPS[..], &["older_than"]].concat(),
        Run::Drill => [&OF_BACKUPS[..], &["level", "older_than"]].concat(),
        Run::Health => [&OF_BACKUPS[..], &["components", "level", "older_than"]].concat(),
        Run::PruneLogs => [&OF_BACKUPS[..], &["components", "level"]].concat(),
    };
    match foreign.into_iter().find(|key| node.get(key).is_some()) {
        None => Ok(()),
        Some(key) => {
            let run = section.run.as_str();
            Err(node.error(key, format!("`{key}` means nothing for a job that runs {run}")))
        }
    }
}

fn schedule(section: &JobSection, node: &Node) -> Result<Option<Schedule>> {
    let Some(text) = &section.schedule else { return Ok(None) };
    text.parse::<Schedule>().map(Some).map_err(|e: Error| {
        let error =
            node.error("schedule", e.to_string().trim_start_matches("read the schedule: ").to_owned());
        match e.advice() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

/// The scripts' job for etcd alone, where nobody has said anything else of backups or of times.
fn usual_etcd(entries: &[Entry], components: &[Section]) -> Option<JobSettings> {
    let etcd: Vec<String> = components
        .iter()
        .filter(|section| section.kind == "etcd")
        .map(|section| section.name.clone())
        .collect();
    let open = entries.iter().all(|entry| entry.schedule.is_none() && entry.name != "etcd");
    (open && !etcd.is_empty())
        .then(|| JobSettings::new("etcd").components(etcd).session_type(SessionType::Daily).optional())
}

/// Gives the scripts' schedules to jobs when no job has one: the first backup job, one called etcd, verification, health, and
/// where there are `logs` their pruning. True when it did.
fn usual_schedules(entries: &mut Vec<Entry>, components: &[String], logs: bool) -> bool {
    if entries.iter().any(|entry| entry.schedule.is_some()) {
        return false;
    }
    let give = |entry: &mut Entry, text: &str| entry.schedule = text.parse().ok();
    if let Some(first) = entries.iter_mut().find(|entry| entry.run == Run::Backup) {
        give(first, FULL);
    }
    for etcd in entries.iter_mut().filter(|entry| entry.name == "etcd" && entry.run == Run::Backup) {
        give(etcd, ETCD);
    }
    if let Some(drill) = entries.iter_mut().find(|entry| entry.run == Run::Drill) {
        give(drill, DRILL);
    }
    let pruning = logs.then_some((Run::PruneLogs, PRUNE_LOGS));
    for (run, text) in [(Run::Verify, VERIFY), (Run::Health, HEALTH)].into_iter().chain(pruning) {
        if let Some(there) = entries.iter_mut().find(|entry| entry.run == run) {
            give(there, text);
        } else if !entries.iter().any(|entry| entry.name == run.as_str()) {
            let components = if run == Run::Verify { components.to_vec() } else { Vec::new() };
            let mut entry = Entry { components, ..Entry::new(run.as_str(), run) };
            give(&mut entry, text);
            entries.push(entry);
        }
    }
    true
}

/// Jobs that run more rarely than `max_age` may be as old as their longest wait, and an hour.
pub(crate) fn fit_ages(
    jobs: &mut [JobSettings],
    entries: &[Entry],
    max_age: TimeDelta,
    zone: Tz,
    now: DateTime<Utc>,
) {
    for job in jobs.iter_mut().filter(|job| job.max_age.is_none()) {
        let entry = entries.iter().find(|entry| entry.run == Run::Backup && entry.name == job.name);
        let wait = entry.and_then(|entry| entry.schedule.as_ref()?.longest_wait(now, zone));
        job.max_age = wait.filter(|wait| *wait > max_age).map(|wait| wait + TimeDelta::hours(1));
    }
}
