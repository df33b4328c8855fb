//! `restore`: plan, show, ask, apply.

use std::{collections::BTreeMap, io::IsTerminal};

use backup_core::{
    engine::{Engine, Level, RestoreOutcome, RestorePlan, RestoreRequest, UnfinishedRestore},
    repository::Manifest,
    words::{Error, ErrorKind, Result as CoreResult},
};
use serde_json::Value;

use super::{App, installation::Installation, restore_text, verify};
use crate::{
    args::RestoreArgs,
    exit::{Exit, Failure},
    options::{self, Taker},
    render::{ask, print_message},
};

/// All good components of the session.
const ALL: &str = "all";

pub(crate) async fn run(app: &mut App, args: RestoreArgs) -> Result<Exit, Failure> {
    let installation = app.installation_with(args.removed).await?;
    let engine = &installation.engine;
    let session = app.session(engine, &args.session).await?;
    let manifest = session.committed().map_err(Failure::looking)?;
    // Nobody looked after these bytes since: they are looked at whole before the first step.
    if args.removed
        && verify::one(app, engine, &session.id.to_string(), Level::Checksum, false).await?.is_some()
    {
        return Ok(Exit::Problems);
    }
    let names = components(manifest, &args.component).map_err(Failure::usage)?;
    let options = options::read(&args.set, &takers(app, &installation, &names)?)?;
    let mut request = RestoreRequest::new(session.id.to_string());
    request.components = names;
    request.options = options;

    let unfinished = if args.no_resume { None } else { unfinished(app, engine, &request).await? };
    let plan = match &unfinished {
        Some(unfinished) => unfinished.plan().clone(),
        None => engine.plan_restore(&app.cx, &request).await?,
    };
    let shown = || restore_text::plan(&plan, unfinished.as_ref());
    if args.plan {
        app.answer(&plan, shown)?;
        return Ok(Exit::Good);
    }
    if app.output.json {
        print_message("plan", &plan)?;
    } else {
        app.output.note(&format!("{}\n", shown()));
    }
    if !args.yes && !confirmed(app, &plan).await? {
        app.output.note("Nothing was changed.");
        return Ok(Exit::Failed);
    }
    let outcome = apply(app, engine, &plan, unfinished.as_ref()).await?;
    app.result("restore_ended", &outcome, || restore_text::outcome(&outcome))?;
    Ok(Exit::problems_if(!outcome.is_done()))
}

async fn apply(
    app: &App,
    engine: &Engine,
    plan: &RestorePlan,
    unfinished: Option<&UnfinishedRestore>,
) -> CoreResult<RestoreOutcome> {
    match unfinished {
        None => engine.restore(&app.cx, plan).await,
        Some(unfinished) => engine.resume_restore(&app.cx, unfinished).await,
    }
}

/// The components that are meant: one, or all good ones.
fn components(manifest: &Manifest, asked: &str) -> CoreResult<Vec<String>> {
    if asked == ALL {
        return Ok(manifest.components.iter().filter(|c| c.is_good()).map(|c| c.name.clone()).collect());
    }
    manifest.component(asked).map(|record| vec![record.name.clone()])
}

/// What may be set; a component that is not configured takes nothing, and the engine says so.
fn takers(app: &App, installation: &Installation, names: &[String]) -> CoreResult<Vec<Taker>> {
    let sections = installation.config.components.iter().filter(|section| names.contains(&section.name));
    sections
        .map(|section| {
            let schema = app.registry.factory(section)?.restore_schema();
            Ok(Taker { name: section.name.clone(), schema })
        })
        .collect()
}

/// A restore of the same components that has not come to its end.
///
/// # Errors
/// When it was begun with other options than those of `request`.
async fn unfinished(
    app: &App,
    engine: &Engine,
    request: &RestoreRequest,
) -> Result<Option<UnfinishedRestore>, Failure> {
    let Some(unfinished) = engine.unfinished_restore(&app.cx, &request.session).await? else {
        return Ok(None);
    };
    let plan = unfinished.plan();
    let names: Vec<&str> = plan.components.iter().map(|component| component.name.as_str()).collect();
    if names != request.components {
        app.output.note(&format!(
            "An unfinished restore of {} is left as it is; this one begins anew.",
            names.join(", ")
        ));
        return Ok(None);
    }
    if let Some(other) = other_option(plan, &request.options) {
        return Err(Failure::usage(
            Error::new(ErrorKind::Config, "go on with the restore of", plan.session.to_string())
                .detail(format!("it was begun with another value of `{other}`"))
                .hint("leave the option out to go on, or begin anew with --no-resume"),
        ));
    }
    Ok(Some(unfinished))
}

/// An option that the plan was made with another value of.
fn other_option(plan: &RestorePlan, options: &BTreeMap<String, Value>) -> Option<String> {
    plan.components.iter().find_map(|component| {
        let asked = options.get(&component.name)?.as_object()?;
        let differs = |(key, value): &(&String, &Value)| {
            component.plan.options.get(key.as_str()).is_some_and(|planned| planned != *value)
        };
        asked.iter().find(differs).map(|(key, _)| format!("{}.{key}", component.name))
    })
}

/// Whether the person at the terminal says yes. Without a terminal there is nobody to ask.
async fn confirmed(app: &App, plan: &RestorePlan) -> Result<bool, Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if app.output.json || !terminal {
        return Err(Failure::usage(
            Error::new(ErrorKind::Config, "restore", plan.session.to_string())
                .detail("there is no terminal to ask at")
                .hint("look at the plan with --plan, then say --yes"),
        ));
    }
    app.reporter.settle();
    Ok(app.cx.or_cancelled("restore", ask("Restore? [y/N] ")).await?)
}
