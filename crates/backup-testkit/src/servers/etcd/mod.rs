//! A real etcd cluster on loopback.

mod kv;

use super::error::{Context, Error, Result};
use super::http;
use super::ports::Port;
use super::process::{Process, Spec, clean_command, run_with_input};
use super::scratch::Scratch;
use super::tls::Certificates;
use super::toolbox::{Etcd, EtcdTools, Toolbox};
use super::wait::poll;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// The data folders' folder in the scratch folder.
const DATA: &str = "data";

/// How a cluster differs from a plain one.
#[derive(Debug, Clone, Default)]
pub struct EtcdOptions {
    /// Clients must speak TLS and show a certificate of [`EtcdCluster::certificates`].
    pub tls: bool,
    /// `--initial-cluster-token`; `None`: `ha-backup-test`.
    pub token: Option<String>,
    /// Further arguments for each member, such as `--quota-backend-bytes=33554432`.
    pub args: Vec<String>,
}

/// A cluster; see [the module](super) for an example. Dropping it kills the members and removes their files.
#[derive(Debug)]
pub struct EtcdCluster {
    tools: EtcdTools,
    members: Vec<Member>,
    token: String,
    certificates: Option<Certificates>,
    password: Option<String>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: Port,
    /// With TLS: a second client port without, for the harness itself.
    plain: Option<Port>,
    peer: Port,
    data_dir: PathBuf,
    process: Process,
}

impl Member {
    fn plain_port(&self) -> u16 {
        self.plain.as_ref().unwrap_or(&self.client).number()
    }
}

impl EtcdCluster {
    /// Starts a cluster of `members` new members and waits until all are healthy.
    ///
    /// # Errors
    /// When this release is not installed, or a member doesn't become healthy (with its log).
    pub fn start(members: usize, version: Etcd, options: EtcdOptions) -> Result<Self> {
        let mut cluster = Self::prepare(members, version, options)?;
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Fixes names, ports and folders of a cluster without starting it, so that data can be restored into
    /// [`EtcdCluster::data_dir`] (which doesn't exist yet) before [`EtcdCluster::start_all`].
    ///
    /// # Errors
    /// When this release is not installed or there is no free port.
    pub fn prepare(members: usize, version: Etcd, options: EtcdOptions) -> Result<Self> {
        let toolbox = Toolbox::open()?;
        let tools = toolbox.etcd(version)?;
        let scratch = Scratch::new()?;
        let certificates = match options.tls {
            true => Some(Certificates::create(&toolbox, &scratch.path().join("tls"))?),
            false => None,
        };
        let token = options.token.clone().unwrap_or_else(|| "ha-backup-test".to_owned());
        let ports = (0..members).map(|_| {
            let plain = options.tls.then(Port::reserve).transpose()?;
            Ok((Port::reserve()?, plain, Port::reserve()?))
        });
        let ports = ports.collect::<Result<Vec<_>>>()?;
        let peers = ports.iter().enumerate().map(|(i, (_, _, peer))| peer_entry(i, peer));
        let cluster = peers.collect::<Vec<_>>().join(",");
        let data_root = scratch.path().join(DATA);
        fs::create_dir(&data_root)?;
        let mut all = Vec::new();
        for (i, (client, plain, peer)) in ports.into_iter().enumerate() {
            let name = member_name(i);
            let cwd = scratch.path().join(&name);
            fs::create_dir(&cwd)?;
            let data_dir = data_root.join(&name);
            let mut args = member_args(&name, &client, plain.as_ref(), &peer, certificates.as_ref());
            args.push(format!("--initial-cluster={cluster}"));
            args.push(format!("--initial-cluster-token={token}"));
            args.push(format!("--data-dir={}", data_dir.display()));
            args.extend(options.args.iter().cloned());
            let program = tools.etcd.clone();
            let process =
                Process::new(Spec { name: name.clone(), program, args, env: Vec::new(), cwd, user: None });
            all.push(Member { name, client, plain, peer, data_dir, process });
        }
        Ok(Self { tools, members: all, token, certificates, password: None, scratch })
    }

    /// Starts every member that is not running and waits until all are healthy.
    ///
    /// # Errors
    /// When a member doesn't start or doesn't become healthy (with its log).
    pub fn start_all(&mut self) -> Result<()> {
        for member in &mut self.members {
            if !member.process.is_running() {
                member.process.start()?;
            }
        }
        (0..self.members.len()).try_for_each(|i| self.wait_healthy(i))
    }

    /// Waits until member `i` answers `/health` with true, which takes a leader and a linearizable read.
    ///
    /// # Errors
    /// When it doesn't within a minute, or its process has ended (with its log).
    pub fn wait_healthy(&mut self, i: usize) -> Result<()> {
        let member = &mut self.members[i];
        let port = member.plain_port();
        member.process.wait_until("to be healthy", LIMIT, || match http::get(port, "/health") {
            Ok(r) if r.status == 200 && r.body.contains("true") => Ok(()),
            Ok(r) => Err(format!("HTTP {}: {}", r.status, r.body)),
            Err(e) => Err(e.to_string()),
        })
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Which release it is.
    pub fn version(&self) -> Etcd {
        self.tools.version
    }

    /// The programs it runs.
    pub fn tools(&self) -> &EtcdTools {
        &self.tools
    }

    /// The client URLs, in the order of the members.
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        self.members.iter().map(|m| format!("{scheme}://127.0.0.1:{}", m.client.number())).collect()
    }

    /// The names of the members.
    pub fn names(&self) -> Vec<String> {
        self.members.iter().map(|m| m.name.clone()).collect()
    }

    /// The peer URLs of the members.
    pub fn peer_urls(&self) -> Vec<String> {
        self.members.iter().map(|m| format!("http://127.0.0.1:{}", m.peer.number())).collect()
    }

    /// `name=peer-url,...`, as `--initial-cluster` takes it.
    pub fn initial_cluster(&self) -> String {
        let entries = self.members.iter().enumerate().map(|(i, m)| peer_entry(i, &m.peer));
        entries.collect::<Vec<_>>().join(",")
    }

    /// The cluster token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The folder that has each member's data folder, by its name.
    pub fn data_root(&self) -> PathBuf {
        self.scratch.path().join(DATA)
    }

    /// The data folder of member `i`.
    pub fn data_dir(&self, i: usize) -> &Path {
        &self.members[i].data_dir
    }

    /// A folder of the test's own that goes with the cluster.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The certificates, when it was started with TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The process id of member `i` while it runs.
    pub fn pid(&self, i: usize) -> Option<u32> {
        self.members[i].process.pid()
    }

    /// The last lines of the log of member `i`.
    pub fn log_tail(&self, i: usize) -> String {
        self.members[i].process.log_tail()
    }

    /// The file with the log of member `i`.
    pub fn log_path(&self, i: usize) -> &Path {
        self.members[i].process.log_path()
    }

    /// SIGKILL to member `i`; returns when it is gone.
    pub fn kill(&mut self, i: usize) {
        self.members[i].process.kill();
    }

    /// SIGSTOP to member `i`: its connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn pause(&mut self, i: usize) -> Result<()> {
        self.members[i].process.pause()
    }

    /// SIGCONT to member `i`.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn resume(&mut self, i: usize) -> Result<()> {
        self.members[i].process.resume()
    }

    /// SIGTERM to member `i`, and waits for its end.
    ///
    /// # Errors
    /// When it had to be killed after 20 seconds.
    pub fn stop(&mut self, i: usize) -> Result<()> {
        self.members[i].process.stop(Duration::from_secs(20))
    }

    /// Starts member `i` again after [`EtcdCluster::kill`] or [`EtcdCluster::stop`] and waits until it is
    /// healthy (so enough others must run).
    ///
    /// # Errors
    /// When it doesn't become healthy (with its log).
    pub fn restart(&mut self, i: usize) -> Result<()> {
        self.members[i].process.start()?;
        self.wait_healthy(i)
    }

    /// The member that leads.
    ///
    /// # Errors
    /// When none does within a minute.
    pub fn leader(&self) -> Result<usize> {
        poll("a leader of etcd", LIMIT, || self.leader_now())
    }

    fn leader_now(&self) -> std::result::Result<usize, String> {
        for i in 0..self.members.len() {
            let Ok(status) = self.gateway(i, "maintenance/status", "{}") else { continue };
            let (id, leader) = (&status["header"]["member_id"], &status["leader"]);
            if id.is_string() && id == leader {
                return Ok(i);
            }
        }
        Err("no member says that it leads".to_owned())
    }

    /// Runs etcdctl (API 3) against all members, with certificates and user where the cluster wants them.
    /// Returns its standard output.
    ///
    /// # Errors
    /// When it fails (with its output).
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        self.etcdctl_with_input(args, "")
    }

    /// [`EtcdCluster::etcdctl`] with `input` on standard input.
    ///
    /// # Errors
    /// When it fails (with its output).
    pub fn etcdctl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let what = format!("etcdctl {}", args.first().unwrap_or(&""));
        run_with_input(self.etcdctl_command().args(args), input, &what)
    }

    /// etcdctl's command line up to the subcommand.
    pub fn etcdctl_command(&self) -> Command {
        let mut command = clean_command(&self.tools.etcdctl, &[]);
        command.env("ETCDCTL_API", "3").current_dir(self.scratch.path());
        command.arg(format!("--endpoints={}", self.endpoints().join(",")));
        if let Some(c) = &self.certificates {
            for (flag, file) in [("cacert", &c.ca), ("cert", &c.client_cert), ("key", &c.client_key)] {
                command.arg(format!("--{flag}={}", file.display()));
            }
        }
        if let Some(password) = &self.password {
            command.arg(format!("--user=root:{password}"));
        }
        command
    }

    /// Makes the user `root` with this password and turns authentication on.
    ///
    /// # Errors
    /// When etcdctl fails.
    pub fn enable_auth(&mut self, password: &str) -> Result<()> {
        self.etcdctl(&["user", "add", &format!("root:{password}")])?;
        // etcd 3.5 and later make the role by themselves.
        let _ = self.etcdctl(&["role", "add", "root"]);
        self.etcdctl(&["user", "grant-role", "root", "root"])?;
        self.etcdctl(&["auth", "enable"])?;
        self.password = Some(password.to_owned());
        Ok(())
    }

    /// The password of etcd's user `root`, when authentication is on.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The password to use with a cluster that was restored from one with authentication on.
    pub fn set_password(&mut self, password: &str) {
        self.password = Some(password.to_owned());
    }

    /// Calls etcd's JSON gateway on member `i`: `path` as in `kv/range`, below `/v3/`.
    ///
    /// # Errors
    /// When the member can't be reached or answers with an error.
    pub fn gateway(&self, i: usize, path: &str, body: &str) -> Result<serde_json::Value> {
        let port = self.members[i].plain_port();
        let mut headers = Vec::new();
        if let Some(password) = &self.password {
            let login = serde_json::json!({"name": "root", "password": password}).to_string();
            let answer = http::request(port, "POST", "/v3/auth/authenticate", &[], &login)?.json()?;
            headers.push(format!("Authorization: {}", answer["token"].as_str().unwrap_or_default()));
        }
        let path = format!("/v3/{path}");
        http::request(port, "POST", &path, &headers, body)?.json().context(format!("etcd {path}"))
    }

    /// A gateway call to the first member that answers.
    fn any_gateway(&self, path: &str, body: &str) -> Result<serde_json::Value> {
        let mut last = Error::new("etcd: no members");
        for i in 0..self.members.len() {
            match self.gateway(i, path, body) {
                Ok(value) => return Ok(value),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

fn member_name(i: usize) -> String {
    format!("etcd-{}", i + 1)
}

fn peer_entry(i: usize, peer: &Port) -> String {
    format!("{}=http://127.0.0.1:{}", member_name(i), peer.number())
}

fn member_args(
    name: &str,
    client: &Port,
    plain: Option<&Port>,
    peer: &Port,
    certificates: Option<&Certificates>,
) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{}", peer.number());
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let client = format!("{scheme}://127.0.0.1:{}", client.number());
    let listen = match plain {
        Some(plain) => format!("{client},http://127.0.0.1:{}", plain.number()),
        None => client.clone(),
    };
    let mut args = vec![
        format!("--name={name}"),
        format!("--listen-client-urls={listen}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        "--max-txn-ops=10000".to_owned(),
        "--log-level=info".to_owned(),
        "--logger=zap".to_owned(),
    ];
    if let Some(c) = certificates {
        args.push("--client-cert-auth".to_owned());
        for (flag, file) in
            [("trusted-ca-file", &c.ca), ("cert-file", &c.server_cert), ("key-file", &c.server_key)]
        {
            args.push(format!("--{flag}={}", file.display()));
        }
    }
    args
}
