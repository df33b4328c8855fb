//! A program of the user's looks at the bytes.

use super::run::{Operation, Programs};
use crate::{
    traits::{Context, Finding, Selection, Source},
    words::Result,
};

pub(super) async fn verify(cx: &Context, programs: &Programs, from: &dyn Source) -> Result<Vec<Finding>> {
    let Some(program) = &programs.config.verify else { return Ok(Vec::new()) };
    let artifact = from.artifact(None)?;
    let stream = from.read(artifact, Selection::Whole).await?;
    Ok(match programs.feed(cx, Operation::Verify, program, stream, &[]).await {
        Ok(said) => vec![Finding::ok(&artifact.name, last_line(&said))],
        Err(error) => {
            cx.check_cancelled("verify")?;
            vec![Finding::from_error(&artifact.name, &error)]
        }
    })
}

/// The last line that a program wrote.
pub(super) fn last_line(said: &str) -> String {
    let line = said.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(|| "the program exited with 0".to_owned(), |line| line.trim().to_owned())
}
