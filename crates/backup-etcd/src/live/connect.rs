//! Connections to members, one by one: each is asked for itself.

use std::{path::PathBuf, time::Duration};

use backup_core::{
    traits::SecretSource,
    words::{Error, ErrorKind, Result, Secret},
};
use etcd_client::{Client, ConnectOptions};
use serde::Deserialize;

use super::{MemberStatus, errors};

/// How a cluster is reached.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// User of etcd's own authentication, and its password.
    pub(crate) user: Option<String>,
    /// The user's password.
    pub(crate) password: Option<SecretSource>,
    /// Certificates, for `https://` endpoints.
    pub(crate) tls: Option<Tls>,
    /// In which a member must accept the connection and answer a request.
    pub(crate) connect_timeout: Duration,
    /// In which the next piece of a snapshot must come.
    pub(crate) message_timeout: Duration,
}

/// Files in PEM form.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate of the authority that signed the members' ones; the system's authorities when it is missing.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Our certificate, where members ask for one.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// The name in the members' certificates, where it is not the endpoint's.
    #[serde(default)]
    pub server_name: Option<String>,
}

/// Makes connections with secrets and certificates read once.
#[derive(Debug)]
pub(crate) struct Connector {
    user: Option<(String, Secret)>,
    tls: Option<Certificates>,
    connect_timeout: Duration,
    message_timeout: Duration,
}

/// [`Tls`] with the contents of its files.
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "a build without TLS refuses to use them"))]
struct Certificates {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates(…)")
    }
}

impl Connector {
    /// Reads password and certificates.
    pub(crate) async fn new(access: &Access) -> Result<Self> {
        let user = match (&access.user, &access.password) {
            (Some(user), Some(password)) => Some((user.clone(), password.resolve("password of etcd").await?)),
            (None, None) => None,
            _ => {
                return Err(Error::new(ErrorKind::Config, "connect to", "etcd")
                    .detail("`user` and `password` go together"));
            }
        };
        let tls = match &access.tls {
            Some(tls) => Some(Certificates::read(tls).await?),
            None => None,
        };
        Ok(Self {
            user,
            tls,
            connect_timeout: access.connect_timeout,
            message_timeout: access.message_timeout,
        })
    }

    /// How long the next piece of a snapshot may take.
    pub(super) fn message_timeout(&self) -> Duration {
        self.message_timeout
    }

    /// Connects to one member.
    pub(super) async fn connect(&self, endpoint: &str) -> Result<Client> {
        let options = self.options(endpoint)?;
        let login = match &self.user {
            Some((user, password)) => options.clone().with_user(user, password.expose()),
            None => options.clone(),
        };
        let connected =
            self.in_time("connect to", endpoint, Client::connect([endpoint], Some(login))).await?;
        match connected {
            Err(error) if errors::is_auth_off(&error) => self
                .in_time("connect to", endpoint, Client::connect([endpoint], Some(options)))
                .await?
                .map_err(|e| errors::error("connect to", endpoint, &e)),
            connected => connected.map_err(|e| errors::error("connect to", endpoint, &e)),
        }
    }

    /// Asks one member how it is.
    pub(crate) async fn status(&self, endpoint: &str) -> Result<MemberStatus> {
        let mut client = self.connect(endpoint).await?;
        let status = self
            .in_time("ask for the status of", endpoint, client.status())
            .await?
            .map_err(|e| errors::error("ask for the status of", endpoint, &e))?;
        let header = status.header();
        let member_id = header.map_or(0, |header| header.member_id());
        Ok(MemberStatus {
            endpoint: endpoint.to_owned(),
            cluster_id: header.map_or(0, |header| header.cluster_id()),
            member_id,
            revision: header.map_or(0, |header| header.revision().unsigned_abs()),
            version: status.version().to_owned(),
            db_bytes: status.db_size().unsigned_abs(),
            is_leader: status.leader() == member_id,
            has_leader: status.leader() != 0,
            is_learner: status.is_learner(),
            applied: status.raft_applied_index(),
            errors: status.errors().iter().map(|error| error.trim().to_owned()).collect(),
        })
    }

    /// Asks all members at once, in the order given.
    pub(crate) async fn statuses(&self, endpoints: &[String]) -> Vec<(String, Result<MemberStatus>)> {
        let asked =
            endpoints.iter().map(|endpoint| async { (endpoint.clone(), self.status(endpoint).await) });
        futures::future::join_all(asked).await
    }

    /// Where clients reach all members, as the one at `endpoint` knows them.
    pub(crate) async fn client_urls(&self, endpoint: &str) -> Result<Vec<String>> {
        const OPERATION: &str = "ask for the members of";
        let mut client = self.connect(endpoint).await?;
        let list = self
            .in_time(OPERATION, endpoint, client.member_list())
            .await?
            .map_err(|e| errors::error(OPERATION, endpoint, &e))?;
        Ok(list.members().iter().flat_map(|member| member.client_urls().iter().cloned()).collect())
    }

    /// The hash over all keys up to `revision` (0: the latest), and the revision that the member has compacted.
    pub(crate) async fn hash_kv(&self, endpoint: &str, revision: u64) -> Result<(u32, i64)> {
        let mut client = self.connect(endpoint).await?;
        let answer = self
            .in_time("ask for the hash of", endpoint, client.hash_kv(revision as i64))
            .await?
            .map_err(|e| errors::error("ask for the hash of", endpoint, &e))?;
        Ok((answer.hash(), answer.compact_version()))
    }

    /// Waits for `work` no longer than for a connection.
    pub(super) async fn in_time<T>(
        &self,
        operation: &str,
        endpoint: &str,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        tokio::time::timeout(self.connect_timeout, work).await.map_err(|_| {
            Error::new(ErrorKind::TimedOut, operation, format!("etcd at {endpoint}"))
                .detail(format!("no answer in {} s", self.connect_timeout.as_secs()))
                .hint("is it overloaded, or a firewall in between?")
        })
    }

    #[cfg(feature = "tls")]
    fn options(&self, endpoint: &str) -> Result<ConnectOptions> {
        use etcd_client::{Certificate, Identity, TlsOptions};

        let options = ConnectOptions::new().with_connect_timeout(self.connect_timeout);
        if self.tls.is_none() && !endpoint.starts_with("https://") {
            return Ok(options);
        }
        let mut tls = TlsOptions::new();
        let files = self.tls.as_ref();
        tls = match files.and_then(|files| files.ca.as_ref()) {
            Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
            None => tls.with_enabled_roots(),
        };
        if let Some((cert, key)) = files.and_then(|files| files.identity.as_ref()) {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        if let Some(name) = files.and_then(|files| files.server_name.as_ref()) {
            tls = tls.domain_name(name);
        }
        Ok(options.with_tls(tls))
    }

    #[cfg(not(feature = "tls"))]
    fn options(&self, endpoint: &str) -> Result<ConnectOptions> {
        if self.tls.is_some() || endpoint.starts_with("https://") {
            return Err(Error::new(ErrorKind::Unsupported, "connect to", format!("etcd at {endpoint}"))
                .detail("this build has no TLS")
                .hint("build it with the feature `tls`"));
        }
        Ok(ConnectOptions::new().with_connect_timeout(self.connect_timeout))
    }
}

impl Certificates {
    async fn read(tls: &Tls) -> Result<Self> {
        let read = async |path: &PathBuf| {
            tokio::fs::read(path)
                .await
                .map_err(|e| Error::io("read the certificate or key", path.display().to_string(), e))
        };
        let ca = match &tls.ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let identity = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => Some((read(cert).await?, read(key).await?)),
            (None, None) => None,
            _ => {
                return Err(Error::new(ErrorKind::Config, "connect to", "etcd")
                    .detail("`tls.cert` and `tls.key` go together"));
            }
        };
        Ok(Self { ca, identity, server_name: tls.server_name.clone() })
    }
}
