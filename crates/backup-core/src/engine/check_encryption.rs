//! `check` of encryption: for whom, and whether this host can read what it writes.

use super::{Checked, Engine};
use crate::traits::Finding;

impl Engine {
    /// Findings about encryption; none when it is not configured.
    pub(super) async fn check_encryption(&self) -> Option<Checked> {
        if self.recipients.is_empty() && !self.identities.are_given() {
            return None;
        }
        let recipients: Vec<String> = self.recipients.iter().map(ToString::to_string).collect();
        let written = match recipients.as_slice() {
            [] => Finding::warning("recipients", "there are none: what is written is not encrypted"),
            some => {
                Finding::ok("recipients", format!("what is written is encrypted for {}", some.join(", ")))
            }
        };
        let findings = vec![written, self.check_reading(&recipients).await];
        Some(Checked { kind: "encryption".to_owned(), name: "encryption".to_owned(), findings })
    }

    async fn check_reading(&self, recipients: &[String]) -> Finding {
        if !self.identities.are_given() {
            return Finding::ok(
                "identity",
                "none: this host cannot read its backups, whoever gets hold of it; restores and checks of content take an \
                 identity",
            );
        }
        match self.identities.keyring().await {
            Err(error) => Finding::from_error("identity", &error),
            Ok(keys) if keys.opens(recipients) => {
                Finding::ok("identity", "this host can read its backups, and so can whoever gets hold of it")
            }
            Ok(_) if recipients.is_empty() => Finding::ok("identity", "it can be read"),
            Ok(_) => Finding::warning(
                "identity",
                "it does not open what is written now: it is none of the recipients'",
            )
            .hint("older sessions may still need it; else take the identity of one of the recipients"),
        }
    }
}
