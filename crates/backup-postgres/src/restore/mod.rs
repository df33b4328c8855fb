//! Restoring into a running leader: under a new name, checked, then switched.

mod apply;
mod check;
mod globals;
mod load;
mod names;
mod options;
mod plan;
mod switch;

pub(crate) use apply::apply;
pub(crate) use check::differences;
pub(crate) use load::{pour, psql_command};
pub(crate) use options::Options;
pub(crate) use plan::plan;
