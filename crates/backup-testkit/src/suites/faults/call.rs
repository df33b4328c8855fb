//! What can be asked of a store, and how it can go wrong.

use std::{fmt, time::Duration};

use backup_core::words::ErrorKind;

/// One kind of operation. Asking whether the store creates conditionally is none: stores know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `Store::begin`.
    Begin,
    /// `Upload::write`.
    Write,
    /// `Upload::finish`.
    Finish,
    /// `Upload::abort`.
    Abort,
    /// `Store::put`.
    Put,
    /// `CreateIfAbsent::create`.
    Create,
    /// `Store::head`.
    Head,
    /// `Store::get`, until it answers.
    Get,
    /// One chunk of what `get` gives.
    Read,
    /// `Store::list`, all of it.
    List,
    /// `Store::delete`.
    Delete,
    /// `Store::clear_uploads`.
    ClearUploads,
    /// `Space::space`.
    Space,
    /// `Space::reserve`.
    Reserve,
}

impl Call {
    /// Whether it can change what the store holds.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Head | Self::Get | Self::Read | Self::List | Self::Space)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Begin => "begin",
            Self::Write => "write",
            Self::Finish => "finish",
            Self::Abort => "abort",
            Self::Put => "put",
            Self::Create => "create",
            Self::Head => "head",
            Self::Get => "get",
            Self::Read => "read",
            Self::List => "list",
            Self::Delete => "delete",
            Self::ClearUploads => "clear-uploads",
            Self::Space => "space",
            Self::Reserve => "reserve",
        })
    }
}

/// One operation, as a script sees it.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    /// The first has number 1.
    pub number: u64,
    /// Which kind.
    pub call: Call,
    /// On which key; empty for operations on the whole store.
    pub key: &'a str,
}

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Before(ErrorKind),
    /// It is done, and its answer is lost: [`ErrorKind::Unknown`] where the trait asks for that, else a time-out.
    After,
    /// It breaks off: half of a chunk is written, half of an object or of a listing is given, then it fails. What is done at
    /// once or not at all fails with nothing done.
    Midway,
    /// Half of an object is given and then the end, as if it were the whole. Other operations are as they should be.
    Short,
    /// It takes so long. A listing shows what was there when it began, which is all the age that the trait allows it.
    Slow(Duration),
    /// The disk is full: what would write fails, the rest goes well.
    Full,
    /// The host dies before it: neither it nor anything later reaches the store.
    DieBefore,
    /// The host dies after it: it is done, nobody hears of it, and nothing later reaches the store.
    DieAfter,
}
