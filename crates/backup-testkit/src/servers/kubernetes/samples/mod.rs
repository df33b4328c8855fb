//! Applications for a cluster: what the product's tests and its demonstration back up.

mod fastapi;
mod patroni;
mod supabase;

use super::super::error::{Error, Result};
use super::KubernetesCluster;

pub use fastapi::FastApi;
pub use patroni::PatroniPods;
pub use supabase::SupabaseLike;

/// Runs a script in a pod that ends by saying `written`.
fn write_files(cluster: &KubernetesCluster, namespace: &str, pod: &str, script: &str) -> Result<()> {
    let said =
        cluster.kubectl_with_input(&["exec", "-i", "-n", namespace, pod, "--", "bash", "-s"], script)?;
    match said.as_str() {
        "written\n" => Ok(()),
        _ => Err(Error::new(format!("writing files in {pod}: {said:?}"))),
    }
}

/// What is in a folder of a pod that has GNU's programs.
fn contents(cluster: &KubernetesCluster, namespace: &str, pod: &str, folder: &str) -> Result<String> {
    let said =
        cluster.exec(namespace, pod, &["bash", "-c", include_str!("contents.sh"), "contents", folder])?;
    match said.ends_with("whole\n") {
        true => Ok(said),
        false => Err(Error::new(format!("the list of {folder} in {pod} is not whole: {said}"))),
    }
}
