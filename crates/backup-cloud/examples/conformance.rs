//! Runs the suite that every store passes against a bucket of your own: `conformance KIND SECTION`, the section as JSON.

use std::sync::Arc;

use backup_core::traits::{Deps, LocalPlace, Node, StoreFactory};
use backup_testkit::suites::store_conformance;

fn factory(kind: &str) -> Option<Box<dyn StoreFactory>> {
    match kind {
        #[cfg(feature = "s3")]
        "s3" => Some(Box::new(backup_cloud::S3Factory)),
        #[cfg(feature = "gcs")]
        "gcs" => Some(Box::new(backup_cloud::GcsFactory)),
        #[cfg(feature = "azure")]
        "azure" => Some(Box::new(backup_cloud::AzureFactory)),
        _ => None,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, section] = &args[..] else { return Err("usage: conformance KIND SECTION".into()) };
    let factory = factory(kind).ok_or_else(|| format!("this build has no kind `{kind}`"))?;
    let section = Node::new(serde_json::from_str(section)?);
    let store = factory.build(&section, &Deps::new(Arc::new(LocalPlace))).await?;
    match store.exclusive().await? {
        Some(_) => println!("{store:?} creates conditionally"),
        None => println!("{store:?} does not create conditionally: runs are kept apart by waiting"),
    }
    store_conformance(store).await;
    println!("every promise was kept");
    Ok(())
}
