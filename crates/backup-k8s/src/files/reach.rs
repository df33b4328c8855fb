//! Which way leads to a container's files: its own programs, else an ephemeral container beside it.

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result},
};

use super::{
    ephemeral,
    helper::check_folder,
    keeper::Keeper,
    pods::{self, PodInfo},
    script::Method,
    site::{self, Probe, Site, Tools},
};
use crate::cluster::{Cluster, Exec};

/// What is to be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Files are read; extended attributes are kept where its own programs can.
    Read,
    /// Files are read, and extended attributes are worth an ephemeral container.
    ReadAll,
    /// Files are written.
    Write,
}

/// A container whose files can be reached.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) site: Site,
    /// Which of the folders asked for are there.
    pub(super) folders: Vec<String>,
    /// How, as it stands in the manifest.
    pub(super) method: String,
    keeper: Option<Keeper>,
}

impl Reached {
    /// Lets an ephemeral container end.
    pub(super) async fn leave(self) {
        if let Some(keeper) = self.keeper {
            keeper.let_go().await;
        }
    }
}

/// Finds a way to `folders` of a container.
pub(super) async fn reach(
    cx: &Context,
    cluster: &Cluster,
    pod: &PodInfo,
    container: &str,
    folders: &[String],
    need: Need,
    image: &str,
) -> Result<Reached> {
    let exec = Exec {
        cluster: cluster.clone(),
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        container: Some(container.to_owned()),
    };
    let probed = cx.or_cancelled("look into a pod", site::probe(&exec, "/", folders)).await;
    let (own, why) = match probed {
        Ok(Probe { tools: Some(tools), folders, .. }) => {
            if suffices(tools, need) {
                return Ok(reached(exec, pod, tools, folders));
            }
            (Some((tools, folders)), format!("it has {} only", tools.method.name()))
        }
        Ok(Probe { lacks, .. }) => (None, format!("it lacks {lacks}")),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let now = pods::get(cluster, &pod.namespace, &pod.name).await?;
            if now.uid != pod.uid || !now.container(Some(container))?.is_running {
                return Err(e);
            }
            (None, "it has no shell".to_owned())
        }
        Err(e) => return Err(e),
    };
    let beside = beside(cx, cluster, pod, container, folders, image).await;
    match (beside, own) {
        (Ok(reached), _) => Ok(reached),
        (Err(e), _) if e.kind() == ErrorKind::Cancelled => Err(e),
        (Err(e), Some((tools, folders))) if need != Need::Write || tools.can_write => {
            tracing::info!(
                pod = pod.subject(),
                error = e.chain(),
                "no ephemeral container: its own programs do"
            );
            Ok(reached(exec, pod, tools, folders))
        }
        (Err(e), _) => Err(Error::new(e.kind(), "find a way to the files of", exec.subject())
            .detail(format!("{why}, and an ephemeral container beside it does not help"))
            .retry(e.retry_class())
            .because(e)),
    }
}

fn suffices(tools: Tools, need: Need) -> bool {
    match need {
        Need::Read => true,
        Need::ReadAll => tools.method == Method::GnuTar,
        Need::Write => tools.can_write && tools.method != Method::Cat,
    }
}

fn reached(exec: Exec, pod: &PodInfo, tools: Tools, folders: Vec<String>) -> Reached {
    let site = Site { exec, uid: pod.uid.clone(), base: "/".to_owned(), tools };
    Reached { site, folders, method: tools.method.name().to_owned(), keeper: None }
}

async fn beside(
    cx: &Context,
    cluster: &Cluster,
    pod: &PodInfo,
    container: &str,
    folders: &[String],
    image: &str,
) -> Result<Reached> {
    let ephemeral = ephemeral::start(cx, cluster, pod, container, image).await?;
    let probe = cx.or_cancelled("look into a pod", site::probe(&ephemeral.exec, ephemeral::ROOT, folders));
    let looked = async {
        let probe = probe.await?;
        let tools = probe.tools.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "use the image", image)
                .detail(format!("it lacks {}", probe.lacks))
                .hint("`helper_image` names another one")
        })?;
        let site = Site {
            exec: ephemeral.exec.clone(),
            uid: pod.uid.clone(),
            base: ephemeral::ROOT.to_owned(),
            tools,
        };
        // An absolute link would lead into the ephemeral container's own files.
        for folder in &probe.folders {
            check_folder(cx, &site, folder).await?;
        }
        Ok((site, probe.folders))
    };
    match looked.await {
        Ok((site, folders)) => {
            let method = format!("{} in an ephemeral container", site.tools.method.name());
            Ok(Reached { site, folders, method, keeper: Some(ephemeral.keeper) })
        }
        Err(e) => {
            ephemeral.keeper.let_go().await;
            Err(e)
        }
    }
}
