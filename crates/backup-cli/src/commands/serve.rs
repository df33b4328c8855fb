//! `serve`: the dashboard by itself.

use std::sync::Arc;

use backup_monitor::web::{Dashboard, Live};
use serde_json::json;

use super::{App, dashboard::Shown};
use crate::{
    args::ServeArgs,
    exit::{Exit, Failure},
};

pub(crate) async fn run(app: &mut App, args: ServeArgs) -> Result<Exit, Failure> {
    let installation = app.installation().await?;
    let section = installation.config.dashboard.clone().unwrap_or_default();
    let settings = section.settings(args.listen).await?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let shown = Arc::new(Shown::new(Arc::new(installation)));
    let mut dashboard = Dashboard::start(settings, shown, Live::new(), &app.cx).await?;
    let url = format!("{scheme}://{}", dashboard.address());
    app.result("serving", &json!({ "url": url }), || format!("The dashboard is at {url} until Ctrl-C."))?;
    dashboard.ended().await;
    Ok(Exit::Good)
}
