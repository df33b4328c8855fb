//! Applications for a cluster: what the product's tests and its demonstration back up.

mod patroni;

pub use patroni::PatroniPods;
