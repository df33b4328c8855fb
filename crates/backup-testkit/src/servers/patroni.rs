//! A real Patroni cluster on loopback.

mod config;

use super::error::{Context, Error, Result};
use super::etcd::EtcdCluster;
use super::http;
use super::ports::Port;
use super::postgres::{PASSWORD, SUPERUSER, Sql, wait_children_gone};
use super::process::{Process, Spec};
use super::scratch::Scratch;
use super::toolbox::{Patroni, Toolbox};
use super::user::User;
use super::wait::poll;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A failover takes the leader key's 20 seconds to live and a little more.
const LIMIT: Duration = Duration::from_secs(90);

/// What the leader itself says of its replicas: the lag that Patroni shows is some seconds old.
const STREAMING: &str = "select application_name from pg_stat_replication
    where state = 'streaming' and pg_wal_lsn_diff(pg_current_wal_insert_lsn(), replay_lsn) <= 0";

/// How a cluster differs from a plain one.
#[derive(Debug, Clone)]
pub struct PatroniOptions {
    /// The cluster's name: its keys are below `/service/SCOPE/`.
    pub scope: String,
    /// PostgreSQL's major release.
    pub major: u32,
    /// Patroni's major release; `None`: 4 if it is installed, else 3.
    pub patroni: Option<Patroni>,
    /// Further settings of PostgreSQL.
    pub settings: Vec<(String, String)>,
}

impl Default for PatroniOptions {
    fn default() -> Self {
        Self { scope: "crm".to_owned(), major: 15, patroni: None, settings: Vec::new() }
    }
}

/// A cluster; see [the module](super) for an example. Dropping it kills the nodes and removes their files.
#[derive(Debug)]
pub struct PatroniCluster {
    scope: String,
    sql: Sql,
    nodes: Vec<Node>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Node {
    name: String,
    rest: Port,
    postgres: Port,
    data_dir: PathBuf,
    process: Process,
}

impl PatroniCluster {
    /// Starts a cluster of `nodes` new nodes that keep their state in `etcd` (by `etcd3:`), and waits for a
    /// leader and for all replicas to follow it.
    ///
    /// # Errors
    /// When something is not installed, or the nodes don't come up (with their logs).
    pub fn start(nodes: usize, etcd: &EtcdCluster, options: PatroniOptions) -> Result<Self> {
        let mut cluster = Self::prepare(nodes, etcd, options)?;
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Fixes names, ports and folders of a cluster without starting it: `etcd` need not run yet.
    ///
    /// # Errors
    /// When something is not installed or there is no free port.
    pub fn prepare(nodes: usize, etcd: &EtcdCluster, options: PatroniOptions) -> Result<Self> {
        let toolbox = Toolbox::open()?;
        let program = match options.patroni {
            Some(version) => toolbox.patroni(version)?,
            None => toolbox.patroni(Patroni::V4).or_else(|_| toolbox.patroni(Patroni::V3))?,
        };
        let tools = toolbox.postgres(options.major)?;
        let user = User::for_postgres()?;
        let scratch = Scratch::new()?;
        let (login, password) = (SUPERUSER.to_owned(), PASSWORD.to_owned());
        let mut cluster = Self {
            scope: options.scope.clone(),
            sql: Sql { tools, port: 0, user: login, password },
            nodes: Vec::new(),
            scratch,
        };
        for i in 0..nodes {
            let node = cluster.new_node(i, &program, user.as_ref(), etcd, &options)?;
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    /// Starts every node that is not running; waits for a leader and for all replicas to follow it.
    ///
    /// # Errors
    /// When the nodes don't come up (with their logs).
    pub fn start_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if !node.process.is_running() {
                node.process.start()?;
            }
        }
        self.wait_ready().map(drop)
    }

    fn new_node(
        &self,
        i: usize,
        program: &Path,
        user: Option<&User>,
        etcd: &EtcdCluster,
        options: &PatroniOptions,
    ) -> Result<Node> {
        let name = format!("node-{}", i + 1);
        let cwd = self.scratch.path().join(&name);
        fs::create_dir(&cwd)?;
        let data_dir = cwd.join("data");
        let (rest, postgres) = (Port::reserve()?, Port::reserve()?);
        let place = config::Place {
            name: &name,
            folder: &cwd,
            data_dir: &data_dir,
            rest: rest.number(),
            postgres: postgres.number(),
        };
        // JSON is YAML.
        let text = config::node(&place, &self.sql.tools, etcd, options).to_string();
        let file = cwd.join("patroni.yml");
        fs::write(&file, text).context(file.display())?;
        if let Some(user) = user {
            user.own(&cwd)?;
        }
        let spec = Spec {
            name: name.clone(),
            program: program.to_owned(),
            args: vec![file.display().to_string()],
            env: self.sql.tools.env(),
            cwd,
            user: user.cloned(),
        };
        Ok(Node { name, rest, postgres, data_dir, process: Process::new(spec) })
    }

    /// The cluster's name.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The names of the nodes.
    pub fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|n| n.name.clone()).collect()
    }

    /// The URLs of Patroni's REST API, in the order of the nodes.
    pub fn rest_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|n| format!("http://127.0.0.1:{}", n.rest.number())).collect()
    }

    /// The port of PostgreSQL on node `i`.
    pub fn port(&self, i: usize) -> u16 {
        self.nodes[i].postgres.number()
    }

    /// The data folder of PostgreSQL on node `i`.
    pub fn data_dir(&self, i: usize) -> &Path {
        &self.nodes[i].data_dir
    }

    /// A folder of the test's own that goes with the cluster.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The superuser.
    pub fn user(&self) -> &str {
        &self.sql.user
    }

    /// Its password.
    pub fn password(&self) -> &str {
        &self.sql.password
    }

    /// SQL on node `i`.
    pub fn sql(&self, i: usize) -> Sql {
        Sql { port: self.port(i), ..self.sql.clone() }
    }

    /// SQL on whoever leads now.
    ///
    /// # Errors
    /// When nobody does within 90 seconds.
    pub fn leader_sql(&self) -> Result<Sql> {
        Ok(self.sql(self.wait_leader()?))
    }

    /// Runs SQL in the database `postgres` of the leader; see [`Sql::run`].
    ///
    /// # Errors
    /// When nobody leads, or SQL fails.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.leader_sql()?.run("postgres", sql)
    }

    /// The node that holds the leader key and whose PostgreSQL is a primary, if one says so now.
    pub fn leader(&self) -> Option<usize> {
        self.nodes.iter().position(|n| http::get(n.rest.number(), "/leader").is_ok_and(|r| r.status == 200))
    }

    /// Waits for a leader that takes writes.
    ///
    /// # Errors
    /// When there is none within 90 seconds (with the nodes' logs).
    pub fn wait_leader(&self) -> Result<usize> {
        self.wait_for_leader("a leader of Patroni", |_| true)
    }

    fn wait_for_leader(&self, what: &str, wanted: impl Fn(usize) -> bool) -> Result<usize> {
        let found = poll(what, LIMIT, || {
            let leader = self.leader().ok_or("no node says that it leads")?;
            let sql = self.sql(leader);
            match sql.run("postgres", "select pg_is_in_recovery()") {
                Ok(answer) if answer == "f" && wanted(leader) => Ok(leader),
                Ok(answer) => Err(format!("{} leads, in recovery: {answer}", self.nodes[leader].name)),
                Err(e) => Err(e.to_string()),
            }
        });
        found.map_err(|e| self.explain(&e))
    }

    /// Waits for a leader, and for every node whose Patroni runs to follow it without lag.
    ///
    /// # Errors
    /// When it takes more than 90 seconds (with the nodes' logs).
    pub fn wait_ready(&mut self) -> Result<usize> {
        let leader = self.wait_leader()?;
        let running = self.nodes.iter_mut().map(|n| (n.name.clone(), n.process.is_running()));
        let running: Vec<_> = running.filter_map(|(name, runs)| runs.then_some(name)).collect();
        let port = self.nodes[leader].rest.number();
        let sql = self.sql(leader);
        let ready = poll("Patroni's replicas", LIMIT, || {
            let answer = http::get(port, "/cluster").and_then(|r| r.json())?;
            let streaming = sql.run("postgres", STREAMING)?;
            let leads = |name: &str| name == self.nodes[leader].name;
            let streams = |name: &str| streaming.lines().any(|l| l == name);
            let good = |name: &String| follows(&answer, name) && (leads(name) || streams(name));
            match running.iter().all(good) {
                true => Ok(()),
                false => Err(Error::new(format!("{answer}; streaming: {streaming:?}"))),
            }
        });
        ready.map_err(|e| self.explain(&e))?;
        Ok(leader)
    }

    /// Moves the leader to another node and waits until it takes writes; returns the new leader.
    ///
    /// # Errors
    /// When Patroni refuses, or there is no new leader within 90 seconds (with the nodes' logs).
    pub fn switchover(&mut self) -> Result<usize> {
        let old = self.wait_ready()?;
        let body = json!({"leader": self.nodes[old].name}).to_string();
        let answer = http::request(self.nodes[old].rest.number(), "POST", "/switchover", &[], &body)?;
        if answer.status != 200 {
            return Err(self.explain(&Error::new(format!("switchover: {}", answer.body))));
        }
        self.wait_for_leader("a new leader after the switchover", |leader| leader != old)
    }

    /// SIGKILL to Patroni and PostgreSQL of the leader; returns who it was.
    ///
    /// # Errors
    /// When nobody leads.
    pub fn kill_leader(&mut self) -> Result<usize> {
        let leader = self.wait_leader()?;
        self.kill(leader)?;
        Ok(leader)
    }

    /// SIGKILL to Patroni and PostgreSQL of node `i`; returns when all of it is gone.
    ///
    /// # Errors
    /// When PostgreSQL doesn't die.
    pub fn kill(&mut self, i: usize) -> Result<()> {
        let node = &mut self.nodes[i];
        node.process.kill();
        if let Some(pid) = postmaster(&node.data_dir) {
            // It may be gone already.
            let _ = kill_process(pid, Signal::KILL);
        }
        wait_children_gone(&node.data_dir)
    }

    /// SIGTERM to Patroni of node `i`, which stops its PostgreSQL.
    ///
    /// # Errors
    /// When it had to be killed after 60 seconds.
    pub fn stop(&mut self, i: usize) -> Result<()> {
        self.nodes[i].process.stop(Duration::from_secs(60))
    }

    /// Starts node `i` again after [`PatroniCluster::kill`] or [`PatroniCluster::stop`]; waits until it
    /// follows or leads.
    ///
    /// # Errors
    /// When it doesn't within 90 seconds (with the nodes' logs).
    pub fn restart(&mut self, i: usize) -> Result<()> {
        self.nodes[i].process.start()?;
        self.wait_ready().map(drop)
    }

    /// The last lines of the log of node `i` (Patroni's and PostgreSQL's).
    pub fn log_tail(&self, i: usize) -> String {
        self.nodes[i].process.log_tail()
    }

    fn explain(&self, error: &Error) -> Error {
        self.nodes.iter().fold(error.clone(), |e, node| node.process.explain(&e))
    }
}

/// Whether `/cluster` shows this node as the leader, or as a running replica.
fn follows(cluster: &Value, name: &str) -> bool {
    let members = cluster["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(member) = members.iter().find(|m| m["name"] == name) else { return false };
    let state = member["state"].as_str().unwrap_or_default();
    match member["role"].as_str() {
        Some("leader") => state == "running",
        _ => matches!(state, "running" | "streaming"),
    }
}

fn postmaster(data_dir: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data_dir.join("postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}
