//! Real servers, doubles and conformance suites for ha-backup's components and stores.

#[cfg(feature = "servers")]
pub mod servers;
#[cfg(feature = "suites")]
pub mod suites;
