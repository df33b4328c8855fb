//! The write-ahead log that a restored member starts from.
//!
//! Source: etcd `server/storage/wal/{wal,encoder}.go`, `walpb/record.proto`, `raftpb/raft.proto`. It says that raft has added
//! each member of the new cluster and has taken a snapshot after that.

use std::{
    fs::File,
    io::{BufWriter, Write},
};

use backup_core::words::Result;

use super::cluster::{Cluster, Member};
use crate::proto::Message;

/// etcd allocates its segments in full, and so do we: without space for it a member would not start.
const SEGMENT: u64 = 64_000_000;

/// The first segment's name.
pub(super) const NAME: &str = "0000000000000000-0000000000000000.wal";

const METADATA: u64 = 1;
const ENTRY: u64 = 2;
const STATE: u64 = 3;
const CRC: u64 = 4;
const SNAPSHOT: u64 = 5;

/// Raft's term at the beginning.
pub(super) const TERM: u64 = 1;

/// Raft's index after all members have been added.
pub(super) fn commit(cluster: &Cluster) -> u64 {
    cluster.members().len() as u64
}

/// Raft's voters: `{voters = 1 (each), auto_leave = 5}`.
pub(super) fn conf_state(cluster: &Cluster) -> Vec<u8> {
    let voters =
        cluster.members().iter().fold(Message::new(), |message, member| message.number(1, member.id()));
    voters.number(5, 0).done()
}

/// All records of the log of `member`.
pub(super) fn log(cluster: &Cluster, member: &Member) -> Result<Vec<u8>> {
    let mut log = Log::default();
    log.record(CRC, None);
    log.record(METADATA, Some(&Message::new().number(1, member.id()).number(2, cluster.id()).done()));
    log.record(SNAPSHOT, Some(&Message::new().number(1, 0).number(2, 0).done()));
    for (index, added) in (1..).zip(cluster.members()) {
        // ConfChange {id = 1, type = 2 (0: add a node), node = 3, context = 4}
        let change =
            Message::new().number(1, 0).number(2, 0).number(3, added.id()).bytes(4, added.json()?.as_bytes());
        // Entry {type = 1 (1: ConfChange), term = 2, index = 3, data = 4}
        let entry = Message::new().number(1, 1).number(2, TERM).number(3, index).bytes(4, &change.done());
        log.record(ENTRY, Some(&entry.done()));
    }
    let commit = commit(cluster);
    let vote = cluster.members()[0].id();
    log.record(STATE, Some(&Message::new().number(1, TERM).number(2, vote).number(3, commit).done()));
    let snapshot = Message::new().number(1, commit).number(2, TERM).bytes(3, &conf_state(cluster));
    log.record(SNAPSHOT, Some(&snapshot.done()));
    Ok(log.bytes)
}

/// Writes a segment: the log, then zeros to its full length.
pub(super) fn write(file: &File, log: &[u8]) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    out.write_all(log)?;
    let zeros = vec![0; 64 << 10];
    let mut left = SEGMENT - log.len() as u64;
    while left > 0 {
        let piece = left.min(zeros.len() as u64);
        out.write_all(&zeros[..piece as usize])?;
        left -= piece;
    }
    out.flush()
}

/// Records one after the other, each with the CRC-32C over all data so far.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    crc: u32,
}

impl Log {
    /// Record {type = 1, crc = 2, data = 3}, framed by its length and padded to 8 bytes.
    fn record(&mut self, kind: u64, data: Option<&[u8]>) {
        self.crc = crc32c::crc32c_append(self.crc, data.unwrap_or_default());
        let mut record = Message::new().number(1, kind).number(2, u64::from(self.crc));
        if let Some(data) = data {
            record = record.bytes(3, data);
        }
        let record = record.done();
        let padding = record.len().wrapping_neg() % 8;
        let mut frame = record.len() as u64;
        if padding != 0 {
            frame |= (0x80 | padding as u64) << 56;
        }
        self.bytes.extend(frame.to_le_bytes());
        self.bytes.extend(record);
        self.bytes.extend(&[0; 8][..padding]);
    }
}
