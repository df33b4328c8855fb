//! Kubernetes applications for ha-backup: every object of chosen namespaces by API discovery, files out of pods and volumes,
//! and restores that are planned against the live cluster.
//!
//! The cluster is reached from outside with a kubeconfig or from inside with a service account.

mod clean;
mod cluster;
mod component;
mod config;
mod detect;
mod discover;
mod export;
mod files;
mod filter;
mod list;
mod order;
mod place;
mod presets;
mod restore;
mod root_key;
mod yaml;

pub use component::{KIND, KubernetesComponent, KubernetesFactory};
pub use config::{
    Access, DrillConfig, Filter, KubernetesConfig, RootKey, StateConfig, StorageConfig, default_helper_image,
};
pub use place::Via;
pub use presets::PresetFactory;
