//! The engine inside another program: no configuration file, no command line, no global state. Backs a folder up, verifies what
//! was written, and puts it back elsewhere.
//!
//! `embed-engine FOLDER STORE TARGET`

use std::{env, path::PathBuf, sync::Arc};

use backup_core::{
    components::files::{Files, FilesConfig},
    engine::{BackupRequest, Engine, JobSettings, Level, RestoreRequest},
    stores::LocalStore,
    traits::{Context, Event, Observer},
    words::{Error, ErrorKind, Result},
};

/// Tells what happens; a program with a window of its own would draw it.
#[derive(Debug)]
struct Narrator;

impl Observer for Narrator {
    fn event(&self, event: Event) {
        match event {
            Event::SessionBegun { session } => println!("begun: {session}"),
            Event::ComponentEnded { component, status, .. } => println!("{component}: {status:?}"),
            Event::StepEnded { summary, .. } => println!("restored: {summary}"),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let usage =
        || Error::new(ErrorKind::Config, "start", "embed-engine").hint("embed-engine FOLDER STORE TARGET");
    let [folder, store, target]: [PathBuf; 3] =
        env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>().try_into().map_err(|_| usage())?;

    let engine = Engine::builder("embedded")
        .store("disk", Arc::new(LocalStore::new(store)))
        .component("web", Arc::new(Files::new(FilesConfig::new(folder))?))
        .job(JobSettings::new("nightly"))
        .build()?;
    // `Context` is all that a call takes from the world; cancelling its token ends whatever runs with it.
    let cx = Context::new().with_observer(Arc::new(Narrator));
    engine.init(&cx).await?;

    let report = engine.backup(&cx, &BackupRequest::new("nightly")).await?.report;
    let session = report.session_id.to_string();
    let verified = engine.verify(&cx, &session, Level::Content).await?;
    println!(
        "verified: {} objects, {}",
        verified.objects,
        if verified.passed { "all right" } else { "NOT right" }
    );

    let mut request = RestoreRequest::new(session);
    request.components = vec!["web".to_owned()];
    request.options.insert("web".to_owned(), [("to", target.display().to_string())].into_iter().collect());
    let plan = engine.plan_restore(&cx, &request).await?;
    let outcome = engine.restore(&cx, &plan).await?;
    println!("done: {}", outcome.is_done());
    Ok(())
}
