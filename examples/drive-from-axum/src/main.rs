//! `drive-from-axum FOLDER STORE`: serves on 127.0.0.1:8080.

use std::{env, error::Error, path::PathBuf, sync::Arc};

use backup_core::{
    components::files::{Files, FilesConfig},
    engine::{Engine, JobSettings},
    stores::LocalStore,
    traits::Context,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [folder, store]: [PathBuf; 2] = env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "drive-from-axum FOLDER STORE")?;
    let engine = Engine::builder("served")
        .store("disk", Arc::new(LocalStore::new(store)))
        .component("web", Arc::new(Files::new(FilesConfig::new(folder))?))
        .job(JobSettings::new("on-demand"))
        .build()?;
    engine.init(&Context::new()).await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, example_drive_from_axum::service(engine)).await?)
}
