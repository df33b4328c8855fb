//! The dashboard: how the backups stand, in a browser. HTML and SVG made here; read-only; nothing from elsewhere.
//!
//! [`Dashboard::start`] binds and serves until it is stopped. What it shows it learns from an [`Installation`]: its engine, and
//! the documents that the command line prints as JSON. [`Live`] takes the events of runs in this process.

mod api;
mod auth;
mod cache;
mod events;
mod forecast;
mod guard;
mod installation;
mod live;
mod metrics;
mod pages;
mod plot;
mod router;
mod series;
mod server;
mod settings;
mod snapshot;
mod space;
mod throttle;
mod tls;
mod words;

pub use forecast::{Forecast, forecast};
pub use installation::{Access, Installation, NextRun, StatusLook};
pub use live::{ComponentProgress, Live, LiveRun, Running};
pub use server::Dashboard;
pub use settings::{ProxyLogin, Settings, TlsFiles};
