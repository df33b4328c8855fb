//! Kubernetes applications for ha-backup: every object of chosen namespaces by API discovery, files out of pods and volumes,
//! and restores that are planned against the live cluster.
//!
//! The cluster is reached from outside with a kubeconfig or from inside with a service account.

mod cluster;
mod config;
mod place;

pub use config::{Access, Filter, KubernetesConfig, StateConfig, StorageConfig, default_helper_image};
pub use place::Via;
