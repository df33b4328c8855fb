//! Restoring into a running cluster: planned against what is there, applied step by step.
//!
//! A plan is a comparison. Each kind of the backup is read as a stream beside the cluster's own list; of each object only its
//! key, its decision and hashes are kept. A step takes a group of kinds: it looks again, refuses when it would decide otherwise
//! than the plan did, notes in the journal which objects it writes, writes them, and reads them back.

mod apply;
mod backup;
mod check;
mod choice;
mod decide;
mod diff;
mod drill;
mod dry_run;
mod files;
mod group;
mod live;
mod mapping;
mod normal;
mod notes;
mod objects;
mod options;
mod plan;
mod plan_group;
mod pods;
mod prepare;
mod report;
mod retry;
mod send;
mod show;
mod started;
mod stop;
mod stopped;
mod survey;
mod tally;
mod wait;
mod work;

pub(crate) use apply::apply;
pub(crate) use drill::missing_rights;
pub(crate) use options::Options;
pub(crate) use plan::plan;
