//! Snapshots of real clusters, restored into real clusters.

mod access;
mod bytes;
mod conformance;
mod drill;
mod failures;
mod lab;
mod versions;
