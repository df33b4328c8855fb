//! Files out of pods and volumes, and back.
//!
//! Out: `find` chooses in the place itself, its tar (or `cat`, or a helper's tar) sends, and a second program beside it lists
//! size and SHA-256 of every file: only what agrees with that list counts. Each pod's files are spooled to disk first, so that a
//! retry never doubles anything in the artifact.
//!
//! Back: what is needed is staged beside the target, proved by the hashes that the place prints of it, and moved into place by
//! renaming; what it replaces is kept aside.

mod again;
mod by_hand;
mod ephemeral;
mod facts;
mod frames;
mod helper;
mod keeper;
mod ledger;
mod listing;
mod matching;
mod pods;
mod put;
mod put_script;
mod reach;
mod restore;
mod script;
mod select;
mod site;
mod spool;
mod state;
mod storage;
mod take;
mod verify;
mod wanted;

use backup_core::{
    traits::{Context, Sink},
    words::{Coverage, Error, ErrorKind, Result},
};

use crate::{cluster::Cluster, component::Piece, config::KubernetesConfig};

pub(crate) use by_hand::by_hand;
pub(crate) use put::Existing;
pub(crate) use restore::{FilesPlan, PlanAsk, apply, owns, plan};
pub(crate) use verify::{is_archive, verify};
pub(crate) use wanted::check_config;

/// Captures what the sections `state` and `storage` ask for. What can't be read is said as missing, and the rest goes on; an
/// error is one of the sink or of the caller's cancellation.
pub(crate) async fn capture(
    cx: &Context,
    cluster: &Cluster,
    config: &KubernetesConfig,
    namespaces: &[String],
    sink: &dyn Sink,
) -> Result<Piece> {
    let mut piece = Piece::default();
    if config.state.is_none() && config.storage.is_none() {
        return Ok(piece);
    }
    let sweep = async {
        for namespace in namespaces {
            helper::sweep(cluster, namespace).await;
        }
    };
    let files = capture_files(cx, cluster, config, namespaces, sink, &mut piece);
    let ((), captured) = tokio::join!(sweep, files);
    captured.map(|()| piece)
}

async fn capture_files(
    cx: &Context,
    cluster: &Cluster,
    config: &KubernetesConfig,
    namespaces: &[String],
    sink: &dyn Sink,
    piece: &mut Piece,
) -> Result<()> {
    if let Some(state) = &config.state {
        let ask = state::Ask { cluster, namespaces, config: state, image: &config.helper_image };
        state::capture(cx, &ask, sink, piece).await?;
    }
    if let Some(storage) = &config.storage {
        let ask = storage::Ask { cluster, namespaces, config: storage, image: &config.helper_image };
        storage::capture(cx, &ask, sink, piece).await?;
    }
    Ok(())
}

/// What a capture of files says of itself.
impl Piece {
    /// Something that should be there and is not.
    fn missing(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.coverage.push(Coverage { what: what.into(), why: why.into(), missing: true });
    }

    /// Something that is left out, and rightly.
    fn left_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.coverage.push(Coverage { what: what.into(), why: why.into(), missing: false });
    }

    /// What is to be said of files that were read.
    fn say(&mut self, what: &str, taken: &take::Taken) {
        if taken.changed.count > 0 {
            self.warnings.push(format!(
                "{what}: changed each time it was read, so that what is kept may be torn: {}",
                taken.changed
            ));
        }
        if taken.unread.count > 0 {
            self.missing(format!("{what}: {}", taken.unread), "could not be read: may its user read it?");
        }
        if !taken.trouble.is_empty() {
            self.missing(format!("{what}: folders"), taken.trouble.join("; "));
        }
        if taken.others.count > 0 {
            let why = "pipes, sockets and devices: their programs make them again";
            self.left_out(format!("{what}: {}", taken.others), why);
        }
    }
}

/// Failures after which the whole capture ends: the rest would fail likewise.
fn is_fatal(cx: &Context, error: &Error) -> bool {
    cx.cancel.is_cancelled() || matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::NoSpace)
}
