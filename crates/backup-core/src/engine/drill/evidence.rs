//! `drill-STAMP.json`: written beside the session, read back, and checked when somebody shows one.

use bytes::Bytes;
use chrono::TimeDelta;
use serde::Serialize;

use crate::{
    engine::{Engine, nearest::NearCopy},
    policy::DrillReport,
    repository::{Manifest, check_signature, create_own, drill_file, read_small, session_key, signature_of},
    traits::{Context, Created, Event, Finding, Severity},
    words::{Digest, Error, ErrorKind, Result},
};

/// What a look at a drill's report says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrillCheck {
    /// True when nothing speaks against it.
    pub good: bool,
    /// The report, when it is one.
    pub report: Option<DrillReport>,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

impl NearCopy {
    /// SHA-256 of the manifest's own bytes.
    pub(super) async fn manifest_sha256(&self) -> Result<String> {
        let key = session_key(self.entry.id, "manifest.json")?;
        Ok(Digest::of(&read_small(&self.repository().store, &key).await?).sha256)
    }
}

impl Engine {
    /// Writes the report into every store that holds the session, its signature before it. A stamp that is taken leaves the
    /// next second.
    pub(super) async fn keep_drill(
        &self,
        cx: &Context,
        manifest: &Manifest,
        report: &mut DrillReport,
    ) -> Result<()> {
        let signer = self.signer().await?;
        let reached = self.reach(cx).await?;
        let mut holders = Vec::new();
        for site in &reached.sites {
            match site.repository.session(report.session, cx.now()).await {
                Ok(entry) if entry.committed().is_ok_and(|there| there.nonce == manifest.nonce) => {
                    holders.push((site, entry));
                }
                Ok(_) => {}
                Err(error) => warn(cx, site.name(), &error),
            }
        }
        while holders.iter().any(|(_, entry)| entry.has(&drill_file(report.at))) {
            report.at += TimeDelta::seconds(1);
        }
        let file = drill_file(report.at);
        let body: Bytes = serde_json::to_vec_pretty(report)
            .map_err(|e| Error::new(ErrorKind::Internal, "write", file.clone()).because(e))?
            .into();
        let signature = match &signer {
            Some(signer) => Some(signer.sign(&format!("{file} of {}", report.session), &body)?),
            None => None,
        };
        let (mut written, mut first_error) = (0, None);
        for (site, _) in &holders {
            let store = &site.repository.store;
            let outcome = async {
                if let Some(signature) = &signature {
                    create_own(store, &session_key(report.session, &signature_of(&file))?, signature.clone())
                        .await?;
                }
                create_own(store, &session_key(report.session, &file)?, body.clone()).await
            };
            match outcome.await {
                Ok(Created::Made(_)) => written += 1,
                Ok(Created::Exists) => {
                    let error = Error::new(ErrorKind::Conflict, "write", file.clone())
                        .detail("another drill of the session took that name");
                    warn(cx, site.name(), &error);
                    first_error = first_error.or(Some(error));
                }
                Err(error) => {
                    warn(cx, site.name(), &error);
                    first_error = first_error.or(Some(error));
                }
            }
        }
        if written > 0 {
            return Ok(());
        }
        Err(first_error.unwrap_or_else(|| {
            Error::new(ErrorKind::NotFound, "write", file)
                .detail("no store that answers holds the session any more")
        }))
    }

    /// Looks at a drill's report that somebody shows: whether it is one and makes sense, who signed it, and whether the manifest
    /// that it names is that of the session in a store. `signature` is what stands in `FILE.minisig`.
    ///
    /// # Errors
    /// When no store can be read; what is wrong with the report is a finding.
    pub async fn check_drill(
        &self,
        cx: &Context,
        body: Bytes,
        signature: Option<Bytes>,
    ) -> Result<DrillCheck> {
        let (report, mut findings) = read_report(&body);
        findings.push(self.check_drill_signature(&body, signature.as_ref()).await?);
        if let Some(report) = &report {
            findings.push(self.check_drill_manifest(cx, report).await?);
        }
        let good = findings.iter().all(|finding| finding.severity != Severity::Error);
        Ok(DrillCheck { good, report, findings })
    }

    async fn check_drill_signature(&self, body: &Bytes, signature: Option<&Bytes>) -> Result<Finding> {
        let mut trusted = self.trusted.clone();
        if trusted.is_empty()
            && let Some(signer) = self.signer().await?
        {
            trusted.push(signer.public()?);
        }
        Ok(match (signature, trusted.as_slice()) {
            (None, []) => Finding::ok("signature", "it is not signed, and no key is trusted in particular"),
            (None, _) => Finding::error("signature", "it is not signed"),
            (Some(_), []) => {
                Finding::warning("signature", "it is signed, and there is no key to check it with")
                    .hint("name the public key in trusted of [signing]")
            }
            (Some(signature), keys) => match check_signature(body, signature, keys) {
                Ok(()) => Finding::ok("signature", "a trusted key has signed it"),
                Err(why) => Finding::error("signature", why),
            },
        })
    }

    async fn check_drill_manifest(&self, cx: &Context, report: &DrillReport) -> Result<Finding> {
        let subject = format!("manifest of {}", report.session);
        let near = match self.near_copy(cx, &report.session.to_string(), false).await {
            Ok(near) => near,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Finding::warning(subject, "the session is in no store any more"));
            }
            Err(error) => return Err(error),
        };
        Ok(if near.manifest.repository != report.repository {
            Finding::error(subject, "the report is about another repository")
        } else if near.manifest_sha256().await? == report.manifest_sha256 {
            Finding::ok(subject, "it is the one that was drilled")
        } else {
            Finding::error(subject, "the one in the store is not the one that was drilled")
        })
    }
}

fn read_report(body: &Bytes) -> (Option<DrillReport>, Vec<Finding>) {
    match serde_json::from_slice::<DrillReport>(body) {
        Err(e) => (None, vec![Finding::error("report", format!("it is no report of a drill: {e}"))]),
        Ok(report) => {
            let contradictions = report.contradictions();
            let findings = match contradictions.as_slice() {
                [] => vec![Finding::ok("report", "it is whole")],
                wrong => wrong.iter().map(|wrong| Finding::error("report", wrong)).collect(),
            };
            (Some(report), findings)
        }
    }
}

fn warn(cx: &Context, store: &str, error: &Error) {
    let message = format!("the drill's report is not in {store}: {}", error.chain());
    cx.observer.event(Event::Warning { component: None, message });
}
