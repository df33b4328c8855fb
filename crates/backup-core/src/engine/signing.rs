//! Who wrote a session: the key that a run signs with, and the keys that are trusted.

use super::{Checked, Engine};
use crate::{
    repository::{Repository, SessionEntry, Signer},
    traits::{Context, Event, Finding},
    words::{ErrorKind, Result},
};

impl Engine {
    /// The key that a run signs its manifest with; none when none is configured.
    ///
    /// # Errors
    /// When it cannot be read: a run that could not sign is not begun.
    pub(super) async fn signer(&self) -> Result<Option<Signer>> {
        match &self.signing {
            Some(source) => Signer::load(source).await.map(Some),
            None => Ok(None),
        }
    }

    /// What a verification says of the signature; nothing when no key is trusted in particular.
    pub(super) async fn verify_signature(
        &self,
        repository: &Repository,
        entry: &SessionEntry,
    ) -> Result<Option<(String, Finding)>> {
        if self.trusted.is_empty() {
            return Ok(None);
        }
        let finding = match repository.trusted_manifest(entry, &self.trusted).await {
            Ok(_) => Finding::ok("signature", "a trusted key has signed it"),
            Err(error) if error.kind() == ErrorKind::Refused => Finding::from_error("signature", &error),
            Err(error) => return Err(error),
        };
        Ok(Some(("manifest".to_owned(), finding)))
    }

    /// Says when files are taken out of a session that a restore would refuse.
    pub(super) async fn warn_of_untrusted(
        &self,
        cx: &Context,
        repository: &Repository,
        entry: &SessionEntry,
    ) {
        if let Err(error) = repository.trusted_manifest(entry, &self.trusted).await {
            cx.observer.event(Event::Warning { component: None, message: error.to_string() });
        }
    }

    /// Findings about signatures; none when they are not configured.
    pub(super) async fn check_signing(&self) -> Option<Checked> {
        if self.signing.is_none() && self.trusted.is_empty() {
            return None;
        }
        let own = match self.signer().await {
            Err(error) => Err(Finding::from_error("key", &error)),
            Ok(None) => Ok(None),
            Ok(Some(signer)) => signer.public().map(Some).map_err(|error| Finding::from_error("key", &error)),
        };
        let mut findings = Vec::new();
        match own {
            Err(finding) => findings.push(finding),
            Ok(None) => {
                findings.push(Finding::warning("key", "there is none: what this host writes is not signed"))
            }
            Ok(Some(own)) => {
                findings.push(Finding::ok("key", format!("manifests are signed; the public key is {own}")));
                if !self.trusted.is_empty() && !self.trusted.contains(&own) {
                    findings.push(
                        Finding::warning(
                            "trusted",
                            "this host's own key is not among them: it would not restore what it writes",
                        )
                        .hint(format!("add \"{own}\" to trusted in [signing]")),
                    );
                }
            }
        }
        let trusted: Vec<String> = self.trusted.iter().map(ToString::to_string).collect();
        findings.push(match trusted.as_slice() {
            [] => Finding::ok("trusted", "no key in particular: restores do not look at signatures"),
            keys => Finding::ok(
                "trusted",
                format!("restores take what one of these has signed: {}", keys.join(", ")),
            ),
        });
        Some(Checked { kind: "signing".to_owned(), name: "signing".to_owned(), findings })
    }
}
