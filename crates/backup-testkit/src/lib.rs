//! What the tests of ha-backup stand on: real servers on loopback (feature `servers`).

#[cfg(feature = "servers")]
pub mod servers;
