//! `import`: what the old shell scripts made becomes sessions, without a byte being moved.

use std::{collections::BTreeMap, path::Path};

use backup_core::{
    engine::{AdoptReport, Adopted, Adoption},
    repository::Status,
    words::{Error, ErrorKind, Result, human_bytes},
};
use chrono_tz::Tz;

use super::App;
use crate::{
    args::ImportArgs,
    config::Config,
    exit::{Exit, Failure},
    render::{count, table},
};

/// What stands near the end of whole dumps, by the plain file's extension.
const END_MARKERS: [(&str, &str); 1] = [("sql", "dump complete")];

pub(crate) async fn run(app: &mut App, args: ImportArgs) -> Result<Exit, Failure> {
    let installation = app.installation().await?;
    let config = &installation.config;
    let store = store_of(config, &args.folder)?;
    let job = config.job(args.job.as_deref())?.name.clone();
    let mut adoption = Adoption::new(store, job, zone(config, args.time_zone.as_deref())?);
    adoption.end_markers =
        END_MARKERS.map(|(extension, text)| (extension.to_owned(), text.to_owned())).into();
    adoption.dry_run = args.dry_run;
    let report = installation.engine.adopt(&app.cx, &adoption).await?;
    app.result("import_ended", &report, || text(&report, &adoption))?;
    let partial = report.sessions.iter().any(|session| !session.problems.is_empty());
    Ok(Exit::problems_if(partial))
}

/// The local store whose path `folder` is.
fn store_of(config: &Config, folder: &Path) -> Result<String> {
    let same = |path: &Path| match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path == folder,
        _ => false,
    };
    let mut local = config.stores.iter().filter(|store| store.section.kind == "local");
    let found = local.find(|store| {
        store
            .section
            .node
            .get("path")
            .is_some_and(|path| path.value().as_str().is_some_and(|path| same(Path::new(path))))
    });
    let wrong = || Error::new(ErrorKind::Config, "import", folder.display().to_string());
    match found {
        Some(store) => Ok(store.section.name.clone()),
        None if !folder.is_dir() => Err(wrong().detail("there is no such folder")),
        None => Err(wrong().detail("it is not the path of a local store of the configuration").hint(format!(
            "files are adopted where they stand: add [[store]] with kind = \"local\" and path = \"{}\", then `ha-backup init`",
            folder.display()
        ))),
    }
}

fn zone(config: &Config, name: Option<&str>) -> Result<Tz> {
    let Some(name) = name else { return Ok(config.time_zone) };
    name.parse().map_err(|_| {
        Error::new(ErrorKind::Config, "read --time-zone", name)
            .detail("there is no such time zone")
            .hint("write an IANA name, such as UTC or Europe/Berlin")
    })
}

fn text(report: &AdoptReport, adoption: &Adoption) -> String {
    let mut blocks = Vec::new();
    if !report.sessions.is_empty() {
        let rows = report.sessions.iter().map(row);
        blocks.push(table(&["SESSION", "TYPE", "STATUS", "SIZE", "COMPONENTS"], &[3], rows));
    }
    let problems = report.sessions.iter().flat_map(|session| &session.problems);
    let problems: Vec<String> = problems.map(|problem| format!("  damaged: {problem}")).collect();
    if !problems.is_empty() {
        blocks.push(problems.join("\n"));
    }
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for passed in &report.passed_over {
        reasons.entry(&passed.why).or_default().push(passed.key.as_str());
    }
    for (why, keys) in reasons {
        blocks.push(format!("left alone: {why}\n  {}", keys.join("\n  ")));
    }
    let sessions = count(report.sessions.len(), "session");
    blocks.push(match (report.sessions.is_empty(), adoption.dry_run) {
        (true, _) => "There is nothing to adopt.".to_owned(),
        (false, true) => format!(
            "{sessions} would be adopted as the job {}'s, times read as {}. Nothing was changed, and no file read yet.",
            adoption.job, adoption.time_zone
        ),
        (false, false) => format!(
            "{sessions} adopted as the job {}'s, times read as {}. Its retention is theirs from now on: look at `ha-backup cleanup \
             --dry-run`.",
            adoption.job, adoption.time_zone
        ),
    });
    blocks.join("\n\n")
}

fn row(session: &Adopted) -> Vec<String> {
    let status = session.status.map_or("-".to_owned(), |status| match status {
        Status::Success => "SUCCESS".to_owned(),
        Status::Partial => "PARTIAL".to_owned(),
        Status::Failed => "FAILED".to_owned(),
    });
    vec![
        session.session_id.to_string(),
        session.session_type.to_string(),
        status,
        human_bytes(session.stored_bytes),
        session.components.join(" "),
    ]
}
