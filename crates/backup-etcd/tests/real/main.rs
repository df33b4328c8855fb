//! Snapshots of real clusters, restored into real clusters.

mod access;
mod bytes;
mod conformance;
mod failures;
mod lab;
mod versions;
