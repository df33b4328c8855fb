//! The export: what is in the namespaces, and what they lean on, as artifacts.

mod crds;
mod gather;
mod head;
mod lean;
mod pin;
mod reader;
mod refs;
mod report;
mod spool;
mod tidy;
mod wide;
mod write;

use std::collections::BTreeSet;

use backup_core::{
    traits::{Context, Sink},
    words::{Coverage, Result},
};
use serde_json::{Value, json};

use self::{
    gather::{Ask, Gathered, gather},
    reader::Reader,
    spool::Spool,
    write::{Written, write},
};
use crate::{cluster::Cluster, component::Piece, filter::Choice};

pub(crate) use lean::{looks_into_namespaces, may_be_leant_on};
pub(crate) use pin::{Pinned, is_forbidden, server_version};
pub(crate) use report::is_read;

/// What is exported, and from where.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) cluster: Cluster,
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) choice: Choice,
    pub(crate) pinned: Pinned,
}

impl Export {
    /// Reads all lists, then writes the artifacts.
    pub(crate) async fn run(&self, cx: &Context, sink: &dyn Sink) -> Result<Piece> {
        let spool = Spool::new(cx)?;
        let reader = Reader { cluster: &self.cluster, spool: &spool, version: &self.pinned.version };
        let ask = Ask { cluster: &self.cluster, namespaces: &self.namespaces, choice: &self.choice, reader };
        let gathered = gather(ask).await?;
        let written = write(sink, &spool, &gathered, &self.heading()).await?;
        Ok(self.piece(gathered, written))
    }

    fn heading(&self) -> String {
        format!(
            "# Kubernetes: namespaces {}, at resource version {}. For `kubectl apply --server-side -f`.\n",
            self.names().join(", "),
            self.pinned.version
        )
    }

    fn names(&self) -> Vec<&str> {
        self.namespaces.iter().map(String::as_str).collect()
    }

    fn piece(&self, gathered: Gathered, written: Written) -> Piece {
        let Gathered { reads, report } = gathered;
        let kinds: Vec<Value> = reads
            .iter()
            .map(|read| {
                let mut fact = json!(read.kind);
                fact["objects"] = read.places.len().into();
                fact["resource_version"] = json!(read.version);
                fact
            })
            .collect();
        let mut piece = Piece { coverage: report.coverage, warnings: report.warnings, ..Piece::default() };
        for ((kind, why), objects) in written.left_out {
            let what = format!("{objects} of {kind} in the YAML");
            piece.coverage.push(Coverage { what, why, missing: false });
        }
        if written.fragile_count > 0 {
            piece.warnings.push(format!(
                "{} objects hold control characters that `kubectl apply --server-side` changes or refuses, a restore by ha-backup \
                 does not: {}",
                written.fragile_count,
                written.fragile.join(", ")
            ));
        }
        piece.keep = written.receipts;
        let facts = [
            ("server", json!(self.pinned.server_version)),
            ("namespaces", json!(self.namespaces)),
            ("resource_version", json!(self.pinned.version)),
            ("objects", json!(written.objects)),
            ("documents", json!(written.documents)),
            ("kinds", Value::Array(kinds)),
        ];
        piece.facts.extend(facts.map(|(name, fact)| (name.to_owned(), fact)));
        piece
    }
}
