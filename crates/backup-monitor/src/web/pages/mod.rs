//! The pages.

mod frame;
mod login;
mod look;
mod session;
mod session_parts;
mod sessions;
mod status;
mod status_live;
mod status_parts;

pub(super) use frame::{encoded, problem};
pub(super) use login::{log_in, log_out, login};
pub(super) use session::session;
pub(super) use sessions::{Filter, sessions};
pub(super) use status::status;
