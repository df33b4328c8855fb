//! Is the cluster there, are the namespaces, and what may we do?

use backup_core::{
    traits::{Finding, Severity},
    words::Result,
};
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde_json::Value;

use super::{KubernetesComponent, rights::Right};
use crate::{
    cluster::{Cluster, ResourceKind},
    discover::{Discovery, discover},
    export::{is_forbidden, is_read, looks_into_namespaces, may_be_leant_on, server_version},
    restore::missing_rights,
};

/// How many rights are asked for at once.
const SIDE_BY_SIDE: usize = 8;

pub(super) async fn check(component: &KubernetesComponent) -> Result<Vec<Finding>> {
    let cluster = component.cluster().await?;
    let version = match server_version(&cluster).await {
        Ok(version) => version,
        Err(error) => return Ok(vec![Finding::from_error(cluster.server(), &error)]),
    };
    let mut findings = vec![Finding::ok(cluster.server(), format!("Kubernetes {version}"))];
    for namespace in &component.namespaces {
        findings.push(look_at(&cluster, namespace).await?);
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Ok(findings);
    }
    let discovery = discover(&cluster).await?;
    findings.extend(groups(component, &discovery));
    let needs = needs(component, &discovery, &version);
    let mut looks = Vec::new();
    for need in &needs {
        looks.push(need.look(&cluster).boxed());
    }
    let missing: Vec<Option<Finding>> =
        futures::stream::iter(looks).buffered(SIDE_BY_SIDE).try_collect().await?;
    let before = findings.len();
    findings.extend(missing.into_iter().flatten());
    let given = needs.len() + before - findings.len();
    findings.push(Finding::ok("rights", format!("{given} of {} are given", needs.len())));
    findings.extend(for_drills(component).await);
    Ok(findings)
}

/// The cluster that is lent to drills: is it there, and may namespaces be made?
async fn for_drills(component: &KubernetesComponent) -> Vec<Finding> {
    let drill = &component.config.drill;
    let Some(access) = drill.access(&component.config).filter(|_| !drill.dry_run) else { return Vec::new() };
    let missing = async { missing_rights(&Cluster::connect(&access).await?).await };
    let without = "namespaces for drills cannot be made and removed";
    let finding = |right: Right| {
        Finding::warning("drills", format!("may not {}: {without}", right.words())).hint(right.rule())
    };
    match missing.await {
        Ok(missing) => missing.into_iter().map(finding).collect(),
        Err(error) => vec![Finding { severity: Severity::Warning, ..Finding::from_error("drills", &error) }],
    }
}

async fn look_at(cluster: &Cluster, namespace: &str) -> Result<Finding> {
    let subject = format!("namespace {namespace}");
    match cluster.get::<Value>(&format!("/api/v1/namespaces/{namespace}")).await {
        Ok(found) => {
            let phase = found.pointer("/status/phase").and_then(Value::as_str).unwrap_or("there");
            Ok(Finding::ok(subject, phase.to_lowercase()))
        }
        Err(error) if is_forbidden(&error) => {
            let right = Right { verb: "get", ..namespace_right(namespace) };
            Ok(Finding::warning(subject, "may not be read: whether it is there is not known")
                .hint(right.rule()))
        }
        Err(error) => Ok(Finding::from_error(subject, &error)),
    }
}

fn namespace_right(namespace: &str) -> Right {
    let kind = ResourceKind::new("", "v1", "Namespace", "namespaces", false);
    Right { name: Some(namespace.to_owned()), ..Right::list(&kind, None) }
}

/// Groups that do not answer, and names of kinds that nobody serves.
fn groups(component: &KubernetesComponent, discovery: &Discovery) -> Vec<Finding> {
    let choice = &component.choice;
    let down = discovery.unreadable.iter().filter_map(|(version, error)| {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        choice.takes_group(group).then(|| {
            Finding::warning(
                format!("group {version}"),
                format!("its server does not answer: {}", error.chain()),
            )
            .hint(format!("mend its APIService, or leave it out: exclude = {{ kinds = [\"*.{group}\"] }}"))
        })
    });
    let unknown = choice.unknown_kinds(&discovery.kinds).into_iter().map(|name| {
        Finding::warning(
            "configuration",
            format!("`{name}` in `include` or `exclude` is no kind that this cluster serves"),
        )
        .hint("`kubectl api-resources` lists them")
    });
    down.chain(unknown).collect()
}

/// A right that is needed, and what is without it.
struct Need {
    right: Right,
    severity: Severity,
    without: &'static str,
}

impl Need {
    async fn look(&self, cluster: &Cluster) -> Result<Option<Finding>> {
        if self.right.is_given(cluster).await? {
            return Ok(None);
        }
        let finding = Finding::error("rights", format!("may not {}: {}", self.right.words(), self.without));
        Ok(Some(Finding { severity: self.severity, ..finding }.hint(self.right.rule())))
    }
}

fn needs(component: &KubernetesComponent, discovery: &Discovery, version: &str) -> Vec<Need> {
    let choice = &component.choice;
    let need = |right, severity, without| Need { right, severity, without };
    let partial = "these objects are missing, and each backup is partial";
    let mut needs = Vec::new();
    for namespace in &component.namespaces {
        needs.push(need(namespace_right(namespace), Severity::Error, partial));
        let inside = discovery.kinds.iter().filter(|kind| kind.namespaced && is_read(kind, choice));
        needs.extend(inside.map(|kind| need(Right::list(kind, Some(namespace)), Severity::Error, partial)));
        needs.extend(for_files(component, namespace, version));
    }
    let named = "where the namespaces need one of them, it is missing, and the backup is partial";
    for kind in discovery.kinds.iter().filter(|kind| may_be_leant_on(kind) && !choice.excludes_kind(kind)) {
        let right = Right::list(kind, None);
        needs.push(match looks_into_namespaces(kind) && kind.is_of_api_server() {
            true => need(right, Severity::Error, partial),
            false => need(right, Severity::Warning, named),
        });
    }
    let mut known: Vec<Right> = Vec::new();
    needs.retain(|need| {
        !known.contains(&need.right) && {
            known.push(need.right.clone());
            true
        }
    });
    needs
}

/// What capturing files needs.
fn for_files(component: &KubernetesComponent, namespace: &str, version: &str) -> Vec<Need> {
    let config = &component.config;
    let need = |verb, resource, severity, without| Need {
        right: Right::pods(verb, resource, namespace),
        severity,
        without,
    };
    let mut needs = Vec::new();
    let helper =
        config.storage.as_ref().is_some_and(|storage| storage.claim.is_some() || storage.node.is_some());
    if config.state.is_some() || config.storage.is_some() {
        let without = "no files are taken out of pods";
        // Up to 1.34 a WebSocket's exec is a "get".
        let verb = if minor(version).is_some_and(|minor| minor < 35) { "get" } else { "create" };
        needs.extend(["get", "list"].map(|verb| need(verb, "pods", Severity::Error, without)));
        needs.push(need(verb, "pods/exec", Severity::Error, without));
        let without = "files of images without a shell are not taken";
        needs.push(need("patch", "pods/ephemeralcontainers", Severity::Warning, without));
    }
    if helper {
        let without = "the helper pod that reads the volume cannot run";
        needs.extend(["create", "delete"].map(|verb| need(verb, "pods", Severity::Error, without)));
    }
    needs
}

/// The 34 of "v1.34.4".
fn minor(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').nth(1)?.parse().ok()
}
