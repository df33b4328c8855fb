//! What the configuration describes, ready to be used.

use std::{os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use backup_core::{
    engine::{Engine, StoreSettings},
    pipeline::IdentitySource,
    repository::SessionEntry,
    stores::{LocalStore, MemoryStore},
    traits::{Deps, LocalPlace, Scratch, Store},
    words::{Error, ErrorKind, Result},
};

#[cfg(feature = "encryption")]
use backup_core::{pipeline::is_protected, traits::SecretSource};

use super::App;
#[cfg(feature = "encryption")]
use crate::render::ask_secret;
use crate::{
    config::{self, Config, Encryption, StoreSection},
    exit::Failure,
};

/// An engine, and what it was made from.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) config: Config,
    pub(crate) engine: Engine,
}

impl App {
    /// Reads the configuration, or what was read of it once and for all; from then on the log is written where it says.
    ///
    /// # Errors
    /// When the configuration is not there or wrong.
    pub(crate) fn config(&self) -> Result<Config> {
        let config = match &self.document {
            Some(document) => document.config()?,
            None => config::load(self.global.config.as_deref())?.1,
        };
        self.logs.open(config.log.as_ref());
        Ok(config)
    }

    /// Reads the configuration and makes the engine; reaches no store and no source.
    ///
    /// # Errors
    /// When the configuration is not there or wrong.
    pub(crate) async fn installation(&mut self) -> Result<Installation> {
        let config = self.config()?;
        if let Some(folder) = &config.state_dir {
            make_private(folder)?;
            self.cx = self.cx.clone().with_scratch(Scratch::new(folder));
        }
        self.build(config).await
    }

    /// Makes the engine that a configuration describes; touches nothing.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub(super) async fn build(&self, mut config: Config) -> Result<Installation> {
        // The usual schedules fit the usual ages: what [health] says otherwise is meant.
        if !config.usual_schedules {
            config::fit_ages(
                &mut config.jobs,
                &config.entries,
                config.health.max_age,
                config.time_zone,
                self.cx.now(),
            );
        }
        let deps = Deps::new(Arc::new(LocalPlace));
        let mut builder = Engine::builder(&config.name)
            .time_zone(config.time_zone)
            .compression(config.compression)
            .retention(config.retention)
            .health(config.health.clone())
            .drill(config.drill.clone())
            .recipients(config.encryption.recipients.clone())
            .identities(self.identities(&config.encryption).await?)
            .trusted(config.signing.trusted.clone());
        if let Some(key) = &config.signing.key {
            builder = builder.signing(key.clone());
        }
        for store in &config.stores {
            builder = builder.store_with(self.store(store, &config.encryption, &deps).await?);
        }
        for section in &config.components {
            builder = builder.component(&section.name, self.registry.component(section, &deps).await?);
        }
        for job in &config.jobs {
            builder = builder.job(job.clone());
        }
        Ok(Installation { engine: builder.build()?, config })
    }

    /// As [`installation`](Self::installation), with sessions that were removed in the place of those that are there, where
    /// `removed` says so.
    ///
    /// # Errors
    /// When the configuration is not there or wrong.
    pub(crate) async fn installation_with(&mut self, removed: bool) -> Result<Installation> {
        let mut installation = self.installation().await?;
        if removed {
            // What is written about them must not touch the stores, and be found again where there is a folder for it.
            let notes: Arc<dyn Store> = match &installation.config.state_dir {
                Some(folder) => Arc::new(LocalStore::new(folder.join("removed"))),
                None => Arc::new(MemoryStore::new()),
            };
            installation.engine = installation.engine.as_written(&notes);
        }
        Ok(installation)
    }

    async fn store(
        &self,
        store: &StoreSection,
        encryption: &Encryption,
        deps: &Deps,
    ) -> Result<StoreSettings> {
        let made = self.registry.store(&store.section, &encryption.recipients, deps).await?;
        let mut settings = StoreSettings::new(&store.section.name, made);
        settings.required = store.required;
        settings.remote = self.registry.store_factory(&store.section)?.is_remote();
        settings.retention = store.retention;
        Ok(settings)
    }

    /// What opens encrypted sessions: identities of the configuration and of the command line.
    #[cfg(feature = "encryption")]
    async fn identities(&self, encryption: &Encryption) -> Result<Vec<IdentitySource>> {
        let mut sources = encryption.identities.clone();
        for file in &self.global.identities {
            let name = file.display().to_string();
            let content = std::fs::read(file)
                .map_err(|e| Error::new(ErrorKind::Config, "read the identity", name.clone()).because(e))?;
            let passphrase = match &encryption.passphrase {
                None if is_protected(&content) => {
                    let typed = ask_secret(&format!("Passphrase of {name}: ")).await?;
                    Some(SecretSource::Plain(typed))
                }
                configured => configured.clone(),
            };
            sources.push(IdentitySource { name, key: SecretSource::File { file: file.clone() }, passphrase });
        }
        Ok(sources)
    }

    #[cfg(not(feature = "encryption"))]
    async fn identities(&self, encryption: &Encryption) -> Result<Vec<IdentitySource>> {
        Ok(encryption.identities.clone())
    }

    /// The session that `text` (an id or `latest`) means.
    pub(crate) async fn session(&self, engine: &Engine, text: &str) -> Result<SessionEntry, Failure> {
        engine.session(&self.cx, text).await.map_err(Failure::looking)
    }
}

/// Makes the folder where it is missing, for us only.
pub(super) fn make_private(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| {
        Error::new(ErrorKind::Config, "make the folder", folder.display().to_string())
            .hint("set state_dir to a folder that may be written to, or leave it out")
            .because(e)
    })
}
