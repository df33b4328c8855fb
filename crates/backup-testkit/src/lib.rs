//! Real servers, doubles and conformance suites for ha-backup's components and stores.

#[cfg(feature = "suites")]
pub mod suites;
