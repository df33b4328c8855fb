//! Definitions of custom kinds: which version they are stored in, and where they are kept.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::words::Result;
use bytes::Bytes;
use serde::Deserialize;

use super::{
    gather::Reads,
    lean::not_json,
    reader::{Outcome, Reader, Take},
};
use crate::{
    cluster::ResourceKind,
    discover::Discovery,
    filter::{Choice, Labels},
    list::Wanted,
};

/// The definitions, all of them: which are needed is known when the objects are.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    kind: Option<ResourceKind>,
    known: BTreeMap<String, Definition>,
    outcome: Outcome,
}

#[derive(Debug)]
struct Definition {
    /// The version that objects are stored in, when it is served.
    stored: Option<String>,
    /// The namespace of the service that converts.
    converter: Option<String>,
    excluded: bool,
    /// Its number among all.
    number: usize,
}

impl Definitions {
    /// All of the cluster; none where there is no such kind.
    pub(super) async fn read(reader: &Reader<'_>, discovery: &Discovery, choice: &Choice) -> Result<Self> {
        let Some(kind) = discovery.find("apiextensions.k8s.io", "customresourcedefinitions") else {
            return Ok(Self::default());
        };
        let mut taker = Taker { kind, choice, known: BTreeMap::new() };
        let outcome = reader.read(Wanted::all(kind), true, &mut taker).await?;
        Ok(Self { kind: Some(kind.clone()), known: taker.known, outcome })
    }

    /// Whether the cluster's version is the kind's: the API server serves it, by itself or by a definition. Others have a
    /// server of their own, with versions of its own.
    pub(super) fn shares_version(&self, kind: &ResourceKind) -> bool {
        kind.is_of_api_server() || self.known.contains_key(&kind.resource())
    }

    /// The kind in the version that it is stored in: read so, nothing needs converting.
    pub(super) fn as_stored(&self, kind: &ResourceKind) -> ResourceKind {
        let stored = self.known.get(&kind.resource()).and_then(|definition| definition.stored.as_ref());
        let version = stored.unwrap_or(&kind.version).clone();
        ResourceKind { version, ..kind.clone() }
    }

    /// Adds those of kinds that there are objects of, and those that a service in one of the namespaces converts for.
    pub(super) fn add_to(mut self, reads: &mut Reads, namespaces: &BTreeSet<String>) {
        let Some(kind) = &self.kind else { return };
        let present = reads.present();
        if self.outcome.error.is_some() && present.iter().all(|kind| kind.is_of_api_server()) {
            // Nobody needs them.
            return;
        }
        let present: BTreeSet<String> = present.into_iter().map(ResourceKind::resource).collect();
        let needed = |(name, definition): &(&String, &Definition)| {
            present.contains(*name)
                || definition.converter.as_ref().is_some_and(|place| namespaces.contains(place))
        };
        let (excluded, taken): (Vec<_>, Vec<_>) = self
            .known
            .iter()
            .filter(needed)
            .map(|(_, definition)| definition)
            .partition(|definition| definition.excluded);
        reads.report.excluded(kind, excluded.len() as u64);
        let all = std::mem::take(&mut self.outcome.places);
        self.outcome.places = taken.into_iter().filter_map(|taken| all.get(taken.number).copied()).collect();
        reads.add(kind, None, self.outcome, true);
    }
}

struct Taker<'a> {
    kind: &'a ResourceKind,
    choice: &'a Choice,
    known: BTreeMap<String, Definition>,
}

impl Take for Taker<'_> {
    fn take(&mut self, object: &Bytes) -> Result<bool> {
        let read: Crd = serde_json::from_slice(object).map_err(|e| not_json(self.kind, e))?;
        let name = format!("{}.{}", read.spec.names.plural, read.spec.group);
        let stored = read.spec.versions.into_iter().find(|version| version.storage && version.served);
        let converter =
            read.spec.conversion.and_then(|conversion| conversion.webhook?.client_config?.service);
        let definition = Definition {
            stored: stored.map(|version| version.name),
            converter: converter.map(|service| service.namespace),
            excluded: self.choice.excludes(self.kind, &name, &read.metadata.labels.unwrap_or_default()),
            number: self.known.len(),
        };
        self.known.insert(name, definition);
        Ok(true)
    }

    fn anew(&mut self) {
        self.known.clear();
    }
}

#[derive(Deserialize)]
struct Crd {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: Option<Labels>,
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    names: Names,
    #[serde(default)]
    versions: Vec<Version>,
    #[serde(default)]
    conversion: Option<Conversion>,
}

#[derive(Deserialize)]
struct Names {
    plural: String,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    #[serde(default)]
    served: bool,
    #[serde(default)]
    storage: bool,
}

#[derive(Deserialize)]
struct Conversion {
    #[serde(default)]
    webhook: Option<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    #[serde(default)]
    client_config: Option<Client>,
}

#[derive(Deserialize)]
struct Client {
    #[serde(default)]
    service: Option<Service>,
}

#[derive(Deserialize)]
struct Service {
    namespace: String,
}
