//! The engine of ha-backup: what a backup is, without knowing any vendor or terminal.
//!
//! Floors, each knowing only those before it: [`words`] (identifiers, keys, points, errors), [`archive`] (pax archives),
//! [`traits`] (what plug-ins implement).

pub mod archive;
pub mod components;
pub mod engine;
pub mod pipeline;
pub mod policy;
pub mod repository;
pub mod stores;
pub mod traits;
pub mod words;
