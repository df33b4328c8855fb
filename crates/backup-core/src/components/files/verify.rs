//! Reads an archive whole, without the folder it came from.

use super::{bridge, tally::Tally};
use crate::{
    archive::Reader,
    traits::{ByteStream, Context, Finding, Selection, Source},
    words::{Result, human_bytes},
};

pub(super) async fn verify(cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
    let artifact = from.artifact(None)?;
    let stream = from.read(artifact, Selection::Whole).await?;
    let tally = match read_whole(cx, stream).await {
        Ok(tally) => tally,
        Err(e) => {
            cx.check_cancelled("verify the archive")?;
            return Ok(vec![Finding::from_error(&artifact.name, &e)]);
        }
    };
    let differences = tally.differences(&from.record().facts);
    if differences.is_empty() {
        let size = human_bytes(artifact.plain.size);
        return Ok(vec![Finding::ok(
            &artifact.name,
            format!("read whole ({size}), to its end mark: {tally}"),
        )]);
    }
    let finding = |difference| Finding::error(&artifact.name, difference).hint("take another session");
    Ok(differences.into_iter().map(finding).collect())
}

/// Counts what an archive holds; all of it must be well formed.
async fn read_whole(cx: &Context, stream: ByteStream) -> Result<Tally> {
    bridge::read_blocking(cx, stream, |stream| {
        let mut reader = Reader::new(stream);
        let mut tally = Tally::default();
        while let Some(entry) = reader.next()? {
            tally.add(&entry);
        }
        reader.finish()?;
        Ok(tally)
    })
    .await
}
