//! The component, and the factory that makes it from a config section.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{
        Capture, CaptureAsk, Component, ComponentFactory, Context, Deps, Detected, Drill, Finding, Journal,
        Node, Place, Plan, Restored, Source, Step, Target,
    },
    words::{ComponentRecord, Count, Kind, Result},
};

use crate::{by_hand, capture, check, config::Config, connect::Server, detect, facts, restore, verify};

/// The kind's name.
const KIND: &str = "postgres";
/// Raised when artifacts change so that an older reader would misread them.
const FORMAT: u32 = 1;

/// A PostgreSQL cluster, under Patroni or alone.
#[derive(Debug)]
pub struct PostgresComponent {
    name: String,
    server: Server,
}

impl PostgresComponent {
    /// Makes the component called `name` from its config section. Reaches nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](backup_core::words::ErrorKind) when the section is wrong.
    pub fn new(name: &str, config: &Node, place: Arc<dyn Place>) -> Result<Self> {
        Ok(Self { name: name.to_owned(), server: Server::new(config.parse::<Config>()?, place)? })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.server.config
    }
}

#[async_trait]
impl Component for PostgresComponent {
    fn kind(&self) -> Kind {
        Kind { name: KIND.to_owned(), format: FORMAT }
    }

    fn stem(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        cx.or_cancelled("check PostgreSQL", async { Ok(check::check(cx, &self.server).await) }).await
    }

    async fn open(&self, cx: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        Ok(Box::new(capture::open(&self.server, cx).await?))
    }

    async fn verify(&self, cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        cx.or_cancelled("verify the dump", verify::verify(from)).await
    }

    fn drill(&self) -> Option<&dyn Drill> {
        Some(self)
    }

    fn by_hand(&self, record: &ComponentRecord) -> Vec<String> {
        by_hand::lines(record)
    }

    fn counts(&self, record: &ComponentRecord) -> Vec<Count> {
        facts::counts(&record.facts)
    }

    async fn plan(&self, cx: &Context, target: &Target, from: &dyn Source) -> Result<Plan> {
        restore::plan(cx, &self.server, &self.name, target, from).await
    }

    async fn apply(
        &self,
        cx: &Context,
        plan: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        restore::apply(cx, &self.server, plan, step, from, journal).await
    }
}

/// Makes components of the kind `postgres`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresFactory;

#[async_trait]
impl ComponentFactory for PostgresFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(Config).to_value()
    }

    fn restore_schema(&self) -> serde_json::Value {
        schemars::schema_for!(restore::Options).to_value()
    }

    fn example(&self) -> &'static str {
        "\
[[component]]
kind = \"postgres\"
# Patroni's members; the leader is found from any that answers.
patroni = [\"http://10.0.0.1:8008\", \"http://10.0.0.2:8008\", \"http://10.0.0.3:8008\"]
# Without Patroni: host = \"10.0.0.1\", or hosts = [\"10.0.0.1:5432\", \"10.0.0.2:5432\"]
# In the pods of a Kubernetes, with their own pg_dump and psql, in place of both:
# via = { namespace = \"db\", selector = \"app=postgres\" }
user = \"postgres\"
password = { env = \"PGPASSWORD\" }
# databases = [\"crm\"]                       # all of them otherwise
# exclude_table_data = [\"public.cache_*\"]   # the tables come back empty
# sslmode = \"verify-full\"
# ca = \"/etc/ha-backup/ca.pem\"
# bin_folders = [\"/usr/lib/postgresql/15/bin\"]
# A drill may ask the restored copy: a value, { min = 1 }, or \"not empty\" is expected.
# drill = { queries = [{ database = \"crm\", sql = \"select count(*) from orders\", expect = { min = 1 } }] }
"
    }

    async fn detect(&self, hosts: &[String], deps: &Deps) -> Vec<Detected> {
        detect::detect(hosts, &*deps.place).await.into_iter().collect()
    }

    fn anywhere(&self) -> bool {
        true
    }

    async fn build(&self, name: &str, config: &Node, deps: &Deps) -> Result<Arc<dyn Component>> {
        Ok(Arc::new(PostgresComponent::new(name, config, deps.place.clone())?))
    }
}
