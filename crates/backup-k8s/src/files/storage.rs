//! A folder, whole: out of a volume claim, off a node, or out of a pod.

use backup_core::{
    archive::END,
    traits::{ArtifactSpec, Context, EndEvidence, Sink},
    words::{Error, ErrorKind, Result},
};
use bytes::Bytes;

use super::{
    again::Tries,
    facts::{self, Counts, From, StorageFacts},
    helper::{self, Volume},
    is_fatal,
    pods::{self, On, PodInfo},
    reach::{self, Need},
    script::Method,
    site::{Site, gone},
    spool::Naming,
    take::{self, Taken},
    wanted::{Root, Wanted, relative},
};
use crate::{cluster::Cluster, component::Piece, config::StorageConfig};

/// What to capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespaces: &'a [String],
    pub(super) config: &'a StorageConfig,
    pub(super) image: &'a str,
}

/// What was read, and what is to be said of it.
struct Read {
    facts: StorageFacts,
    taken: Taken,
    /// Volumes that are mounted in the folder, and are none of it.
    apart: Vec<String>,
}

pub(super) async fn capture(cx: &Context, ask: &Ask<'_>, sink: &dyn Sink, piece: &mut Piece) -> Result<()> {
    let Read { facts, taken, apart } = match read_trying(cx, ask).await {
        Ok(read) => read,
        Err(e) if is_fatal(cx, &e) => return Err(e),
        Err(e) => {
            piece.missing("storage", e.chain());
            return Ok(());
        }
    };
    piece.say("storage", &taken);
    for folder in apart {
        let why = "another volume is mounted there: give it a component of its own";
        piece.missing(format!("storage: /{folder}"), why);
    }
    if !facts.attributes {
        piece.warnings.push(format!(
            "storage: extended attributes are not kept, as {} can't give them; Supabase keeps content types there: read the \
             claim itself (`claim`), or use an image with GNU tar",
            facts.method
        ));
    }
    let mut writer = sink.create(ArtifactSpec::new("tar", "application/x-tar").suffix("storage")).await?;
    let written = async {
        taken.append(cx, &mut *writer).await?;
        writer.write(Bytes::from_static(&END)).await
    };
    if let Err(e) = written.await {
        writer.abort().await;
        return Err(e);
    }
    let evidence = EndEvidence::new(format!(
        "the program ended with a Status, and the place lists the same size and SHA-256 for all {} files",
        facts.counts.files
    ));
    let evidence = evidence.and("the two empty blocks that end a tar were written");
    piece.keep.push(writer.finish(evidence).await?);
    piece.facts.insert(facts::STORAGE.to_owned(), facts::write(&facts)?);
    Ok(())
}

/// Each try reads the whole folder.
async fn read_trying(cx: &Context, ask: &Ask<'_>) -> Result<Read> {
    let mut tries = Tries::new(cx, ask.cluster, "storage");
    loop {
        match read(cx, ask).await {
            Ok(read) => return Ok(read),
            Err(e) => tries.after(e).await?,
        }
    }
}

async fn read(cx: &Context, ask: &Ask<'_>) -> Result<Read> {
    match (&ask.config.claim, &ask.config.node) {
        (Some(claim), _) => read_claim(cx, ask, claim).await,
        (None, Some(node)) => {
            let path = ask.config.path.as_deref().unwrap_or_default();
            let namespace = ask.namespaces.first().map_or("default", String::as_str);
            let folder = format!("/{}", relative(path)?);
            let volume = Volume::Host { node: node.clone(), folder: folder.clone() };
            let under = name_of(&folder).to_owned();
            read_volume(cx, ask, namespace, &volume, "", &under, From::Node { node: node.clone() }, folder)
                .await
        }
        (None, None) => read_pod(cx, ask).await,
    }
}

async fn read_claim(cx: &Context, ask: &Ask<'_>, claim: &str) -> Result<Read> {
    let namespace = find_claim(ask, claim).await?;
    let folder = ask.config.path.as_deref().map_or(Ok(String::new()), relative)?;
    // A volume that one pod has for itself can be read in that pod only.
    if let Some(pod) = only_user(ask.cluster, &namespace, claim).await? {
        let (container, mounted) = pod.mount_of(claim).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "read", format!("volume claim {namespace}/{claim}")).detail(
                format!(
                    "{} has it for itself, and no running container of it mounts all of it",
                    pod.subject()
                ),
            )
        })?;
        let path = [mounted.as_str(), &folder].into_iter().filter(|part| !part.is_empty());
        let path = path.collect::<Vec<_>>().join("/");
        let mut read = read_in_pod(cx, ask, &pod, container, &path).await?;
        read.facts.from = From::Claim { claim: claim.to_owned() };
        read.facts.path = format!("/{folder}");
        return Ok(read);
    }
    let under = if folder.is_empty() { claim } else { name_of(&folder) }.to_owned();
    let volume = Volume::Claim(claim.to_owned());
    let from = From::Claim { claim: claim.to_owned() };
    read_volume(cx, ask, &namespace, &volume, &folder, &under, from, format!("/{folder}")).await
}

/// The one of the namespaces that has the claim.
async fn find_claim(ask: &Ask<'_>, claim: &str) -> Result<String> {
    for namespace in ask.namespaces {
        let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}");
        match ask.cluster.get::<serde_json::Value>(&path).await {
            Ok(_) => return Ok(namespace.clone()),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::new(ErrorKind::NotFound, "find", format!("volume claim {claim}"))
        .detail(format!("it is not in {}", ask.namespaces.join(", "))))
}

/// The running pod that has a claim of the mode ReadWriteOncePod.
async fn only_user(cluster: &Cluster, namespace: &str, claim: &str) -> Result<Option<PodInfo>> {
    let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}");
    let found: serde_json::Value = cluster.get(&path).await?;
    let modes = found["spec"]["accessModes"].as_array();
    if !modes.into_iter().flatten().any(|mode| mode == "ReadWriteOncePod") {
        return Ok(None);
    }
    let pods = pods::list(cluster, namespace, None).await?;
    Ok(pods.into_iter().find(|pod| pod.claims.contains(claim) && pod.phase == "Running"))
}

#[allow(clippy::too_many_arguments)]
async fn read_volume(
    cx: &Context,
    ask: &Ask<'_>,
    namespace: &str,
    volume: &Volume,
    folder: &str,
    under: &str,
    from: From,
    path: String,
) -> Result<Read> {
    let helper_ask = helper::Ask { namespace, volume, read_only: true, image: ask.image };
    let helper = helper::start(cx, ask.cluster, &helper_ask).await?;
    let work = async {
        if !helper.check_folder(cx, folder).await? {
            let subject = format!("/{folder} of {}", volume.subject(namespace));
            return Err(Error::new(ErrorKind::NotFound, "find the folder", subject));
        }
        let root = Root { path: folder.to_owned(), apart: Vec::new() };
        take_whole(cx, ask, &helper.site, root, under).await
    };
    let taken = work.await;
    helper.remove().await;
    let taken = taken?;
    let facts = StorageFacts {
        from,
        path,
        folder: under.to_owned(),
        namespace: namespace.to_owned(),
        exclude: ask.config.exclude.clone(),
        method: "tar in a helper pod".to_owned(),
        attributes: true,
        counts: Counts::of(&taken.tally),
    };
    Ok(Read { facts, taken, apart: Vec::new() })
}

async fn read_pod(cx: &Context, ask: &Ask<'_>) -> Result<Read> {
    let path = relative(ask.config.path.as_deref().unwrap_or_default())?;
    let mut bare = None;
    for namespace in ask.namespaces {
        for pod in pods::list(ask.cluster, namespace, ask.config.selector.as_deref()).await? {
            if pod.is_leaving || pod.is_ours() {
                continue;
            }
            let Ok(container) = pod.container(ask.config.container.as_deref()) else { continue };
            if !container.is_running {
                continue;
            }
            let name = container.name.clone();
            // Where pods are not chosen by labels, the one that mounts a volume there is meant.
            let mounts = container.places(&path).first().is_some_and(|place| place.on != On::Container);
            if mounts || ask.config.selector.is_some() {
                return read_in_pod(cx, ask, &pod, &name, &path).await;
            }
            bare.get_or_insert((pod, name));
        }
    }
    if let Some((pod, container)) = bare {
        return read_in_pod(cx, ask, &pod, &container, &path).await;
    }
    let pods = ask.config.selector.as_deref().unwrap_or("any labels");
    Err(Error::new(ErrorKind::NotFound, "find", format!("a running pod with {pods}"))
        .detail(format!("there is none in {}", ask.namespaces.join(", "))))
}

async fn read_in_pod(
    cx: &Context,
    ask: &Ask<'_>,
    pod: &PodInfo,
    container: &str,
    path: &str,
) -> Result<Read> {
    let places = pod.container(Some(container))?.places(path);
    let Some(place) = places.first() else { return Err(gone(&pod.subject())) };
    let folders = [path.to_owned()];
    let reached = reach::reach(cx, ask.cluster, pod, container, &folders, Need::ReadAll, ask.image).await?;
    let under = name_of(path).to_owned();
    let taken = if reached.folders.is_empty() {
        Err(Error::new(ErrorKind::NotFound, "find the folder", format!("/{path} of {}", pod.subject())))
    } else {
        take_whole(cx, ask, &reached.site, place.root.clone(), &under).await
    };
    let (method, attributes) = (reached.method.clone(), reached.site.tools.method == Method::GnuTar);
    reached.leave().await;
    let taken = taken?;
    let facts = StorageFacts {
        from: From::Pod {
            pod: pod.name.clone(),
            container: container.to_owned(),
            owner: pod.owner.clone(),
            ordinal: pod.ordinal,
            node: pod.node.clone(),
            place: place.on.clone(),
        },
        path: format!("/{path}"),
        folder: under,
        namespace: pod.namespace.clone(),
        exclude: ask.config.exclude.clone(),
        method,
        attributes,
        counts: Counts::of(&taken.tally),
    };
    let apart = places[1..].iter().filter(|place| place.on != On::Config);
    Ok(Read { facts, taken, apart: apart.map(|place| place.root.path.clone()).collect() })
}

async fn take_whole(cx: &Context, ask: &Ask<'_>, site: &Site, root: Root, under: &str) -> Result<Taken> {
    let naming = Naming { strip: root.path.clone(), under: under.to_owned() };
    let wanted = Wanted { roots: vec![root], include: Vec::new(), exclude: ask.config.exclude.clone() };
    take::take(cx, site, &wanted, &naming).await
}

/// The last name of a path.
fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
