//! A drill: every object is asked about and created in throwaway namespaces of a cluster that is lent, in a form that starts
//! nothing and reaches nothing; files are extracted here.

mod ask;
mod keep_in;
mod lent;
mod rungs;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use backup_core::{
    components::files::ArchiveDrill,
    policy::{LOOK, Ladder, Wrong},
    traits::{Context, Drill, Event, Finding, Severity, Source, Throwaway},
    words::{ComponentRecord, ErrorKind, Result},
};
use futures::StreamExt;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    backup::Backup, choice::Choice, live, mapping::Mapping, options::Options, prepare::Wish, tally::name,
};
use crate::{
    Access, KubernetesComponent,
    cluster::{Cluster, is_lost},
    component::documents,
    export::server_version,
    files,
};
use walk::{Found, Lent};

pub(crate) use lent::missing_rights;

/// Folders and small files take more than the bytes in them.
const OF_FILES: u64 = 64 << 20;

/// What the objects are sent to, and under which names.
struct Ground {
    cluster: Cluster,
    version: String,
    /// From the session's namespaces to those of the drill.
    names: BTreeMap<String, String>,
    /// The drill's id where namespaces are made.
    id: Option<String>,
}

#[async_trait]
impl Drill for KubernetesComponent {
    fn space(&self, record: &ComponentRecord) -> u64 {
        let archives = record.artifacts.iter().filter(|artifact| files::is_archive(artifact));
        archives.map(|artifact| artifact.plain.size).fold(OF_FILES, u64::saturating_add)
    }

    async fn drill(
        &self,
        cx: &Context,
        place: &dyn Throwaway,
        from: &dyn Source,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let has_files = drill_files(cx, place, from, ladder).await?;
        let backup = Backup::read(from)?;
        let begun = Instant::now();
        let ground = self.ground(cx, place, &backup).await?;
        ladder.phase("prepare", begun.elapsed(), 0);
        let begun = Instant::now();
        if let Ok(ground) = &ground {
            ladder.tool("kubernetes", &ground.version);
        }
        let wish = wish(ground.as_ref().map_or_else(|_| BTreeMap::new(), |ground| ground.names.clone()));
        let lent = ground
            .as_ref()
            .ok()
            .map(|ground| Lent { cluster: &ground.cluster, mark: ground.id.as_deref().map(lent::mark) });
        let found = match walk::walk(cx, &backup, &wish, lent.as_ref()).await {
            Err(error) if ground.is_ok() && is_lost(&error) => {
                ladder.rest_not_run(&format!("the cluster that is lent went away: {}", error.chain()));
                return Ok(());
            }
            found => found?,
        };
        ladder.phase("restore", begun.elapsed(), from.artifact(Some("objects"))?.plain.size);
        let begun = Instant::now();
        let mut counts = wrong_counts(cx, from, &backup, &found).await?;
        if let Ok(ground) = &ground {
            counts.extend(read_back(cx, ground, &found).await?);
        }
        ladder.phase(LOOK, begun.elapsed(), 0);
        rungs::report(&found, counts, &ground.as_ref().map(|ground| ground.id.is_some()), has_files, ladder);
        if let Ok(ground) = &ground {
            self.remove_said(cx, ground, place, from).await;
        }
        Ok(())
    }

    async fn remove(&self, place: &dyn Throwaway) -> Result<()> {
        match self.config.drill.access(&self.config) {
            Some(access) if !lent::begun(place)?.is_empty() => {
                lent::remove(&Cluster::connect(&access).await?, place).await
            }
            _ => Ok(()),
        }
    }
}

impl KubernetesComponent {
    /// The cluster that is lent, with the namespaces made; or why there is none.
    async fn ground(
        &self,
        cx: &Context,
        place: &dyn Throwaway,
        backup: &Backup<'_>,
    ) -> Result<Result<Ground, String>> {
        let drill = &self.config.drill;
        let Some(access) = drill.access(&self.config) else {
            return Ok(Err("no cluster is lent to it: drill = { own_cluster = true } of the component, or a `kubeconfig` there".to_owned()));
        };
        match self.prepare_ground(cx, &access, place, backup).await {
            Ok(ground) => Ok(ground),
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            Err(error) => Ok(Err(format!("the cluster that is lent cannot be used: {}", error.chain()))),
        }
    }

    async fn prepare_ground(
        &self,
        cx: &Context,
        access: &Access,
        place: &dyn Throwaway,
        backup: &Backup<'_>,
    ) -> Result<Result<Ground, String>> {
        let cluster = Cluster::connect(access).await?;
        // One that is away is not waited for.
        match cx.or_cancelled("drill", cluster.get::<Value>("/version")).await {
            Err(error) if is_lost(&error) || error.kind() == ErrorKind::Cancelled => return Err(error),
            _ => {}
        }
        let version = cx.or_cancelled("drill", server_version(&cluster)).await?;
        if self.config.drill.dry_run {
            let names = dry_names(cx, &cluster, &backup.namespaces).await?;
            return Ok(Ok(Ground { cluster, version, names, id: None }));
        }
        if let Some(missing) = cx.or_cancelled("drill", lent::forbidden(&cluster)).await? {
            return Ok(Err(missing));
        }
        for swept in lent::sweep(cx, &cluster).await? {
            let message = format!("removed what a drill that was killed had left: namespace {swept}");
            cx.observer.event(Event::Warning { component: None, message });
        }
        let labels = namespace_labels(backup).await?;
        let names = lent::make(cx, &cluster, place, &backup.namespaces, &labels).await?;
        Ok(Ok(Ground { cluster, version, names, id: Some(lent::id(place)) }))
    }

    /// Removes the namespaces; that one is still there is said, and takes nothing from what was found.
    async fn remove_said(&self, cx: &Context, ground: &Ground, place: &dyn Throwaway, from: &dyn Source) {
        if let Err(error) = lent::remove(&ground.cluster, place).await {
            let component = Some(from.record().name.clone());
            cx.observer.event(Event::Warning { component, message: error.chain() });
        }
    }
}

/// Extracts the archives and holds them against what is on disk. False when the session has none.
async fn drill_files(
    cx: &Context,
    place: &dyn Throwaway,
    from: &dyn Source,
    ladder: &mut Ladder,
) -> Result<bool> {
    let mut archives = ArchiveDrill::of_chosen_members();
    let mut wrong = Vec::new();
    let mut any = false;
    for artifact in from.record().artifacts.iter().filter(|artifact| files::is_archive(artifact)) {
        any = true;
        let folder = place.folder().join(artifact.suffix.as_deref().unwrap_or_default());
        archives.extract(cx, from, artifact, folder).await?;
        wrong.extend(as_wrong(files::verify(cx, from, artifact).await?));
    }
    if any {
        archives.extracted(ladder, wrong);
        archives.compare(cx, from, ladder).await?;
    }
    Ok(any)
}

fn as_wrong(finding: Finding) -> Option<Wrong> {
    (finding.severity == Severity::Error).then(|| Wrong::new(finding.subject, finding.message))
}

/// All objects, into these namespaces.
fn wish(names: BTreeMap<String, String>) -> Wish {
    Wish {
        options: Options::default(),
        mapping: Mapping::of(names),
        choice: Choice::default(),
        labels: None,
        volumes: BTreeSet::new(),
    }
}

/// In which namespaces a dry run asks: their own, or `default` where they are not there.
async fn dry_names(
    cx: &Context,
    cluster: &Cluster,
    namespaces: &[String],
) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for namespace in namespaces {
        let path = format!("/api/v1/namespaces/{namespace}");
        let look = cluster.patiently(|| cluster.get::<Value>(&path));
        let name = match cx.or_cancelled("drill", look).await {
            Err(error) if error.kind() == ErrorKind::NotFound => "default",
            // One that may not be seen may be there.
            Err(error) if error.kind() != ErrorKind::Denied => return Err(error),
            _ => namespace,
        };
        names.insert(namespace.clone(), name.to_owned());
    }
    Ok(names)
}

/// The labels that a throwaway namespace takes from the original.
async fn namespace_labels(backup: &Backup<'_>) -> Result<BTreeMap<String, Map<String, Value>>> {
    let mut labels = BTreeMap::new();
    let kind =
        backup.kinds.iter().find(|kind| (kind.group.as_str(), kind.kind.as_str()) == ("", "Namespace"));
    let Some(kind) = kind else { return Ok(labels) };
    let mut objects = backup.objects(kind).await?;
    while let Some(object) = objects.next().await {
        let object = object?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        labels.insert(name.to_owned(), keep_in::policy_labels(&object));
    }
    Ok(labels)
}

/// Where the file holds other numbers than the manifest says.
async fn wrong_counts(
    cx: &Context,
    from: &dyn Source,
    backup: &Backup<'_>,
    found: &Found,
) -> Result<Vec<Wrong>> {
    let mut wrong = Vec::new();
    for (resource, expected) in &backup.expected {
        let read = found.read.get(resource).copied().unwrap_or_default();
        if read != *expected {
            let said = format!("{read} objects in the file, the manifest says {expected}");
            wrong.push(Wrong::new(resource.clone(), said));
        }
    }
    for suffix in ["crds", "config"] {
        if let Ok(artifact) = from.artifact(Some(suffix)) {
            let finding = cx.or_cancelled("drill", documents(from, artifact, suffix)).await?;
            wrong.extend(as_wrong(finding));
        }
    }
    Ok(wrong)
}

/// What was created and is not there.
async fn read_back(cx: &Context, ground: &Ground, found: &Found) -> Result<Vec<Wrong>> {
    let mut wrong = Vec::new();
    for (kind, created) in &found.created {
        let mut there = BTreeSet::new();
        for namespace in ground.names.values() {
            let mut objects = live::objects(&ground.cluster, kind, Some(namespace));
            while let Some(object) =
                cx.or_cancelled("drill", async { objects.next().await.transpose() }).await?
            {
                there.insert(super::backup::key(&object));
            }
        }
        let gone = created.iter().filter(|key| !there.contains(*key));
        wrong.extend(gone.map(|key| Wrong::new(name(kind, key), "it was created, and is not there")));
    }
    Ok(wrong)
}
