//! A restore: one program that reads the backup.

use serde_json::json;

use super::{
    config::{CommandConfig, CommandRestore},
    run::{Operation, Programs},
    verify::last_line,
};
use crate::{
    traits::{Context, Journal, Node, Plan, Restored, Selection, Source, Step, Target},
    words::{ComponentRecord, Error, ErrorKind, Result, human_bytes},
};

const STEP: &str = "run";

pub(super) fn plan(config: &CommandConfig, target: &Target, from: &dyn Source) -> Result<Plan> {
    let _: CommandRestore = Node::options(&target.options).parse()?;
    let name = &from.record().name;
    let Some(program) = &config.restore else {
        return Err(Error::new(ErrorKind::Unsupported, "plan a restore of", name)
            .detail("its section names no program that restores")
            .hint("add `restore = [\"PROGRAM\", ...]`, or take the plain file with `ha-backup extract`"));
    };
    let artifact = from.artifact(None)?;
    let size = human_bytes(artifact.plain.size);
    Ok(Plan {
        steps: vec![
            Step::new(STEP, config.phase, "run", words(program))
                .diff(format!("it reads {}, {size}", artifact.name)),
        ],
        loses: vec![format!("whatever {} replaces: what it does is not known here", program[0])],
        ..Plan::default()
    })
}

pub(super) async fn apply(
    cx: &Context,
    programs: &Programs,
    step: &Step,
    from: &dyn Source,
    journal: &dyn Journal,
) -> Result<Restored> {
    let wrong = |detail: &str| {
        Error::new(ErrorKind::Config, "apply the step", step.id.clone())
            .detail(detail)
            .hint("plan the restore again")
    };
    let program = programs.config.restore.as_ref().filter(|_| step.id == STEP);
    let program = program.ok_or_else(|| wrong("the section names no such program"))?;
    if words(program) != step.subject {
        return Err(wrong("the section names another program than the plan"));
    }
    let attempt = journal.recall("attempt").and_then(|value| value.as_u64()).unwrap_or(0) + 1;
    journal.record("attempt", json!(attempt)).await?;
    let stream = from.read(from.artifact(None)?, Selection::Whole).await?;
    let more = [("HA_BACKUP_ATTEMPT", attempt.to_string())];
    let said = programs.feed(cx, Operation::Restore, program, stream, &more).await?;
    Ok(Restored::done(format!("{}: {}", program[0], last_line(&said))))
}

pub(super) fn by_hand(config: &CommandConfig, record: &ComponentRecord) -> Vec<String> {
    let Some(program) = &config.restore else { return Vec::new() };
    let mut lines = Vec::new();
    let variables: Vec<_> = config.environment.keys().chain(config.secrets.keys()).cloned().collect();
    if !variables.is_empty() {
        lines.push(format!("It wants these variables in its environment: {}.", variables.join(", ")));
    }
    let command = |file: &str| format!("$ {} < {}/{file}", words(program), record.name);
    lines.extend(record.artifacts.iter().map(|artifact| command(&artifact.name)));
    lines
}

/// A program as a shell would take it.
fn words(program: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quoted = program.iter().map(|word| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}
