//! A live cluster: which members answer, which one to read from, and its snapshot as a stream.

mod ask;
mod choose;
mod connect;
mod errors;
mod stream;

pub(crate) use ask::Asked;
pub(crate) use choose::{MemberStatus, rank, warnings};
pub use connect::Tls;
pub(crate) use connect::{Access, Connector};
pub(crate) use stream::SnapshotStream;
