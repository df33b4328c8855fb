//! Finding the leader, and checking on the connection itself that it is one.

use std::{sync::Arc, time::Duration};

use backup_core::{
    traits::{Context, Place},
    words::{Error, ErrorKind, Result, Retry, Secret},
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Address, Session,
    patroni::{self, BasicAuth, Cluster},
    tls::Tls,
};
use crate::config::Config;

/// How often a missing leader is looked for.
const POLL: Duration = Duration::from_millis(500);
/// How long the other members' answers are waited for when one has named a leader: a stale member may be the first.
const SECOND_OPINION: Duration = Duration::from_millis(300);

/// The configured cluster; nothing of it is connected to yet.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) config: Arc<Config>,
    pub(crate) place: Arc<dyn Place>,
    tls: Tls,
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
        let direct = config.addresses()?;
        if config.patroni.is_empty() && direct.is_empty() {
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
        let candidates = self.candidates().await?;
        self.first_leader(&candidates).await
    }

    async fn look_to_read(&self) -> Result<Leader> {
        match self.candidates().await {
            Err(silent) if silent.kind() == ErrorKind::Unreachable => self.only_primary(silent).await,
            candidates => self.first_leader(&candidates?).await,
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
            Error::new(ErrorKind::Unreachable, "find the leader of", self.config.patroni.join(", "))
                .detail("the members that answer name no leader")
                .hint("`patronictl list` shows the members; a failover takes some 20 seconds")
        }))
    }

    /// The one server that takes writes, when Patroni is `silent`. Two of them and nobody can say which is right.
    async fn only_primary(&self, silent: Error) -> Result<Leader> {
        let password = self.password().await?;
        let mut primaries = Vec::new();
        for address in self.servers_beside_patroni()? {
            match self.try_leader(&address, password.as_ref()).await {
                Ok(leader) => primaries.push(leader),
                Err(e) if e.kind() == ErrorKind::Denied => return Err(e),
                Err(e) => tracing::debug!(%address, error = %e.chain(), "not the leader"),
            }
        }
        match (primaries.pop(), primaries.pop()) {
            (None, _) => Err(silent),
            (Some(mut leader), None) => {
                leader.unnamed = Some(format!(
                    "Patroni could not say who leads ({}): {} was read, the only server that takes writes",
                    silent.chain(),
                    leader.address
                ));
                Ok(leader)
            }
            (Some(one), Some(other)) => {
                Err(Error::new(ErrorKind::Conflict, "find the leader of", self.config.patroni.join(", "))
                    .detail(format!(
                        "Patroni cannot say, and both {} and {} take writes",
                        one.address, other.address
                    ))
                    .hint("bring Patroni's etcd back: until then nobody knows which of them is right"))
            }
        }
    }

    /// Where the servers are: as configured, or on the hosts of Patroni's members.
    fn servers_beside_patroni(&self) -> Result<Vec<Address>> {
        let configured = self.config.addresses()?;
        if !configured.is_empty() {
            return Ok(configured);
        }
        let port = self.config.port;
        self.config.patroni.iter().map(|url| Ok(Address { host: patroni::host_of(url)?, port })).collect()
    }

    /// What each configured member of Patroni answers.
    pub(crate) async fn ask_patroni(&self) -> Result<Vec<(String, Result<Cluster>)>> {
        let auth = self.patroni_auth().await?;
        let mut asked = Vec::new();
        for url in &self.config.patroni {
            asked.push(self.ask(url, auth.as_ref()));
        }
        Ok(futures::future::join_all(asked).await)
    }

    async fn ask(&self, url: &str, auth: Option<&BasicAuth>) -> (String, Result<Cluster>) {
        (url.to_owned(), patroni::cluster(&*self.place, &self.tls, url, auth).await)
    }

    async fn patroni_auth(&self) -> Result<Option<BasicAuth>> {
        let (Some(user), Some(source)) = (&self.config.patroni_user, &self.config.patroni_password) else {
            return Ok(None);
        };
        let password = source.resolve("password of Patroni").await?;
        Ok(Some(BasicAuth { user: user.clone(), password }))
    }

    /// Addresses that may be the leader's, the most likely first.
    async fn candidates(&self) -> Result<Vec<Address>> {
        if self.config.patroni.is_empty() {
            return self.config.addresses();
        }
        let auth = self.patroni_auth().await?;
        let mut asked = FuturesUnordered::new();
        for url in &self.config.patroni {
            asked.push(self.ask(url, auth.as_ref()));
        }
        let mut named: Vec<(u64, Address)> = Vec::new();
        let mut errors = Vec::new();
        let mut deadline: Option<Instant> = None;
        loop {
            let answer = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, asked.next()).await.unwrap_or(None),
                None => asked.next().await,
            };
            match answer {
                None => break,
                Some((_, Ok(cluster))) => {
                    named.extend(leaders(&cluster));
                    if !named.is_empty() && deadline.is_none() {
                        deadline = Some(Instant::now() + SECOND_OPINION);
                    }
                }
                Some((_, Err(error))) => errors.push(error),
            }
        }
        if named.is_empty() && errors.len() == self.config.patroni.len() {
            return Err(nobody_answers(&self.config.patroni, errors));
        }
        // A member that Patroni left behind may still call the old leader one: the highest timeline is the newest.
        named.sort_by_key(|(timeline, _)| std::cmp::Reverse(*timeline));
        let mut addresses: Vec<Address> = Vec::new();
        for (_, address) in named {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    async fn try_leader(&self, address: &Address, password: Option<&Secret>) -> Result<Leader> {
        let session = match self.session(address, password, &self.config.maintenance_database).await {
            Err(e) if e.kind() == ErrorKind::NotFound => self.session(address, password, "template1").await?,
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

    async fn session(&self, address: &Address, password: Option<&Secret>, database: &str) -> Result<Session> {
        Session::open(&*self.place, &self.config, &self.tls, password, address, database).await
    }
}

impl Leader {
    /// A session in another of its databases.
    pub(crate) async fn connect(&self, database: &str) -> Result<Session> {
        self.server.session(&self.address, self.password.as_ref(), database).await
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

fn leaders(cluster: &Cluster) -> Vec<(u64, Address)> {
    let leaders = cluster.members.iter().filter(|member| member.is_leader());
    leaders.filter_map(|member| Some((member.timeline.unwrap_or(0), member.address()?))).collect()
}

fn nobody_answers(urls: &[String], errors: Vec<Error>) -> Error {
    // One refusal among dead members is the one to mend.
    let telling = errors.into_iter().max_by_key(|error| {
        matches!(error.kind(), ErrorKind::Denied | ErrorKind::Config | ErrorKind::Unsupported)
    });
    let kind = telling.as_ref().map_or(ErrorKind::Unreachable, |error| match error.kind() {
        ErrorKind::Denied | ErrorKind::Config | ErrorKind::Unsupported => error.kind(),
        _ => ErrorKind::Unreachable,
    });
    let error =
        Error::new(kind, "find the leader of", urls.join(", ")).detail("no member of Patroni answers");
    match telling {
        Some(cause) => match cause.advice().map(str::to_owned) {
            Some(hint) => error.hint(hint).because(cause),
            None => error.because(cause),
        },
        None => error,
    }
}
