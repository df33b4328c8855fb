//! Asking around who leads.

use std::time::Duration;

use backup_core::words::{Error, ErrorKind, Result};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Address, Server,
    patroni::{self, BasicAuth, Cluster},
};

/// How long the other members' answers are waited for when one has named a leader: a stale member may be the first.
const SECOND_OPINION: Duration = Duration::from_millis(300);

/// Whose word there is on who leads.
pub(super) enum Word {
    /// One of these leads, the likeliest first.
    Named(Vec<Address>),
    /// There is no Patroni: one of these may lead.
    Absent(Vec<Address>),
    /// Patroni does not answer. These are the servers beside it.
    Silent(Error, Vec<Address>),
}

/// Where to ask.
#[derive(Debug)]
struct Members {
    /// Addresses of Patroni's members, or of what may be members.
    patroni: Vec<String>,
    /// The servers beside them.
    servers: Vec<Address>,
    /// Whether they were found, and not configured: whether there is a Patroni at all is not known then.
    found: bool,
}

/// What the members of Patroni answered when all of them were asked.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Each one's address and answer.
    pub(crate) each: Vec<(String, Result<Cluster>)>,
    /// There is no Patroni.
    pub(crate) absent: bool,
}

impl Server {
    /// What it is, for messages about the whole of it.
    pub(super) fn described(&self) -> String {
        if self.config.patroni.is_empty() { self.place.name() } else { self.config.patroni.join(", ") }
    }

    async fn members(&self) -> Result<Members> {
        let config = &self.config;
        let configured = config.addresses()?;
        if let Some(hosts) = self.place.hosts()
            && config.patroni.is_empty()
            && configured.is_empty()
        {
            let hosts = hosts.list().await?;
            let at = |port| move |host: &String| Address { host: host.clone(), port, on: None };
            let asked = if config.patroni_port == 0 { &[][..] } else { &hosts };
            return Ok(Members {
                patroni: asked.iter().map(at(config.patroni_port)).map(|at| format!("http://{at}")).collect(),
                servers: hosts.iter().map(at(config.port)).collect(),
                found: true,
            });
        }
        let servers = if configured.is_empty() {
            let beside =
                |url: &String| Ok(Address { host: patroni::host_of(url)?, port: config.port, on: None });
            config.patroni.iter().map(beside).collect::<Result<_>>()?
        } else {
            configured
        };
        Ok(Members { patroni: config.patroni.clone(), servers, found: false })
    }

    /// What each member of Patroni answers.
    pub(crate) async fn ask_patroni(&self) -> Result<Answers> {
        let members = self.members().await?;
        let auth = self.patroni_auth().await?;
        let asked: Vec<_> = members.patroni.iter().map(|url| self.ask(url, auth.as_ref())).collect();
        let each = futures::future::join_all(asked).await;
        let refused = |(_, answer): &(String, Result<Cluster>)| answer.as_ref().is_err_and(is_refusal);
        let absent = members.found && each.iter().all(refused);
        Ok(Answers { each, absent })
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

    /// Who may lead, and whose word that is.
    pub(super) async fn word(&self) -> Result<Word> {
        let members = self.members().await?;
        if members.patroni.is_empty() {
            let servers = members.servers;
            return Ok(if members.found { Word::Absent(servers) } else { Word::Named(servers) });
        }
        let auth = self.patroni_auth().await?;
        let mut asked: FuturesUnordered<_> =
            members.patroni.iter().map(|url| self.ask(url, auth.as_ref())).collect();
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
        if named.is_empty() && errors.len() == members.patroni.len() {
            return Ok(if members.found && errors.iter().all(is_refusal) {
                Word::Absent(members.servers)
            } else {
                Word::Silent(nobody_answers(self.described(), errors), members.servers)
            });
        }
        Ok(Word::Named(newest_first(named)))
    }
}

/// A member that Patroni left behind may still call the old leader one: the highest timeline is the newest.
fn newest_first(mut named: Vec<(u64, Address)>) -> Vec<Address> {
    named.sort_by_key(|(timeline, _)| std::cmp::Reverse(*timeline));
    let mut addresses: Vec<Address> = Vec::new();
    for (_, address) in named {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn leaders(cluster: &Cluster) -> Vec<(u64, Address)> {
    let leaders = cluster.members.iter().filter(|member| member.is_leader());
    leaders.filter_map(|member| Some((member.timeline.unwrap_or(0), member.address()?))).collect()
}

/// Whether nobody listens there, which is more than that nobody answers.
fn is_refusal(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        if error.downcast_ref().is_some_and(refused) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn nobody_answers(whose: String, errors: Vec<Error>) -> Error {
    // One refusal among dead members is the one to mend.
    let telling = errors.into_iter().max_by_key(|error| {
        matches!(error.kind(), ErrorKind::Denied | ErrorKind::Config | ErrorKind::Unsupported)
    });
    let kind = telling.as_ref().map_or(ErrorKind::Unreachable, |error| match error.kind() {
        ErrorKind::Denied | ErrorKind::Config | ErrorKind::Unsupported => error.kind(),
        _ => ErrorKind::Unreachable,
    });
    let error = Error::new(kind, "find the leader of", whose).detail("no member of Patroni answers");
    match telling {
        Some(cause) => match cause.advice().map(str::to_owned) {
            Some(hint) => error.hint(hint).because(cause),
            None => error.because(cause),
        },
        None => error,
    }
}
