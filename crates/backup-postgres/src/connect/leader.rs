//! Finding the leader, and checking on the connection itself that it is one.

use std::{sync::Arc, time::Duration};

use backup_core::{
    traits::{Context, Place},
    words::{Error, ErrorKind, Result, Retry, Secret},
};
use tokio::time::Instant;

use super::{Address, Session, search::Word, tls::Tls};
use crate::config::Config;

/// How often a missing leader is looked for.
const POLL: Duration = Duration::from_millis(500);

/// The configured cluster; nothing of it is connected to yet.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) config: Arc<Config>,
    pub(crate) place: Arc<dyn Place>,
    pub(super) tls: Tls,
}

/// What a leader is wanted for.
#[derive(Clone, Copy, Debug)]
enum Use {
    Read,
    Write,
}

/// A leader, with a session in its maintenance database.
#[derive(Debug)]
pub(crate) struct Leader {
    server: Server,
    /// Where its programs run and its connections are opened.
    pub(crate) place: Arc<dyn Place>,
    /// Whether that is the leader's own host, and not this one.
    pub(crate) beside: bool,
    password: Option<Secret>,
    /// Where it listens.
    pub(crate) address: Address,
    /// The session in the maintenance database.
    pub(crate) session: Session,
    /// The cluster's system identifier; the same on all members for ever.
    pub(crate) system_id: String,
    /// The timeline it writes to: raised by each failover.
    pub(crate) timeline: u32,
    /// "15.18".
    pub(crate) version: String,
    /// 15.
    pub(crate) major: u32,
    /// Why it is taken for the leader although Patroni did not say so.
    pub(crate) unnamed: Option<String>,
}

impl Server {
    /// Checks the section and reads the certificates that it names.
    pub(crate) fn new(config: Config, place: Arc<dyn Place>) -> Result<Self> {
        let named = !config.patroni.is_empty() || !config.addresses()?.is_empty();
        if !named && place.hosts().is_none() {
            return Err(Error::new(ErrorKind::Config, "read the configuration", "postgres")
                .detail("it needs either `patroni` or `host` / `hosts`")
                .hint("patroni = [\"http://10.0.0.1:8008\"], or host = \"10.0.0.1\""));
        }
        let tls = Tls::new(&config)?;
        Ok(Self { config: Arc::new(config), place, tls })
    }

    /// The leader, waited for as long as `wait`: a failover takes its time.
    pub(crate) async fn leader(&self, cx: &Context, wait: Duration) -> Result<Leader> {
        self.wait_for(cx, wait, Use::Write).await
    }

    /// The same for reading only: where no member of Patroni can say who leads (its etcd is gone), the one server that takes
    /// writes.
    pub(crate) async fn leader_to_read(&self, cx: &Context, wait: Duration) -> Result<Leader> {
        self.wait_for(cx, wait, Use::Read).await
    }

    async fn wait_for(&self, cx: &Context, wait: Duration, purpose: Use) -> Result<Leader> {
        let deadline = Instant::now() + wait;
        loop {
            let look = async {
                match purpose {
                    Use::Write => self.look().await,
                    Use::Read => self.look_to_read().await,
                }
            };
            let error = match cx.or_cancelled("look for the leader", look).await {
                Ok(leader) => return Ok(leader),
                Err(error) => error,
            };
            let may_pass =
                matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Throttled);
            if !may_pass || Instant::now() >= deadline {
                return Err(error.retry(Retry::Never));
            }
            tracing::info!(error = %error.chain(), "no leader yet");
            let pause = async {
                tokio::time::sleep(POLL).await;
                Ok(())
            };
            cx.or_cancelled("wait for a leader", pause).await?;
        }
    }

    /// The leader as it is now.
    pub(crate) async fn look(&self) -> Result<Leader> {
        match self.word().await? {
            Word::Named(candidates) => self.first_leader(&candidates).await,
            Word::Absent(servers) => self.only_primary(&servers, None).await,
            Word::Silent(error, _) => Err(error),
        }
    }

    async fn look_to_read(&self) -> Result<Leader> {
        match self.word().await? {
            Word::Named(candidates) => self.first_leader(&candidates).await,
            Word::Absent(servers) => self.only_primary(&servers, None).await,
            Word::Silent(error, servers) if error.kind() == ErrorKind::Unreachable => {
                self.only_primary(&servers, Some(error)).await
            }
            Word::Silent(error, _) => Err(error),
        }
    }

    async fn password(&self) -> Result<Option<Secret>> {
        match &self.config.password {
            Some(source) => source.resolve("password of PostgreSQL").await.map(Some),
            None => Ok(None),
        }
    }

    async fn first_leader(&self, candidates: &[Address]) -> Result<Leader> {
        let password = self.password().await?;
        let mut error = None;
        for address in candidates {
            match self.try_leader(address, password.as_ref()).await {
                Ok(leader) => return Ok(leader),
                // That one candidate refuses us says more than that another is away.
                Err(e) if e.kind() == ErrorKind::Denied => return Err(e),
                Err(e) => error = Some(e),
            }
        }
        Err(error.unwrap_or_else(|| {
            Error::new(ErrorKind::Unreachable, "find the leader of", self.described())
                .detail("the members that answer name no leader")
                .hint("`patronictl list` shows the members; a failover takes some 20 seconds")
        }))
    }

    /// The one server that takes writes, when Patroni is `silent` or there is none. Two of them and nobody can say which is
    /// right.
    async fn only_primary(&self, servers: &[Address], silent: Option<Error>) -> Result<Leader> {
        let password = self.password().await?;
        let mut primaries = Vec::new();
        let mut last = None;
        for address in servers {
            match self.try_leader(address, password.as_ref()).await {
                Ok(leader) => primaries.push(leader),
                Err(e) if e.kind() == ErrorKind::Denied => return Err(e),
                Err(e) => {
                    tracing::debug!(%address, error = %e.chain(), "not the leader");
                    last = Some(e);
                }
            }
        }
        match (primaries.pop(), primaries.pop()) {
            (None, _) => Err(silent.or(last).unwrap_or_else(|| self.no_primary())),
            (Some(mut leader), None) => {
                leader.unnamed = silent.map(|silent| {
                    format!(
                        "Patroni could not say who leads ({}): {} was read, the only server that takes writes",
                        silent.chain(),
                        leader.address
                    )
                });
                Ok(leader)
            }
            (Some(one), Some(other)) => {
                let (why, hint) = match silent {
                    Some(_) => (
                        "Patroni cannot say, and ",
                        "bring Patroni's etcd back: until then nobody knows which of them is right",
                    ),
                    None => ("", "name the right one in `host`"),
                };
                Err(Error::new(ErrorKind::Conflict, "find the leader of", self.described())
                    .detail(format!("{why}both {} and {} take writes", one.address, other.address))
                    .hint(hint))
            }
        }
    }

    fn no_primary(&self) -> Error {
        Error::new(ErrorKind::Unreachable, "find the leader of", self.described())
            .detail("no server takes writes")
    }

    async fn try_leader(&self, address: &Address, password: Option<&Secret>) -> Result<Leader> {
        let (place, beside) = match self.place.hosts() {
            Some(hosts) => (hosts.on(&address.host).await?, true),
            None => (self.place.clone(), false),
        };
        let address = &Address { on: beside.then(|| place.name()), ..address.clone() };
        let open = |database| Session::open(&*place, &self.config, &self.tls, password, address, database);
        let session = match open(&self.config.maintenance_database).await {
            Err(e) if e.kind() == ErrorKind::NotFound => open("template1").await?,
            other => other?,
        };
        let row = session.one("SELECT pg_is_in_recovery(), current_setting('server_version_num')::int", &[]);
        let row = row.await?;
        if row.get(0) {
            return Err(Error::new(ErrorKind::Unreachable, "use the leader", address.to_string())
                .detail("it is a standby")
                .hint("name all servers in `hosts`, or Patroni's members in `patroni`")
                .retry(Retry::Reopen));
        }
        let number: i32 = row.get(1);
        let major = u32::try_from(number).unwrap_or(0) / 10_000;
        if major < 13 {
            return Err(Error::new(ErrorKind::Unsupported, "use the server", address.to_string())
                .detail(format!("its version number is {number}"))
                .hint("PostgreSQL 13 and newer are supported"));
        }
        let row = session.one(
            "SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), \
             current_setting('server_version') FROM pg_control_system()",
            &[],
        );
        let row = row.await?;
        let timeline: String = row.get(1);
        let version: String = row.get(2);
        Ok(Leader {
            server: self.clone(),
            place,
            beside,
            password: password.cloned(),
            address: address.clone(),
            session,
            system_id: row.get(0),
            timeline: u32::from_str_radix(&timeline, 16).unwrap_or(0),
            version: version.split(' ').next().unwrap_or_default().to_owned(),
            major,
            unnamed: None,
        })
    }
}

impl Leader {
    /// A session in another of its databases.
    pub(crate) async fn connect(&self, database: &str) -> Result<Session> {
        let Server { config, tls, .. } = &self.server;
        Session::open(&*self.place, config, tls, self.password.as_ref(), &self.address, database).await
    }

    /// The configured cluster.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The password that the sessions use, for child programs.
    pub(crate) fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }
}
