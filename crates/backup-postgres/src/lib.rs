//! PostgreSQL for ha-backup: the leader found through Patroni or named, one consistent logical dump of the whole cluster
//! in one SQL file, and restores that are loaded under a new name, checked, and then switched.
//!
//! The file is `globals`, then for each database `create NAME` and `database NAME`, as parts that are readable apart.
//! `psql -f` takes the whole. The bytes come from pg_dump and pg_dumpall; what they must be is documented at
//! <https://www.postgresql.org/docs/current/app-pgdump.html>.

mod by_hand;
mod capture;
mod check;
mod component;
mod config;
mod connect;
mod definition;
mod detect;
mod drill;
mod dump;
mod facts;
mod globals;
mod restore;
mod sql;
mod tools;
mod verify;

pub use component::{PostgresComponent, PostgresFactory};
