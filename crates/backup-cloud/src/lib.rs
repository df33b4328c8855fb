//! Object stores: S3 and every server that speaks it, Google Cloud Storage, Azure Blob Storage.
//!
//! Each kind is a [`StoreFactory`](backup_core::traits::StoreFactory) behind a cargo feature of its name. One implementation of
//! [`Store`](backup_core::traits::Store) serves all of them; what differs (signatures, unfinished uploads, checksums) stands in
//! the module of the kind.
//!
//! Memory is bounded: an upload holds one part that is being filled, and all uploads of a store together hold
//! `parallel_parts` more that are under way.

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod config;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod retry;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod signed;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod store;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod trouble;
#[cfg(any(feature = "s3", feature = "gcs"))]
mod unfinished;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod wire;

#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "gcs")]
mod gcs;
#[cfg(feature = "s3")]
mod s3;

#[cfg(feature = "azure")]
pub use azure::AzureFactory;
#[cfg(feature = "gcs")]
pub use gcs::GcsFactory;
#[cfg(feature = "s3")]
pub use s3::S3Factory;
