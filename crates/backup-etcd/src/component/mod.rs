//! etcd as a component of a recovery point.

mod answer;
mod apply;
mod by_hand;
mod capture;
mod commands;
mod config;
mod detect;
mod drill;
mod fetch;
mod options;
mod plan;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    traits::{
        Capture, CaptureAsk, Component, ComponentFactory, Context, Deps, Detected, Drill, Finding, Journal,
        Node, Place, Plan, Restored, Source, Step, Target,
    },
    words::{ComponentRecord, Count, Error, ErrorKind, Kind, Result, Retry, human_bytes},
};

pub use config::{DrillOptions, EtcdConfig, RestoreCommands};
pub use options::RestoreOptions;

use crate::live::{Connector, MemberStatus, SnapshotStream, rank, warnings};

/// The kind's name in configurations and manifests.
pub const KIND: &str = "etcd";
/// The number of the format: one artifact `db`, exactly as `etcdctl snapshot save` writes it.
const FORMAT: u32 = 1;

/// How long members that do not answer are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often they are asked meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// An etcd cluster to be backed up and restored.
#[derive(Debug)]
pub struct EtcdComponent {
    config: EtcdConfig,
    place: Arc<dyn Place>,
    /// Endpoints that failed in mid-stream in this run: the next attempt takes another one.
    failed: Arc<Mutex<BTreeSet<String>>>,
}

impl EtcdComponent {
    /// The cluster of `config`; a restore's commands run at `place`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there are no endpoints.
    pub fn new(config: EtcdConfig, place: Arc<dyn Place>) -> Result<Self> {
        if config.endpoints.is_empty() {
            return Err(Error::new(ErrorKind::Config, "read the configuration of", KIND)
                .detail("`endpoints` is empty")
                .hint("name the client URL of each member: endpoints = [\"http://10.0.0.1:2379\"]"));
        }
        Ok(Self { config, place, failed: Arc::default() })
    }

    /// Reads secrets and certificates.
    async fn connector(&self) -> Result<Connector> {
        Connector::new(&self.config.access()).await
    }

    /// All members that answer, best first. An election takes a second or two: it is waited for.
    async fn candidates(&self, connector: &Connector) -> Result<Vec<MemberStatus>> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.candidates_now(connector).await {
                Err(error) if is_passing(&error) && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }

    async fn candidates_now(&self, connector: &Connector) -> Result<Vec<MemberStatus>> {
        let (mut members, mut errors) = (Vec::new(), Vec::new());
        for (endpoint, status) in connector.statuses(&self.config.endpoints).await {
            match status {
                Ok(member) => members.push(member),
                Err(error) => {
                    tracing::debug!(%endpoint, error = %error.chain(), "member does not answer");
                    errors.push(error);
                }
            }
        }
        if members.is_empty() {
            return Err(nobody_answers(errors));
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        rank(members, &failed)
    }
}

/// True for what may be over in a moment.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut)
}

/// One error of all: of the first member's kind, with what each said.
fn nobody_answers(errors: Vec<Error>) -> Error {
    let said: Vec<String> = errors.iter().map(Error::chain).collect();
    let kind = errors.first().map_or(ErrorKind::Unreachable, Error::kind);
    let hint =
        errors.iter().find_map(Error::advice).unwrap_or("start etcd, or correct `endpoints`").to_owned();
    Error::new(kind, "reach", "etcd")
        .detail(format!("none of its {} members can be used: {}", errors.len(), said.join("; ")))
        .hint(hint)
}

#[async_trait]
impl Component for EtcdComponent {
    fn kind(&self) -> Kind {
        Kind { name: KIND.to_owned(), format: FORMAT }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        cx.or_cancelled("check etcd", async {
            let connector = self.connector().await?;
            let mut findings = Vec::new();
            let mut members = Vec::new();
            for (endpoint, status) in connector.statuses(&self.config.endpoints).await {
                let subject = format!("member {endpoint}");
                match status {
                    Ok(member) => {
                        let role = if member.is_leader { "leader" } else { "follower" };
                        let size = human_bytes(member.db_bytes);
                        findings
                            .push(Finding::ok(subject, format!("etcd {}, {role}, {size}", member.version)));
                        members.push(member);
                    }
                    Err(error) => findings.push(Finding::from_error(subject, &error)),
                }
            }
            if !members.is_empty() {
                // One member of several being away is no reason to call the cluster lost.
                for finding in &mut findings {
                    finding.severity = finding.severity.min(backup_core::traits::Severity::Warning);
                }
                findings.extend(warnings(&members).into_iter().map(|text| Finding::warning("cluster", text)));
                findings.push(try_snapshot(&connector, members).await);
            }
            Ok(findings)
        })
        .await
    }

    async fn open(&self, cx: &Context, ask: &CaptureAsk) -> Result<Box<dyn Capture>> {
        if ask.attempt == 1 {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let connector = self.connector().await?;
        let members = self.candidates(&connector).await?;
        let warnings = warnings(&members);
        let mut errors = Vec::new();
        for member in members {
            let from = cx.now();
            match SnapshotStream::open(&connector, &member.endpoint).await {
                Ok(stream) => {
                    let pinned = backup_core::words::Span { from, to: cx.now() };
                    return Ok(Box::new(capture::EtcdCapture {
                        stream,
                        member,
                        pinned,
                        warnings,
                        namespace: self.config.namespace(),
                        failed: self.failed.clone(),
                    }));
                }
                Err(error) => errors.push(error),
            }
        }
        let error = nobody_answers(errors);
        // They had answered a moment ago: worth another look.
        Err(if is_passing(&error) { error.retry(Retry::Reopen) } else { error })
    }

    async fn verify(&self, cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        fetch::verify(cx, from, &self.config.namespace()).await
    }

    fn drill(&self) -> Option<&dyn Drill> {
        Some(self)
    }

    fn counts(&self, record: &ComponentRecord) -> Vec<Count> {
        capture::counts(&record.facts)
    }

    fn by_hand(&self, record: &ComponentRecord) -> Vec<String> {
        by_hand::lines(&self.config, record)
    }

    async fn plan(&self, _: &Context, target: &Target, from: &dyn Source) -> Result<Plan> {
        plan::plan(&self.config, target, from)
    }

    async fn apply(
        &self,
        cx: &Context,
        plan: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        self.apply_step(cx, plan, step, from, journal).await
    }
}

/// Whether a snapshot would be given to us.
async fn try_snapshot(connector: &Connector, members: Vec<MemberStatus>) -> Finding {
    let best = match rank(members, &BTreeSet::new()) {
        Ok(ranked) => ranked[0].endpoint.clone(),
        Err(error) => return Finding::from_error("cluster", &error),
    };
    match SnapshotStream::open(connector, &best).await {
        Ok(_) => Finding::ok("snapshot", format!("{best} gives one")),
        Err(error) => Finding::from_error("snapshot", &error),
    }
}

/// Makes components of kind `etcd`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EtcdFactory;

#[async_trait]
impl ComponentFactory for EtcdFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(EtcdConfig).to_value()
    }

    fn restore_schema(&self) -> serde_json::Value {
        schemars::schema_for!(RestoreOptions).to_value()
    }

    fn example(&self) -> &'static str {
        include_str!("example.toml")
    }

    async fn detect(&self, hosts: &[String], _: &Deps) -> Vec<Detected> {
        detect::detect(hosts).await.into_iter().collect()
    }

    async fn build(&self, _: &str, config: &Node, deps: &Deps) -> Result<Arc<dyn Component>> {
        Ok(Arc::new(EtcdComponent::new(config.parse()?, deps.place.clone())?))
    }
}
