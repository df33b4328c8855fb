//! `extract`.

use backup_core::words::human_bytes;

use super::App;
use crate::{
    args::ExtractArgs,
    exit::{Exit, Failure},
    render::table,
};

pub(crate) async fn run(app: &mut App, args: ExtractArgs) -> Result<Exit, Failure> {
    let engine = app.installation_with(args.removed).await?.engine;
    let session = app.session(&engine, &args.session).await?;
    let manifest = session.committed().map_err(Failure::looking)?;
    if let Some(name) = &args.component {
        manifest.component(name).map_err(Failure::usage)?;
    }
    let id = session.id.to_string();
    let extracted = engine.extract(&app.cx, &id, args.component.as_deref(), &args.to).await?;
    let document = serde_json::json!({ "session": session.id, "files": extracted });
    app.result("extracted", &document, || {
        let rows =
            extracted.iter().map(|file| vec![file.path.display().to_string(), human_bytes(file.bytes)]);
        table(&["FILE", "SIZE"], &[1], rows)
    })?;
    Ok(Exit::Good)
}
