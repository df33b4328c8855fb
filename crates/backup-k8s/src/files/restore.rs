//! Planning where files go back to, and applying one step of it.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{
    traits::{Context, Phase, Restored, Selection as Part, Source, Step},
    words::{Artifact, Error, ErrorKind, Result, human_bytes},
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{
    again::Tries,
    facts::{self, Counts, From, PodFacts, RootFacts, StateFacts, StorageFacts},
    helper::{self, Helper, Volume},
    matching::{self, Replica},
    pods::{self, On, PodInfo},
    put::{self, Bring, Brought, Existing, Shared},
    reach::{self, Need, Reached},
    select::{self, Selection},
    site::Site,
    take::blocking,
    wanted::relative,
};
use crate::cluster::Cluster;

/// What the ids of all steps begin with.
const STEP: &str = "files ";

/// What a plan is made of.
pub(crate) struct PlanAsk<'a> {
    /// The target.
    pub(crate) cluster: &'a Cluster,
    /// The namespace that one of the backup becomes; none when it is left out.
    pub(crate) namespace: &'a (dyn Fn(&str) -> Option<String> + Send + Sync),
    /// Whether an artifact is restored: `state`, `storage`.
    pub(crate) wants: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// Whether the restore makes an object: kind, namespace, name (as in the target).
    pub(crate) makes: &'a (dyn Fn(&str, &str, &str) -> bool + Send + Sync),
    /// What is done with files that exist, in a claim or a pod: kind, namespace, name (as in the target).
    pub(crate) existing: &'a (dyn Fn(&str, &str, &str) -> Existing + Send + Sync),
    /// The image of helper pods.
    pub(crate) image: &'a str,
    /// When the restore was planned; a part of names in the target.
    pub(crate) stamp: &'a str,
}

/// Where files go back to.
#[derive(Clone, Debug, Default)]
pub(crate) struct FilesPlan {
    /// Steps of the phases `Volumes` and `Live`.
    pub(crate) steps: Vec<Step>,
    /// What the person should know before saying yes.
    pub(crate) notes: Vec<String>,
    /// What in the target is kept aside.
    pub(crate) loses: Vec<String>,
    /// The volume claims that are written, as `NAMESPACE/NAME`.
    pub(crate) claims: BTreeSet<String>,
    /// The folders of nodes that are written.
    pub(crate) hosts: Vec<String>,
}

/// The arguments of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Arguments {
    /// The artifact's suffix.
    artifact: String,
    /// The part to read, when not all.
    part: Option<String>,
    /// The folder in the archive, and those in it that belong elsewhere.
    folder: String,
    apart: Vec<String>,
    include: Vec<String>,
    exclude: Vec<String>,
    to: To,
    existing: Existing,
    stamp: String,
    image: String,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum To {
    Pod { replica: Replica, container: String, folder: String },
    Claim { namespace: String, claim: String, folder: String },
    Host { namespace: String, node: String, folder: String },
}

impl To {
    fn shown(&self) -> String {
        match self {
            Self::Pod { replica, folder, .. } => {
                format!("/{folder} in pod {}/{}", replica.namespace, replica.pod)
            }
            Self::Claim { namespace, claim, folder } => {
                format!("/{folder} of volume claim {namespace}/{claim}")
            }
            Self::Host { node, folder, .. } => format!("{folder} on node {node}"),
        }
    }
}

/// True for steps of this module.
pub(crate) fn owns(step: &Step) -> bool {
    step.id.starts_with(STEP)
}

/// Says where the files of a backup go back to.
pub(crate) async fn plan(cx: &Context, ask: &PlanAsk<'_>, from: &dyn Source) -> Result<FilesPlan> {
    let record = from.record();
    let mut planner = Planner { ask, plan: FilesPlan::default(), pods: BTreeMap::new() };
    if (ask.wants)(facts::STATE)
        && let Some(state) = facts::read::<StateFacts>(&record.facts, facts::STATE)?
        && let Ok(artifact) = from.artifact(Some("state"))
    {
        cx.or_cancelled("plan the files", planner.state(&state, artifact)).await?;
    }
    if (ask.wants)(facts::STORAGE)
        && let Some(storage) = facts::read::<StorageFacts>(&record.facts, facts::STORAGE)?
        && from.artifact(Some("storage")).is_ok()
    {
        cx.or_cancelled("plan the files", planner.storage(&storage)).await?;
    }
    Ok(planner.plan)
}

struct Planner<'a> {
    ask: &'a PlanAsk<'a>,
    plan: FilesPlan,
    /// Pods of the target, by namespace.
    pods: BTreeMap<String, Vec<PodInfo>>,
}

/// What goes to one place.
struct Group<'g> {
    artifact: &'static str,
    part: Option<String>,
    folder: String,
    apart: Vec<String>,
    include: &'g [String],
    exclude: &'g [String],
    /// "fastapi-0 -> fastapi-0", or what the archive's folder is called.
    who: String,
    size: String,
}

impl Planner<'_> {
    async fn state(&mut self, state: &StateFacts, artifact: &Artifact) -> Result<()> {
        let mut live = false;
        for pod in &state.pods {
            let Some(namespace) = (self.ask.namespace)(&pod.namespace) else { continue };
            let replica = self.replica(&namespace, pod, state).await?;
            for root in pod.roots.iter().filter(|root| root.files > 0) {
                let folder = |path: &str| format!("{}{path}", pod.folder);
                let inner = |other: &&RootFacts| {
                    other.path != root.path
                        && other.path.starts_with(&format!("{}/", root.path.trim_end_matches('/')))
                };
                let target = replica.as_ref().map_or("nowhere", |replica| replica.pod.as_str());
                let group = Group {
                    artifact: "state",
                    part: artifact.part(&pod.folder).map(|part| part.name.clone()),
                    folder: folder(&root.path),
                    apart: pod.roots.iter().filter(inner).map(|other| folder(&other.path)).collect(),
                    include: &state.include,
                    exclude: &state.exclude,
                    who: format!("{} -> {target}", pod.pod),
                    size: format!("{} files, {}", root.files, human_bytes(root.bytes)),
                };
                let to = self.to(
                    &namespace,
                    &root.on,
                    pod.node.as_deref(),
                    replica.as_ref(),
                    &pod.container,
                    &root.path,
                );
                match to.await? {
                    Some(to) => live |= self.step(&group, to),
                    None => self.nowhere(&group, &namespace, pod),
                }
            }
        }
        if live {
            self.plan.notes.push(
                "files inside running containers come last: the applications must read them again (restart them, or tell them), \
                 and what they write meanwhile is not held back"
                    .to_owned(),
            );
        }
        Ok(())
    }

    async fn storage(&mut self, storage: &StorageFacts) -> Result<()> {
        let Some(namespace) = (self.ask.namespace)(&storage.namespace) else { return Ok(()) };
        let group = Group {
            artifact: "storage",
            part: None,
            folder: storage.folder.clone(),
            apart: Vec::new(),
            include: &[],
            exclude: &storage.exclude,
            who: storage.folder.clone(),
            size: size(&storage.counts),
        };
        let folder = relative(&storage.path)?;
        let to = match &storage.from {
            From::Claim { claim } => self.claim(&namespace, claim, &folder).await?,
            From::Node { node } => Some(To::Host {
                namespace: namespace.clone(),
                node: node.clone(),
                folder: storage.path.clone(),
            }),
            From::Pod { pod, container, owner, ordinal, node, place } => {
                let facts = PodFacts {
                    namespace: storage.namespace.clone(),
                    pod: pod.clone(),
                    folder: storage.folder.clone(),
                    container: container.clone(),
                    owner: owner.clone(),
                    ordinal: *ordinal,
                    node: node.clone(),
                    method: String::new(),
                    counts: storage.counts,
                    roots: Vec::new(),
                };
                let replica = self.replica(&namespace, &facts, &StateFacts::default()).await?;
                let to =
                    self.to(&namespace, place, node.as_deref(), replica.as_ref(), container, &storage.path);
                to.await?
            }
        };
        match to {
            Some(to) => drop(self.step(&group, to)),
            None => self.plan.notes.push(format!(
                "storage ({}) goes nowhere: what held it is neither in the target nor in this restore; `ha-backup extract` gives \
                 the files",
                group.size
            )),
        }
        Ok(())
    }

    /// The place that a folder of a pod goes back to.
    async fn to(
        &self,
        namespace: &str,
        on: &On,
        node: Option<&str>,
        replica: Option<&Replica>,
        container: &str,
        path: &str,
    ) -> Result<Option<To>> {
        let folder = relative(path)?;
        if let On::Claim { claim, folder } = on
            && let Some(to) = self.claim(namespace, claim, folder).await?
        {
            return Ok(Some(to));
        }
        if let (On::Host { folder }, Some(node)) = (on, node)
            && self.exists(&format!("/api/v1/nodes/{node}")).await?
        {
            return Ok(Some(To::Host {
                namespace: namespace.to_owned(),
                node: node.to_owned(),
                folder: folder.clone(),
            }));
        }
        let pod =
            |replica: &Replica| To::Pod { replica: replica.clone(), container: container.to_owned(), folder };
        Ok(replica.map(pod))
    }

    async fn claim(&self, namespace: &str, claim: &str, folder: &str) -> Result<Option<To>> {
        let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}");
        let is_there =
            (self.ask.makes)("PersistentVolumeClaim", namespace, claim) || self.exists(&path).await?;
        Ok(is_there.then(|| To::Claim {
            namespace: namespace.to_owned(),
            claim: claim.to_owned(),
            folder: folder.to_owned(),
        }))
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        match self.ask.cluster.get::<serde_json::Value>(path).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn replica(
        &mut self,
        namespace: &str,
        pod: &PodFacts,
        state: &StateFacts,
    ) -> Result<Option<Replica>> {
        if !self.pods.contains_key(namespace) {
            let pods = match pods::list(self.ask.cluster, namespace, None).await {
                Ok(pods) => pods,
                Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
                Err(e) => return Err(e),
            };
            self.pods.insert(namespace.to_owned(), pods);
        }
        let index = matching::index(pod, &state.pods);
        let makes = |kind: &str, name: &str| (self.ask.makes)(kind, namespace, name);
        Ok(matching::find(namespace, pod, index, &self.pods[namespace], &makes))
    }

    /// Adds a step; true when it is one of the phase `Live`.
    fn step(&mut self, group: &Group<'_>, to: To) -> bool {
        let live = matches!(to, To::Pod { .. });
        let phase = if live { Phase::Live } else { Phase::Volumes };
        let existing = match &to {
            To::Pod { replica, .. } => (self.ask.existing)("Pod", &replica.namespace, &replica.pod),
            To::Claim { namespace, claim, .. } => {
                self.plan.claims.insert(format!("{namespace}/{claim}"));
                (self.ask.existing)("PersistentVolumeClaim", namespace, claim)
            }
            To::Host { namespace, folder, node } => {
                self.plan.hosts.push(folder.clone());
                (self.ask.existing)("Node", namespace, node)
            }
        };
        let said = match existing {
            Existing::Skip => "files that are there stay as they are",
            Existing::Update => "files that differ are kept aside and replaced",
            Existing::Replace if group.include.is_empty() => "all that is there is kept aside",
            Existing::Replace => "files that differ are kept aside and replaced; others stay",
        };
        if existing != Existing::Skip {
            self.plan.loses.push(format!(
                "{}: {said}, as .ha-backup-before-{} in it",
                to.shown(),
                self.ask.stamp
            ));
        }
        let shown = format!("{}: {}", group.who, to.shown());
        let arguments = Arguments {
            artifact: group.artifact.to_owned(),
            part: group.part.clone(),
            folder: group.folder.clone(),
            apart: group.apart.clone(),
            include: group.include.to_vec(),
            exclude: group.exclude.to_vec(),
            to,
            existing,
            stamp: self.ask.stamp.to_owned(),
            image: self.ask.image.to_owned(),
        };
        let arguments = serde_json::to_value(&arguments).expect("its keys are text");
        let id = format!("{STEP}{} {}", group.artifact, group.folder);
        let step = Step::new(id, phase, "bring files back", shown).diff(format!("{}; {said}", group.size));
        self.plan.steps.push(step.arguments(arguments));
        live
    }

    fn nowhere(&mut self, group: &Group<'_>, namespace: &str, pod: &PodFacts) {
        let owner =
            pod.owner.as_ref().map_or("it".to_owned(), |owner| format!("{} {}", owner.kind, owner.name));
        self.plan.notes.push(format!(
            "state of {} ({}) goes nowhere: {owner} has no such replica in {namespace}, and this restore makes none; `ha-backup \
             extract` gives the files",
            pod.pod, group.size
        ));
    }
}

fn size(counts: &Counts) -> String {
    format!("{} files, {}", counts.files + counts.links, human_bytes(counts.bytes))
}

/// Brings the files of one step back. What an interrupted try left is begun anew; what is in place already is left alone.
pub(crate) async fn apply(
    cx: &Context,
    cluster: &Cluster,
    step: &Step,
    from: &dyn Source,
) -> Result<Restored> {
    let arguments: Arguments = serde_json::from_value(step.arguments.clone()).map_err(|e| {
        Error::new(ErrorKind::Config, "read the step", &step.id).hint("plan the restore again").because(e)
    })?;
    let selected = read_selected(cx, &arguments, from).await?;
    let mut tries = Tries::new(cx, cluster, step.subject.clone());
    let (place, brought) = loop {
        match bring_once(cx, cluster, &arguments, &selected).await {
            Ok(done) => break done,
            Err(e) => tries.after(e).await?,
        }
    };
    let selected = selected.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut notes = Vec::new();
    if brought.aside > 0 {
        notes.push(format!(
            "what was there is kept aside in {} of {place}: remove it when it is no longer needed",
            brought.aside_folder
        ));
    }
    if brought.kept > 0 {
        let names = brought.kept_names.join(", ");
        notes.push(format!(
            "{place}: {} files were there, are not those of the backup, and stay: {names}",
            brought.kept
        ));
    }
    if selected.leading_out > 0 && brought.placed > 0 {
        notes.push(format!(
            "{place}: {} symbolic links lead out of the folder; they are links again, and nothing was written through them",
            selected.leading_out
        ));
    }
    if selected.left_out > 0 {
        notes.push(format!("{place}: {} pipes or devices of the archive were not made", selected.left_out));
    }
    let summary = summary(&place, &brought);
    Ok(Restored::Done { summary, notes })
}

fn summary(place: &str, brought: &Brought) -> String {
    let mut said = format!("{place}: ");
    said += &match (brought.placed, brought.same, brought.kept) {
        (0, 0, 0) => "nothing to bring".to_owned(),
        (0, same, 0) => format!("all {same} files are there already"),
        (placed, 0, 0) => format!("moved {placed} names into place, all as they were sent"),
        (placed, same, kept) => {
            format!("moved {placed} names into place, {same} were there already, {kept} others stay")
        }
    };
    said
}

async fn read_selected(cx: &Context, arguments: &Arguments, from: &dyn Source) -> Result<Shared> {
    let artifact = from.artifact(Some(&arguments.artifact))?;
    let part = arguments.part.as_deref().map_or(Part::Whole, Part::Part);
    let stream = from.read(artifact, part).await?;
    // A part has no end mark of its own, and behind that of the whole more zeros may stand.
    let end = futures::stream::iter([Ok(bytes::Bytes::from_static(&backup_core::archive::END))]);
    let stream = futures::StreamExt::chain(stream.map_err(std::io::Error::other), end);
    let archive = SyncIoBridge::new(StreamReader::new(Box::pin(stream)));
    let what = Selection { folder: arguments.folder.clone(), apart: arguments.apart.clone() };
    let scratch = [cx.scratch.file()?, cx.scratch.file()?, cx.scratch.file()?];
    let selecting = blocking(move || select::select(archive, &what, scratch));
    let selected = cx.or_cancelled("read the files of the backup", selecting).await?;
    Ok(Shared::new(std::sync::Mutex::new(selected)))
}

/// A place that is open for writing.
enum Open {
    Pod(Box<Reached>),
    Volume(Box<Helper>),
}

impl Open {
    fn site(&self) -> &Site {
        match self {
            Self::Pod(reached) => &reached.site,
            Self::Volume(helper) => &helper.site,
        }
    }

    async fn close(self) {
        match self {
            Self::Pod(reached) => reached.leave().await,
            Self::Volume(helper) => helper.remove().await,
        }
    }
}

/// What the place is called, and what was brought there.
async fn bring_once(
    cx: &Context,
    cluster: &Cluster,
    arguments: &Arguments,
    selected: &Shared,
) -> Result<(String, Brought)> {
    let (open, folder, place) = open(cx, cluster, arguments).await?;
    let bring = Bring {
        folder: &folder,
        include: &arguments.include,
        exclude: &arguments.exclude,
        existing: arguments.existing,
        stamp: &arguments.stamp,
    };
    let brought = put::bring(cx, open.site(), &bring, selected).await;
    open.close().await;
    Ok((place, brought?))
}

async fn open(cx: &Context, cluster: &Cluster, arguments: &Arguments) -> Result<(Open, String, String)> {
    let image = &arguments.image;
    let (namespace, volume, folder) = match &arguments.to {
        To::Pod { replica, container, folder } => {
            let pod = matching::wait(cx, cluster, replica, container).await?;
            let reached = reach::reach(cx, cluster, &pod, container, &[], Need::Write, image).await?;
            let place = format!("/{folder} in {}", pod.subject());
            return Ok((Open::Pod(Box::new(reached)), folder.clone(), place));
        }
        To::Claim { namespace, claim, folder } => (namespace, Volume::Claim(claim.clone()), folder.clone()),
        To::Host { namespace, node, folder } => {
            (namespace, Volume::Host { node: node.clone(), folder: folder.clone() }, String::new())
        }
    };
    let ask = helper::Ask { namespace, volume: &volume, read_only: false, image };
    let helper = helper::start(cx, cluster, &ask).await?;
    Ok((Open::Volume(Box::new(helper)), folder, arguments.to.shown()))
}
