//! Files out of running pods, each replica apart.

use std::time::Duration;

use backup_core::{
    archive::END,
    traits::{ArtifactSpec, Context, EndEvidence, Sink, Writer},
    words::{Error, ErrorKind, Result, Retry},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use super::{
    again::Tries,
    facts::{self, Counts, PodFacts, RootFacts, StateFacts},
    is_fatal,
    pods::{self, On, Place, PodInfo},
    reach::{self, Need, Reached},
    script::Method,
    site,
    spool::Naming,
    take::{self, Taken},
    wanted::{Wanted, relative},
};
use crate::{
    cluster::{Cluster, refusal},
    component::Piece,
    config::StateConfig,
};

/// Pods that are read side by side.
const SIDE_BY_SIDE: usize = 3;
/// How long the successor of a deleted replica is waited for.
const SUCCESSOR: Duration = Duration::from_secs(60);
/// The part that holds nothing but the end mark.
const END_PART: &str = "end mark";

/// What to capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespaces: &'a [String],
    pub(super) config: &'a StateConfig,
    pub(super) image: &'a str,
}

/// What came of a pod.
enum Outcome {
    Read(Box<(PodFacts, Taken)>, Vec<String>),
    LeftOut(&'static str),
    Missing(String),
}

pub(super) async fn capture(cx: &Context, ask: &Ask<'_>, sink: &dyn Sink, piece: &mut Piece) -> Result<()> {
    let config = ask.config;
    let mut found = Vec::new();
    for namespace in ask.namespaces {
        match pods::list(ask.cluster, namespace, config.selector.as_deref()).await {
            Ok(pods) => found.extend(pods.into_iter().filter(|pod| !pod.is_ours())),
            Err(e) if is_fatal(cx, &e) => return Err(e),
            Err(e) => piece.missing(format!("state files of pods in {namespace}"), e.chain()),
        }
    }
    if found.is_empty() && piece.coverage.is_empty() {
        let pods = config.selector.as_ref().map_or("running pod".to_owned(), |s| format!("pod with {s}"));
        piece.missing("state", format!("there is no {pods} in {}", ask.namespaces.join(", ")));
    }
    let mut state = StateFacts {
        path: config.path.clone(),
        include: config.include.clone(),
        exclude: config.exclude.clone(),
        pods: Vec::new(),
    };
    let mut artifact: Option<Box<dyn Writer>> = None;
    let outcomes: Vec<_> = found.iter().map(|pod| outcome(cx, ask, pod).boxed()).collect();
    let mut outcomes = stream::iter(outcomes).buffered(SIDE_BY_SIDE);
    let mut pods = found.iter();
    while let (Some(outcome), Some(pod)) = (outcomes.next().await, pods.next()) {
        let written = match outcome {
            Ok(outcome) => settle(cx, pod, outcome, sink, &mut artifact, &mut state, piece).await,
            Err(e) => Err(e),
        };
        if let Err(e) = written {
            if let Some(writer) = artifact.take() {
                writer.abort().await;
            }
            return Err(e);
        }
    }
    if let Some(mut writer) = artifact {
        writer.part(END_PART).await?;
        writer.write(Bytes::from_static(&END)).await?;
        piece.keep.push(writer.finish(evidence(&state)).await?);
    } else if !state.pods.is_empty() {
        piece.warnings.push(format!(
            "no pod has a file {} in {}: is `path` right?",
            config.include.join(", "),
            config.path
        ));
    }
    piece.facts.insert(facts::STATE.to_owned(), facts::write(&state)?);
    Ok(())
}

fn evidence(state: &StateFacts) -> EndEvidence {
    let sum = |count: fn(&Counts) -> u64| state.pods.iter().map(|pod| count(&pod.counts)).sum::<u64>();
    EndEvidence::new(format!(
        "each of {} pods ended with a Status, and lists the same size and SHA-256 for what was read: {} files",
        state.pods.len(),
        sum(|counts| counts.files),
    ))
    .and("the two empty blocks that end a tar were written")
}

/// Takes what came of a pod into the artifact and the facts.
#[allow(clippy::too_many_arguments)]
async fn settle(
    cx: &Context,
    pod: &PodInfo,
    outcome: Outcome,
    sink: &dyn Sink,
    artifact: &mut Option<Box<dyn Writer>>,
    state: &mut StateFacts,
    piece: &mut Piece,
) -> Result<()> {
    let what = format!("state of {}", pod.subject());
    match outcome {
        Outcome::LeftOut(why) => piece.left_out(what, why),
        Outcome::Missing(why) => piece.missing(what, why),
        Outcome::Read(read, warnings) => {
            let (facts, taken) = *read;
            piece.warnings.extend(warnings);
            piece.say(&what, &taken);
            if [Method::PlainTar, Method::Cat].map(Method::name).contains(&facts.method.as_str()) {
                let why = format!("{} of its image can't give them", facts.method);
                piece.left_out(format!("extended attributes in the {what}"), why);
            }
            if !taken.is_empty() {
                if artifact.is_none() {
                    let spec = ArtifactSpec::new("tar", "application/x-tar").suffix("state");
                    *artifact = Some(sink.create(spec).await?);
                }
                let writer = artifact.as_mut().expect("it was just made");
                writer.part(&facts.folder).await?;
                taken.append(cx, &mut **writer).await?;
            }
            state.pods.push(facts);
        }
    }
    Ok(())
}

/// Reads a pod; what stands in the way of this one alone is no error.
async fn outcome(cx: &Context, ask: &Ask<'_>, pod: &PodInfo) -> Result<Outcome> {
    let chosen = ask.config.selector.is_some();
    if matches!(pod.phase.as_str(), "Succeeded" | "Failed") {
        return Ok(Outcome::LeftOut("it has ended"));
    }
    let container = match pod.container(ask.config.container.as_deref()) {
        Ok(container) => container,
        Err(e) if chosen => return Ok(Outcome::Missing(e.chain())),
        Err(_) => return Ok(Outcome::LeftOut("it has no such container")),
    };
    if !container.is_running {
        return Ok(Outcome::Missing(format!("its container {} does not run", container.name)));
    }
    match read_trying(cx, ask, pod).await {
        Ok(Some(((facts, uid), taken))) => {
            let mut warnings = Vec::new();
            if uid != pod.uid {
                warnings.push(format!(
                    "{} was replaced while it was read: its successor was read",
                    pod.subject()
                ));
            }
            Ok(Outcome::Read(Box::new((facts, taken)), warnings))
        }
        Ok(None) if chosen => Ok(Outcome::Missing(format!("there is no folder {} in it", ask.config.path))),
        Ok(None) => Ok(Outcome::LeftOut("it has no such folder")),
        Err(e) if is_fatal(cx, &e) => Err(e),
        Err(e) => Ok(Outcome::Missing(e.chain())),
    }
}

/// Each try reads the whole set.
async fn read_trying(cx: &Context, ask: &Ask<'_>, pod: &PodInfo) -> Result<Read> {
    let mut tries = Tries::new(cx, ask.cluster, pod.subject());
    loop {
        let now = if tries.is_first() { Ok(pod.clone()) } else { successor(cx, ask.cluster, pod).await };
        let read = match now {
            Ok(now) => read(cx, ask, &now).await.map_err(|e| may_have_successor(pod, e)),
            Err(e) => Err(e),
        };
        match read {
            Ok(read) => return Ok(read),
            Err(e) => tries.after(e).await?,
        }
    }
}

/// The folder of a pod in the archive.
fn folder(ask: &Ask<'_>, pod: &PodInfo) -> String {
    match ask.namespaces {
        [_] => pod.name.clone(),
        _ => format!("{}/{}", pod.namespace, pod.name),
    }
}

/// A replica of a StatefulSet comes again under its name.
fn may_have_successor(pod: &PodInfo, error: Error) -> Error {
    if pod.ordinal.is_some() && error.kind() == ErrorKind::NotFound { error.retry(Retry::Now) } else { error }
}

async fn successor(cx: &Context, cluster: &Cluster, pod: &PodInfo) -> Result<PodInfo> {
    let until = Instant::now() + SUCCESSOR;
    loop {
        let found = cx.or_cancelled("look for a pod", pods::get(cluster, &pod.namespace, &pod.name)).await;
        match found {
            Ok(now) if !now.is_leaving && now.container(None).is_ok_and(|container| container.is_running) => {
                if now.uid == pod.uid || pod.ordinal.is_some() {
                    return Ok(now);
                }
                return Err(site::gone(&pod.subject()));
            }
            Ok(_) => {}
            Err(e) if refusal(&e).is_none_or(|refusal| refusal.code != 404) => return Err(e),
            Err(_) if pod.ordinal.is_none() => return Err(site::gone(&pod.subject())),
            Err(_) => {}
        }
        if Instant::now() >= until {
            return Err(site::gone(&pod.subject()));
        }
        cx.or_cancelled("wait for a pod", async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(())
        })
        .await?;
    }
}

/// Facts, the uid that they are of, and the files; none when the folder is not there.
type Read = Option<((PodFacts, String), Taken)>;

async fn read(cx: &Context, ask: &Ask<'_>, pod: &PodInfo) -> Result<Read> {
    let container = pod.container(ask.config.container.as_deref())?;
    let places: Vec<Place> = container.places(&relative(&ask.config.path)?);
    let folders: Vec<String> = places
        .iter()
        .enumerate()
        // What Kubernetes fills comes back with its objects.
        .filter(|(index, place)| *index == 0 || place.on != On::Config)
        .map(|(_, place)| place.root.path.clone())
        .collect();
    let reached =
        reach::reach(cx, ask.cluster, pod, &container.name, &folders, Need::Read, ask.image).await?;
    let taken = read_reached(cx, ask, pod, &container.name, &places, &reached).await;
    reached.leave().await;
    taken
}

async fn read_reached(
    cx: &Context,
    ask: &Ask<'_>,
    pod: &PodInfo,
    container: &str,
    places: &[Place],
    reached: &Reached,
) -> Result<Read> {
    let there: Vec<&Place> =
        places.iter().filter(|place| reached.folders.contains(&place.root.path)).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let wanted = Wanted {
        roots: there.iter().map(|place| place.root.clone()).collect(),
        include: ask.config.include.clone(),
        exclude: ask.config.exclude.clone(),
    };
    let naming = Naming { strip: String::new(), under: folder(ask, pod) };
    let taken = take::take(cx, &reached.site, &wanted, &naming).await?;
    let tally = &taken.tally;
    let roots = there.iter().zip(&tally.roots).map(|(place, (files, bytes))| RootFacts {
        path: format!("/{}", place.root.path),
        on: place.on.clone(),
        files: *files,
        bytes: *bytes,
    });
    let facts = PodFacts {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        folder: folder(ask, pod),
        container: container.to_owned(),
        owner: pod.owner.clone(),
        ordinal: pod.ordinal,
        node: pod.node.clone(),
        method: reached.method.clone(),
        counts: Counts::of(tally),
        roots: roots.collect(),
    };
    Ok(Some(((facts, pod.uid.clone()), taken)))
}
