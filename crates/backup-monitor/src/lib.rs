//! Tells people and machines how the backups do: alerts when something begins to be wrong, changes, lasts and is over; pings
//! whose absence raises somebody else's alarm; hooks around a run.
//!
//! [`Ledger`] is pure: what was seen and the time in, messages out. [`Teller`] loads it, sends what it plans through
//! [`Notifier`]s and writes down what got out. [`hooks`] run programs. Nothing here fails a backup.
//!
//! [`prometheus`] says in numbers how the backups stand, for machines that ask; [`web`] is the dashboard, for people.

mod alert;
pub mod hooks;
#[cfg(feature = "mail")]
mod html;
mod ledger;
#[cfg(any(feature = "mail", feature = "web"))]
mod markup;
mod notify;
pub mod prometheus;
mod route;
mod state;
mod teller;
#[cfg(feature = "web")]
pub mod web;

pub use alert::{Item, Kind, Look, Message, Observation, Phase, Problem, Severity, Signal, Standing};
pub use ledger::{Delivery, Failing, Ledger, NotifierRecord, Pace, Plan};
pub use notify::{ALL_KINDS, KINDS, Notifier, NotifierKind, Takes};
pub use route::Route;
pub use state::StateFile;
pub use teller::{Channel, NotTold, Teller};
