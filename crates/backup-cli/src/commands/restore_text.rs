//! A restore's plan and outcome for people.

use std::fmt::Write;

use backup_core::{
    engine::{PlannedStep, RestoreOutcome, RestorePlan, UnfinishedRestore},
    words::human_bytes,
};

/// The plan; of an unfinished restore, with what is done marked.
pub(super) fn plan(plan: &RestorePlan, unfinished: Option<&UnfinishedRestore>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_plan(&mut out, plan, unfinished);
    out.trim_end().to_owned()
}

fn write_plan(
    out: &mut String,
    plan: &RestorePlan,
    unfinished: Option<&UnfinishedRestore>,
) -> std::fmt::Result {
    match unfinished {
        None => writeln!(out, "Restore from {}:\n", plan.session)?,
        Some(_) => writeln!(
            out,
            "Unfinished restore from {}, goes on (begin anew with --no-resume):\n",
            plan.session
        )?,
    }
    let width = plan.steps.iter().map(|step| step.component.chars().count()).max().unwrap_or(0);
    for (index, planned) in plan.steps.iter().enumerate() {
        let done = unfinished.is_some_and(|unfinished| unfinished.is_done(planned));
        write_step(out, index + 1, width, planned, done)?;
    }
    for component in &plan.components {
        let own = &component.plan;
        if own.loses.is_empty() && own.notes.is_empty() && own.scratch_bytes == 0 {
            continue;
        }
        writeln!(out, "\n{}", component.name)?;
        own.loses.iter().try_for_each(|line| writeln!(out, "  ! {line}"))?;
        own.notes.iter().try_for_each(|line| writeln!(out, "  - {line}"))?;
        if own.scratch_bytes > 0 {
            writeln!(out, "  - needs {} of free space meanwhile", human_bytes(own.scratch_bytes))?;
        }
    }
    Ok(())
}

fn write_step(
    out: &mut String,
    number: usize,
    width: usize,
    planned: &PlannedStep,
    done: bool,
) -> std::fmt::Result {
    let PlannedStep { component, step } = planned;
    let mark = if done { "  (done)" } else { "" };
    writeln!(out, "{number:>3}. {component:<width$}  {} {}{mark}", step.action, step.subject)?;
    let indent = " ".repeat(7 + width);
    step.diff.iter().flat_map(|diff| diff.lines()).try_for_each(|line| writeln!(out, "{indent}{line}"))
}

/// What the operator may want next, and what the restore waits for; what each step did was said on the way.
pub(super) fn outcome(outcome: &RestoreOutcome) -> String {
    let mut lines = Vec::new();
    for step in outcome.steps.iter().filter(|step| !step.notes.is_empty()) {
        lines.push(format!("{}: {}", step.component, step.summary));
        lines.extend(step.notes.iter().map(|note| format!("  {note}")));
        lines.push(String::new());
    }
    if outcome.is_done() {
        lines.push(format!("Restored from {}.", outcome.session));
    } else {
        lines.push("The restore waits for you:".to_owned());
        lines.extend(outcome.waiting_for.iter().map(|line| format!("  {line}")));
        lines.push("\nThen give the same command again: it goes on from here.".to_owned());
    }
    lines.join("\n")
}
