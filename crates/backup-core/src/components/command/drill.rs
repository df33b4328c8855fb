//! A drill: nothing is known of what a program's bytes mean, but to the program that verifies them.

use async_trait::async_trait;

use super::{Commands, verify};
use crate::{
    policy::{Ladder, Rung, Wrong},
    traits::{Context, Drill, Finding, Severity, Source, Throwaway},
    words::{ComponentRecord, Result},
};

#[async_trait]
impl Drill for Commands {
    /// The program gets a stream.
    fn space(&self, _: &ComponentRecord) -> u64 {
        0
    }

    async fn drill(
        &self,
        cx: &Context,
        _: &dyn Throwaway,
        from: &dyn Source,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let findings = verify::verify(cx, &self.programs, from).await?;
        let Some(first) = findings.first() else {
            ladder.rest_not_run("the section names no program that looks at a backup: add `verify`");
            return Ok(());
        };
        let said = format!("by the section's own `verify`: {}", first.message);
        let is_wrong = |finding: &&Finding| finding.severity == Severity::Error;
        let wrong = findings.iter().filter(is_wrong).map(|f| Wrong::new(&f.subject, &f.message)).collect();
        ladder.judge(Rung::Structure, said, wrong);
        ladder.rest_not_run("nothing was restored: what `verify` looks at, it alone knows");
        Ok(())
    }
}
