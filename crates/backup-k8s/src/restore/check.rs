//! Reading back what was written.

use backup_core::words::Result;
use futures::TryStreamExt;

use super::{
    report::Report,
    show,
    survey::{Ground, Item},
    tally::{Ranges, name},
};
use crate::cluster::ResourceKind;

/// Looks at the objects of a kind that were written: each is there. What somebody has changed since is said.
pub(super) async fn read_back(
    ground: &Ground<'_>,
    kind: &ResourceKind,
    writes: &Ranges,
    refused: &std::collections::BTreeSet<String>,
    report: &mut Report,
) -> Result<()> {
    let there = ground.there(kind).await?;
    let resource = kind.resource();
    let mut items = std::pin::pin!(ground.look(kind, &there).await?);
    let mut number = 0;
    while let Some(item) = items.try_next().await? {
        let written = writes.has(number);
        number += 1;
        let Item::Seen(seen) = item else { continue };
        if !written || refused.contains(&format!("{resource} {}", seen.wanted.key)) {
            continue;
        }
        let name = name(kind, &seen.wanted.key);
        if seen.live.is_none() {
            report.gone(&name);
        } else if let Some(difference) = seen.difference.filter(|difference| !difference.is_contained()) {
            report.note(|| {
                let changed = show::difference(&kind.kind, &difference, 3).join("; ");
                format!("{name} was changed by somebody else since: {changed}")
            });
        }
    }
    Ok(())
}
