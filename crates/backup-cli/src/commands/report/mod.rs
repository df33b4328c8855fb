//! `report`: of a session, or of a period.

mod folder;
mod page;
mod period;
mod period_page;
mod plot;
mod session_page;

pub(crate) use folder::write_beside;

use backup_core::policy::Period;

use super::App;
use crate::{
    args::ReportArgs,
    exit::{Exit, Failure},
};

pub(crate) async fn run(app: &mut App, args: ReportArgs) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    if let Some(period) = &args.period {
        let period = Period::parse(period, app.cx.now(), engine.time_zone())?;
        let report = engine.report_of_period(&app.cx, &period).await.map_err(Failure::looking)?;
        match (args.html, args.csv) {
            (true, _) => plain(app, &period_page::page(&report))?,
            (_, true) => plain(app, &period::csv(&report))?,
            _ => app.answer(&report, || period::text(&report))?,
        }
        return Ok(Exit::Good);
    }
    let session = app.session(&engine, &args.session).await?;
    let report = engine.report(session.id).await.map_err(Failure::looking)?;
    if args.html {
        let past = session_page::past(app, &engine, &report).await?;
        plain(app, &session_page::page(&report, &session, &past))?;
    } else {
        app.answer(&report, || report.summary())?;
    }
    Ok(Exit::Good)
}

fn plain(app: &App, text: &str) -> backup_core::words::Result<()> {
    app.reporter.settle();
    app.output.plain(text.trim_end())
}
