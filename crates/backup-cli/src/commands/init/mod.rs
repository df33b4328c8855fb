//! `init`: a configuration to begin with, and the repository.

mod template;
mod wizard;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use backup_core::{
    engine::Joined,
    traits::{Deps, Detected, LocalPlace},
    words::{Error, ErrorKind},
};
use serde_json::json;

use super::App;
use crate::{
    args::InitArgs,
    config,
    exit::{Exit, Failure},
    private_file,
    registry::Registry,
};
use template::{Choices, template};

/// How long a kind may look around.
const DETECTING: Duration = Duration::from_secs(15);

pub(crate) async fn run(app: &mut App, args: InitArgs) -> Result<Exit, Failure> {
    let file = target(app.global.config.as_deref());
    let mut detected = BTreeMap::new();
    let written = if file.exists() {
        false
    } else {
        let absolute = std::path::absolute(&file).map_err(|e| unusable(&file, e))?;
        let mut choices = Choices::usual(&absolute);
        let mut hosts = args.detect.clone();
        if args.wizard {
            hosts = wizard::ask(&mut choices, hosts).await?;
        }
        if let Some(hosts) = &hosts {
            detected = detect(&app.registry, hosts).await;
        }
        if args.wizard {
            wizard::ask_for_folder(&mut choices, &detected).await?;
        } else if !detected.is_empty() {
            choices.folder = None;
        }
        let text = template(&app.registry, &choices, &detected);
        // For us only: it may come to hold passwords.
        private_file::create(&file, text.as_bytes()).map_err(|e| unusable(&file, e))?;
        true
    };
    app.global.config = Some(file.clone());
    let installation = app.installation().await?;
    let outcomes = installation.engine.init(&app.cx).await?;
    let stores: Vec<_> =
        outcomes.iter().map(|(name, joined)| json!({ "store": name, "outcome": joined })).collect();
    let document = json!({
        "configuration": file,
        "configuration_written": written,
        "detected": detected.values().flatten().map(|found| &found.what).collect::<Vec<_>>(),
        "store": outcomes[0].0,
        "repository_created": outcomes.iter().any(|(_, joined)| *joined == Joined::Created),
        "stores": stores,
    });
    app.answer(&document, || {
        let found = detected.values().flatten().map(|found| format!("found {}", found.what));
        let mut lines: Vec<String> = found.collect();
        if written && args.detect.is_some() && lines.is_empty() {
            lines.push("found nothing: name the hosts of etcd and Patroni after --detect".to_owned());
        }
        lines.push(match written {
            true => format!("wrote {}: look at it, and change it to your needs", file.display()),
            false => format!("{} is there: left as it is", file.display()),
        });
        lines.extend(outcomes.iter().map(|(name, joined)| match joined {
            Joined::Created => format!("created the repository in the store {name}"),
            Joined::Joined => format!("the store {name} joined the repository"),
            Joined::There => format!("the repository in the store {name} is there: joined it"),
        }));
        lines.push("next: `ha-backup check`, then `ha-backup backup`".to_owned());
        lines.join("\n")
    })?;
    Ok(Exit::Good)
}

/// What each kind finds here and on `hosts`, by the kind.
async fn detect(registry: &Registry, hosts: &[String]) -> BTreeMap<&'static str, Vec<Detected>> {
    let hosts: Vec<String> = std::iter::once("127.0.0.1".to_owned()).chain(hosts.iter().cloned()).collect();
    let deps = Deps::new(Arc::new(LocalPlace));
    let looking = registry.components().map(|factory| async {
        let found = tokio::time::timeout(DETECTING, factory.detect(&hosts, &deps)).await;
        (factory.kind(), found.unwrap_or_default())
    });
    let found = futures::future::join_all(looking).await;
    found.into_iter().filter(|(_, found)| !found.is_empty()).collect()
}

/// The file that is named, or the one that is there, or one in the working folder.
fn target(given: Option<&Path>) -> PathBuf {
    match given {
        Some(file) => file.to_owned(),
        None => config::existing(None).unwrap_or_else(|_| PathBuf::from(config::LOCAL)),
    }
}

fn unusable(file: &Path, e: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, "write the configuration", file.display().to_string()).because(e)
}
