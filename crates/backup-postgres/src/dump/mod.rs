//! Reading pg_dump's plain text as it goes by.

mod copy;
mod scanner;

pub(crate) use scanner::{Scan, Scanner};
