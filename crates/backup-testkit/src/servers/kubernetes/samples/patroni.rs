//! Patroni in pods, with Kubernetes for what etcd is elsewhere.

use super::super::super::error::{Error, Result};
use super::super::super::postgres::{PASSWORD, SETTINGS};
use super::super::super::wait::poll;
use super::super::{Image, KubernetesCluster, LIMIT};
use serde_json::{Map, Value, json};

/// Where a cluster of Patroni runs: in pods with the labels `application=patroni` and `cluster-name=SCOPE`,
/// of which the leader has `role=master`. On the pods' own socket the user `postgres` needs no password; the
/// programs are in `/usr/lib/postgresql/15/bin`.
#[derive(Debug, Clone)]
pub struct PatroniPods {
    /// The namespace.
    pub namespace: String,
    /// Patroni's name of the cluster, and the StatefulSet's.
    pub scope: String,
    /// The port of PostgreSQL in each pod, at the pod's address.
    pub postgres: u16,
    /// The port of Patroni's REST API in each pod, at the pod's address.
    pub rest: u16,
    /// The number of members.
    pub members: usize,
}

impl PatroniPods {
    /// The label that the leader has.
    pub const LEADER: &str = "role=master";

    /// Starts a cluster with a member on each node and waits for a leader and for all of them to be ready.
    ///
    /// # Errors
    /// When the image isn't made, or the pods don't become ready (with their state).
    pub fn start(cluster: &mut KubernetesCluster, namespace: &str, scope: &str) -> Result<Self> {
        cluster.import_image(Image::Patroni)?;
        let (postgres, rest) = (cluster.reserve_port()?, cluster.reserve_port()?);
        let members = cluster.len();
        let (namespace, scope) = (namespace.to_owned(), scope.to_owned());
        let pods = Self { namespace, scope, postgres, rest, members };
        cluster.apply(&pods.manifest(cluster.api_server_port()))?;
        pods.wait_ready(cluster)?;
        Ok(pods)
    }

    /// All of its objects.
    fn manifest(&self, api: u16) -> String {
        // Those for servers on the host turn off sockets.
        let parameters = SETTINGS.iter().filter(|(name, _)| *name != "unix_socket_directories");
        let mut parameters: Map<_, _> =
            parameters.map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        parameters.insert("unix_socket_directories".to_owned(), json!("/var/run/postgresql"));
        let text = include_str!("patroni.yaml").replace("NAMESPACE", &self.namespace);
        let text = text.replace("SCOPE", &self.scope).replace("REPLICAS", &self.members.to_string());
        let text = text.replace("PARAMETERS", &Value::Object(parameters).to_string());
        let text = text.replace("\"PASSWORD\"", &json!(PASSWORD).to_string());
        let text = text.replace(":POSTGRES", &format!(":{}", self.postgres));
        let text = text.replace(": POSTGRES", &format!(": {}", self.postgres));
        let text = text.replace("\"POSTGRES\"", &format!("\"{}\"", self.postgres));
        let text =
            text.replace(":REST", &format!(":{}", self.rest)).replace(": REST", &format!(": {}", self.rest));
        text.replace("\"API\"", &format!("\"{api}\""))
    }

    /// The labels of its pods, as a selector.
    pub fn selector(&self) -> String {
        format!("application=patroni,cluster-name={}", self.scope)
    }

    /// The password of the superuser `postgres`, for connections by address; it is in the Secret `patroni`.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Waits until all members are ready and one of them leads, and the others keep up; returns the
    /// leader's pod.
    ///
    /// # Errors
    /// When it takes more than 180 seconds (with the pods' state).
    pub fn wait_ready(&self, cluster: &KubernetesCluster) -> Result<String> {
        cluster.wait_pods(&self.namespace, &self.selector(), self.members)?;
        let leader = self.wait_leader(cluster)?;
        self.wait_streaming(cluster, &leader)?;
        Ok(leader)
    }

    /// Waits until all replicas have what the leader wrote: Patroni promotes none that lags.
    fn wait_streaming(&self, cluster: &KubernetesCluster, leader: &str) -> Result<()> {
        let sql = "select count(*) from pg_stat_replication where state = 'streaming' \
            and pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) < 65536";
        poll("replicas of Patroni that keep up", LIMIT, || {
            let streaming = self.psql(cluster, leader, "postgres", sql)?;
            match streaming.parse::<usize>() {
                Ok(count) if count + 1 >= self.members => Ok(()),
                _ => Err(Error::new(format!("{streaming} of {} replicas keep up", self.members - 1))),
            }
        })
    }

    /// Waits until a pod leads and takes writes; returns its name.
    ///
    /// # Errors
    /// When it takes more than 180 seconds.
    pub fn wait_leader(&self, cluster: &KubernetesCluster) -> Result<String> {
        let selector = format!("{},{}", self.selector(), Self::LEADER);
        poll("a leader of Patroni among the pods", LIMIT, || {
            let pods = cluster.json(&["get", "pods", "-n", &self.namespace, "-l", &selector])?;
            let name = pods["items"][0]["metadata"]["name"].as_str();
            let name = name.ok_or_else(|| Error::new("no pod has the leader's label"))?;
            match self.psql(cluster, name, "postgres", "select pg_is_in_recovery()")?.as_str() {
                "f" => Ok(name.to_owned()),
                answer => Err(Error::new(format!("{name} is in recovery: {answer}"))),
            }
        })
    }

    /// Runs SQL in a pod, stopping at the first error; what psql prints is as by [`Sql::run`](super::super::super::Sql::run).
    ///
    /// # Errors
    /// When psql reports an error.
    pub fn psql(&self, cluster: &KubernetesCluster, pod: &str, database: &str, sql: &str) -> Result<String> {
        let args = ["exec", "-i", "-n", &self.namespace, pod, "--", "/usr/lib/postgresql/15/bin/psql"];
        let options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"];
        let output = cluster.kubectl_with_input(&[&args[..], &options[..]].concat(), sql)?;
        Ok(output.trim_end_matches('\n').to_owned())
    }

    /// Deletes a pod at once, as the loss of its node would; the StatefulSet makes it anew, without its data.
    ///
    /// # Errors
    /// When it isn't there.
    pub fn kill(&self, cluster: &KubernetesCluster, pod: &str) -> Result<()> {
        let now = ["--grace-period=0", "--force"];
        cluster.kubectl(&[&["delete", "pod", "-n", &self.namespace, pod], &now[..]].concat()).map(drop)
    }
}
