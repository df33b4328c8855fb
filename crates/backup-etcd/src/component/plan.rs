//! What a restore will do.

use backup_core::{
    traits::{Phase, Plan, Source, Step, Target},
    words::{ComponentRecord, Error, ErrorKind, Result},
};
use serde_json::{Map, Value};

use super::{commands::printed_start, config::EtcdConfig, options::Understood};
use crate::{patroni::PatroniKeys, restore::Existing, version::Version};

/// The step that runs `restore.stop`.
pub(super) const STOP: &str = "stop";
/// The step that writes the data directories.
pub(super) const DATA: &str = "data";
/// The step that runs `restore.install`.
pub(super) const INSTALL: &str = "install";
/// The step that runs `restore.start`.
pub(super) const START: &str = "start";
/// The step that looks whether the new cluster answers.
pub(super) const ANSWER: &str = "answer";

/// etcd allocates this for the first segment of its log.
const WAL_BYTES: u64 = 64_000_000;

pub(super) fn plan(config: &EtcdConfig, target: &Target, from: &dyn Source) -> Result<Plan> {
    let record = from.record();
    let artifact = from.artifact(None)?;
    let understood = Understood::new(config, target, record)?;
    check_version(record, &understood)?;
    let existing = look(&understood)?;
    let options = serde_json::to_value(&understood)
        .map_err(|e| Error::new(ErrorKind::Internal, "write down", "the options").because(e))?;
    let members = understood.dirs.len() as u64;
    Ok(Plan {
        steps: steps(config, &understood, &existing),
        loses: losses(&understood, &existing),
        // The snapshot itself, then each member's database and log.
        scratch_bytes: artifact.plain.size * (members + 1) + WAL_BYTES * members,
        notes: notes(config, record, &understood, &existing)?,
        options,
    })
}

fn look(understood: &Understood) -> Result<Vec<Existing>> {
    understood.dirs.iter().map(|(_, dir)| Existing::look(dir)).collect()
}

/// What stands in each member's place, by its name.
fn saw(understood: &Understood, existing: &[Existing]) -> Value {
    let names = understood.dirs.iter().map(|(name, _)| name.clone());
    names.zip(existing.iter().map(|existing| existing.fingerprint().into())).collect::<Map<_, _>>().into()
}

fn check_version(record: &ComponentRecord, understood: &Understood) -> Result<()> {
    let version: Option<Version> = text(record, "version").and_then(|text| text.parse().ok());
    let (Some(version), Some(target)) = (version, understood.target) else { return Ok(()) };
    if target >= version || understood.force {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "restore", record.name.clone())
        .detail(format!("the snapshot was written by etcd {version}, and the target is the older {target}"))
        .hint(format!("restore it to etcd {version} or newer, or --set force=true")))
}

fn text<'r>(record: &'r ComponentRecord, fact: &str) -> Option<&'r str> {
    record.facts.get(fact).and_then(Value::as_str)
}

fn steps(config: &EtcdConfig, understood: &Understood, existing: &[Existing]) -> Vec<Step> {
    let commands = &config.restore;
    let names: Vec<&str> = understood.dirs.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let dirs: Vec<String> = understood.dirs.iter().map(|(_, dir)| dir.display().to_string()).collect();
    let step = |id, action, subject: &str| Step::new(id, Phase::Coordination, action, subject);
    let mut steps: Vec<Step> = Vec::new();
    let mut push = |step: Step| {
        let step = match steps.last() {
            Some(before) => step.after(before.id.clone()),
            None => step,
        };
        steps.push(step);
    };
    if !commands.stop.is_empty() {
        push(step(STOP, "stop the members of etcd", &names).diff(commands.stop.join(" ")));
    }
    push(
        step(DATA, "write the data directories of etcd", &dirs.join(", "))
            .saw(existing.iter().map(Existing::fingerprint).collect::<Vec<_>>().join(" "))
            .diff(data_diff(understood))
            .arguments(saw(understood, existing)),
    );
    if !commands.install.is_empty() {
        push(
            step(INSTALL, "bring the data directories to the members", &names)
                .diff(commands.install.join(" ")),
        );
    }
    if !commands.start.is_empty() {
        push(step(START, "start the members of etcd", &names).diff(commands.start.join(" ")));
    }
    push(step(ANSWER, "see that the restored etcd answers", &understood.endpoints.join(", ")));
    steps
}

fn data_diff(understood: &Understood) -> String {
    let keys = match understood.keys {
        PatroniKeys::All => "all of Patroni's keys are kept",
        PatroniKeys::NoLeader => "Patroni's keys are kept but for those of running nodes",
        PatroniKeys::Config => "of Patroni's keys only config is kept",
    };
    let bump = match understood.bump {
        0 => "the revision stays as it is".to_owned(),
        bump => format!("the revision goes up by {bump}, older ones count as compacted"),
    };
    format!("{bump}; {keys}; alarms are dropped")
}

fn losses(understood: &Understood, existing: &[Existing]) -> Vec<String> {
    let there = understood.dirs.iter().zip(existing);
    there
        .filter(|(_, existing)| matches!(existing, Existing::Something { .. }))
        .map(|((_, dir), _)| format!("{0} is kept aside as {0}.before-restore-TIME", dir.display()))
        .collect()
}

fn notes(
    config: &EtcdConfig,
    record: &ComponentRecord,
    understood: &Understood,
    existing: &[Existing],
) -> Result<Vec<String>> {
    let mut notes = vec![format!(
        "the new cluster is {} (token {}); each member must be restored from this session with the same options",
        understood.members, understood.token
    )];
    for ((_, dir), existing) in understood.dirs.iter().zip(existing) {
        if matches!(existing, Existing::Something { in_use: true, .. }) && config.restore.stop.is_empty() {
            notes.push(format!("an etcd is running on {}: stop it before the restore", dir.display()));
        }
    }
    if let Some(version) = text(record, "server_version") {
        notes.push(format!("the snapshot is of etcd {version}: run it with that version or a newer one"));
    }
    let auth = record.facts.get("auth_enabled").and_then(Value::as_bool);
    if auth == Some(true) {
        notes.push(
            "authentication comes back as it was: users, roles and passwords of the snapshot".to_owned(),
        );
    }
    if config.restore.start.is_empty() {
        notes.push(
            "no `restore.start` is configured: the restore stops after the data directories, until each member was started by"
                .to_owned(),
        );
        notes.extend(printed_start(record, understood)?);
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use backup_core::traits::Companion;
    use serde_json::json;

    use super::*;
    use crate::testing::{Put, Stored};

    fn config(section: Value) -> EtcdConfig {
        let mut section = section;
        section["endpoints"] = json!(["http://127.0.0.1:1"]);
        serde_json::from_value(section).unwrap()
    }

    fn planned(section: Value, target: &Target) -> Result<Plan> {
        plan(&config(section), target, &Stored::new(&[Put::new("a")]))
    }

    fn keys(plan: &Plan) -> PatroniKeys {
        Understood::from_plan(&plan.options).unwrap().keys
    }

    #[test]
    fn commands_become_steps_in_their_order() {
        let section = json!({ "restore": { "stop": ["a"], "install": ["b"], "start": ["c"] } });
        let plan = planned(section, &Target::new(json!({ "dir": "/new" }))).unwrap();
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, [STOP, DATA, INSTALL, START, ANSWER]);
        assert_eq!(plan.steps[2].after, [DATA]);
        assert!(plan.steps.iter().all(|step| step.phase == Phase::Coordination));
    }

    #[test]
    fn without_options_the_members_are_the_snapshots_and_the_token_is_always_the_same() {
        let target = Target::new(json!({ "dir": "/new" }));
        let plan = planned(json!({}), &target).unwrap();
        let understood = Understood::from_plan(&plan.options).unwrap();
        assert_eq!(understood.members, "old=http://old:2380");
        assert_eq!(understood.dirs[0].1.to_str(), Some("/new/old"));
        assert_eq!(planned(json!({}), &target).unwrap().options, plan.options);
        assert_eq!(plan.steps.len(), 2);
        assert!(
            plan.notes.iter().any(|note| note.starts_with("etcd --name old --data-dir /new/old")),
            "{plan:?}"
        );
    }

    #[test]
    fn beside_postgres_only_config_is_kept_unless_asked() {
        let beside = |options: Value| {
            let postgres = Companion { name: "pg".to_owned(), kind: "postgres".to_owned() };
            Target::new(options).together_with(vec![postgres])
        };
        let alone = planned(json!({}), &Target::new(json!({ "dir": "/new" }))).unwrap();
        assert_eq!(keys(&alone), PatroniKeys::NoLeader);
        assert_eq!(
            keys(&planned(json!({}), &beside(json!({ "dir": "/new" }))).unwrap()),
            PatroniKeys::Config
        );
        let asked = planned(json!({}), &beside(json!({ "dir": "/new", "keys": "all" }))).unwrap();
        assert_eq!(keys(&asked), PatroniKeys::All);
    }

    #[test]
    fn a_missing_or_unknown_option_and_an_older_target_are_refused() {
        let kind = |options: Value| planned(json!({}), &Target::new(options)).unwrap_err().kind();
        assert_eq!(kind(json!({})), ErrorKind::Config);
        assert_eq!(kind(Value::Null), ErrorKind::Config);
        assert_eq!(kind(json!({ "dir": "/new", "bumb": 3 })), ErrorKind::Config);
        assert_eq!(kind(json!({ "dir": "/new", "target": "3.5" })), ErrorKind::Refused);
        assert!(
            planned(json!({}), &Target::new(json!({ "dir": "/new", "target": "3.5", "force": true })))
                .is_ok()
        );
    }
}
