//! A live cluster: which members answer, which one to read from, and its snapshot as a stream.

mod choose;
mod connect;
mod errors;
mod stream;

pub use choose::{MemberStatus, rank, warnings};
pub(crate) use connect::Connector;
pub use connect::{Access, Tls};
pub(crate) use stream::SnapshotStream;
