//! A drill: the native restore into a scratch directory, and a real etcd started from it on loopback.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    policy::{LOOK, Ladder, Rung, Wrong},
    traits::{Command, Context, Drill, Place, Process, Source, Throwaway, exit_error},
    words::{ComponentRecord, Error, ErrorKind, Result},
};
use tokio::time::Instant;

use super::{EtcdComponent, fetch};
use crate::{
    bolt::Db,
    inspect::{self, Inventory},
    live::{Access, Asked, Connector, MemberStatus},
    patroni::PatroniKeys,
    restore::{Cluster, Rewrite, Staged},
    version::Version,
};

/// How long an etcd may take until it leads.
const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const NAME: &str = "drill";
/// Written, read and deleted again.
const KEY: &str = "/ha-backup-drill/key";

#[async_trait]
impl Drill for EtcdComponent {
    fn space(&self, record: &ComponentRecord) -> u64 {
        let database = record.artifacts.iter().map(|artifact| artifact.plain.size).sum::<u64>();
        // The snapshot fetched, the database written from it, and etcd's log of 64 MB that is allocated in advance.
        database.saturating_mul(2).saturating_add(128 << 20)
    }

    async fn drill(
        &self,
        cx: &Context,
        place: &dyn Throwaway,
        from: &dyn Source,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let begun = Instant::now();
        let db = fetch::fetch_db(cx, from).await?;
        let keys = from.record().facts.get("keys").and_then(serde_json::Value::as_u64).unwrap_or(1);
        let (db, held) = fetch::blocking(move || {
            let held = Held { version: inspect::version(&db)?, hash: inspect::kv_hash(&db, keys)? };
            Ok((db, held))
        })
        .await?;
        let local = place.place();
        let etcd = match Etcd::find(&*local, self.config.drill.etcd.as_deref(), held.version).await {
            Ok(etcd) => etcd,
            Err(reason) => {
                ladder.rest_not_run(&reason);
                return Ok(());
            }
        };
        ladder.tool("etcd", &etcd.said);
        ladder.phase("prepare", begun.elapsed(), 0);
        let begun = Instant::now();
        let running = self.restore_and_start(cx, &*local, place.folder(), db, &etcd).await?;
        ladder.phase("restore", begun.elapsed(), from.artifact(None)?.plain.size);
        let begun = Instant::now();
        self.look(from, &running.answers, held, ladder).await?;
        ladder.phase(LOOK, begun.elapsed(), 0);
        Ok(())
    }
}

/// What the snapshot says of itself.
#[derive(Clone, Copy, Debug)]
struct Held {
    version: Version,
    /// Its HashKV, where it can be told.
    hash: Option<u32>,
}

/// A program that fits.
#[derive(Debug)]
struct Etcd {
    program: String,
    said: String,
    version: Version,
}

impl Etcd {
    /// The configured one, or that of the search path; otherwise why there is none.
    async fn find(place: &dyn Place, given: Option<&Path>, held: Version) -> Result<Self, String> {
        let program = given.map_or_else(|| "etcd".to_owned(), |path| path.display().to_string());
        let hint = "name one: drill = { etcd = \"/path/to/etcd\" } of the component";
        let output = match place.output(&Command::new(&program).arg("--version")).await {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!("there is no {program} here; {hint}"));
            }
            Err(error) => return Err(format!("{}; {hint}", error.chain())),
        };
        let text = String::from_utf8_lossy(&output);
        let said = text.lines().find_map(|line| line.strip_prefix("etcd Version: ")).map(str::trim);
        let Some((said, version)) = said.and_then(|said| Some((said, said.parse::<Version>().ok()?))) else {
            return Err(format!("{program} does not say its version; {hint}"));
        };
        if version < held {
            return Err(format!("{program} is etcd {said}, the snapshot is of {held}; {hint}"));
        }
        Ok(Self { program, said: said.to_owned(), version })
    }
}

/// A started etcd of one member. Dropped, it ends.
#[derive(Debug)]
struct Running {
    _process: Box<dyn Process>,
    answers: Answering,
}

/// How it is asked.
#[derive(Debug)]
struct Answering {
    endpoint: String,
    connector: Connector,
    member: MemberStatus,
}

impl EtcdComponent {
    /// The directory and an etcd on it that leads. A port may be taken by another before etcd has it: then once more.
    async fn restore_and_start(
        &self,
        cx: &Context,
        place: &dyn Place,
        folder: &Path,
        db: Db,
        etcd: &Etcd,
    ) -> Result<Running> {
        let mut db = db;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let dir = folder.join(format!("data-{attempt}"));
            let (client, peer) = free_ports()?;
            let cluster = Cluster::parse(&format!("{NAME}=http://127.0.0.1:{peer}"), "ha-backup-drill")?;
            let rewrite = Rewrite {
                bump: 0,
                patroni: PatroniKeys::All,
                patroni_namespace: self.config.namespace(),
                target: Some(etcd.version),
                force: false,
            };
            let (target, go_on) = (dir.clone(), cx.clone());
            db = fetch::blocking(move || {
                let member = cluster.member(NAME)?;
                Staged::write(&db, &target, &cluster, member, &rewrite, &|| go_on.check_cancelled("drill"))?
                    .put_in_place(go_on.now())?;
                Ok(db)
            })
            .await?;
            match self.start(place, &dir, etcd, client, peer).await {
                Err(error) if attempt < 3 && error.chain().contains("address already in use") => {}
                outcome => return outcome,
            }
        }
    }

    async fn start(
        &self,
        place: &dyn Place,
        dir: &Path,
        etcd: &Etcd,
        client: u16,
        peer: u16,
    ) -> Result<Running> {
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let command = Command::new(&etcd.program)
            .args(["--name", NAME, "--log-level", "error", "--logger", "zap"])
            .arg(format!("--data-dir={}", dir.display()))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .arg(format!("--listen-peer-urls={peer}"));
        let mut process = place.run(&command).await?;
        let access = Access {
            user: self.config.user.clone(),
            password: self.config.password.clone(),
            tls: None,
            connect_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(5),
        };
        let connector = Connector::new(&access).await?;
        let leads = async {
            loop {
                let error = match connector.status(&client).await {
                    Ok(member) if member.has_leader => return Ok(member),
                    Ok(_) => None,
                    Err(error) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut) => {
                        Some(error)
                    }
                    Err(error) => return Err(error),
                };
                tracing::debug!(error = ?error, "the drill's etcd does not lead yet");
                tokio::time::sleep(POLL).await;
            }
        };
        let member = tokio::select! {
            exit = process.wait() => return Err(exit_error(&etcd.program, &exit?)),
            led = tokio::time::timeout(START, leads) => led.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::TimedOut, "start", etcd.program.clone())
                    .detail(format!("it does not lead after {} s", START.as_secs())))
            })?,
        };
        Ok(Running { _process: process, answers: Answering { endpoint: client, connector, member } })
    }

    /// Holds what runs against what the manifest says.
    async fn look(
        &self,
        from: &dyn Source,
        running: &Answering,
        held: Held,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let facts: Inventory = serde_json::from_value(serde_json::Value::Object(
            from.record().facts.clone().into_iter().collect(),
        ))
        .map_err(|e| Error::new(ErrorKind::Corrupt, "read", "the facts of the manifest").because(e))?;
        let member = &running.member;
        ladder.passed(
            Rung::Structure,
            format!("restored without etcd's tools; etcd {} leads on it", member.version),
        );
        if facts.auth_enabled && self.config.user.is_none() {
            ladder.rest_not_run("authentication is on and the section names no `user`: nothing can be asked");
            return Ok(());
        }
        let mut asked = Asked::connect(&running.connector, &running.endpoint).await?;
        self.volume(&mut asked, member, &facts, ladder).await?;
        let (hash, _) = running.connector.hash_kv(&running.endpoint, 0).await?;
        match held.hash {
            None => ladder.not_run(
                Rung::Integrity,
                "the snapshot's own hash cannot be told: a compaction was under way, or very much was changed since",
            ),
            Some(own) if own == hash => {
                ladder.passed(Rung::Integrity, format!("HashKV {hash} is that of the snapshot's own entries"));
            }
            Some(own) => {
                let said = format!("HashKV is {hash}, that of the snapshot's own entries {own}");
                ladder.failed(Rung::Integrity, said, Vec::new());
            }
        }
        if !asked.write_and_read(KEY, "written by a drill").await? {
            ladder.failed(Rung::Smoke, "what was written is not what was read", Vec::new());
        }
        ladder.passed(Rung::Smoke, "a key was written, read and deleted");
        Ok(())
    }

    async fn volume(
        &self,
        asked: &mut Asked<'_>,
        member: &MemberStatus,
        facts: &Inventory,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let mut wrong = Vec::new();
        let mut hold = |what: &str, found: u64, said: u64| {
            if found != said {
                wrong.push(Wrong::new(what, format!("{found} found, the manifest says {said}")));
            }
        };
        // etcd itself writes nothing to the keys when it starts.
        hold("revision", member.revision, facts.revision);
        let at = facts.revision.min(member.revision);
        let keys = asked.count("", at).await?;
        hold("keys", keys, facts.keys);
        for (what, found) in asked.numbers().await? {
            let said = match what {
                "leases" => facts.leases,
                "users" => facts.users,
                _ => facts.roles,
            };
            hold(what, found, said);
        }
        let said = format!(
            "revision {}, {keys} keys, {} leases, {} users, {} roles",
            member.revision, facts.leases, facts.users, facts.roles
        );
        ladder.judge(Rung::Volume, said, wrong);
        let (mut wrong, mut looked) = (Vec::new(), 0);
        let namespace = format!("{}/", self.config.namespace());
        // Keys of a prefix that Patroni's namespace lies in are counted apart from Patroni's.
        let plain = |prefix: &&String| prefix.ends_with('/') && !namespace.starts_with(prefix.as_str());
        for prefix in facts.prefixes.keys().filter(plain) {
            let (found, said) = (asked.count(prefix, at).await?, facts.prefixes[prefix]);
            looked += 1;
            if found != said {
                wrong.push(Wrong::new(
                    format!("keys under {prefix}"),
                    format!("{found} found, the manifest says {said}"),
                ));
            }
        }
        ladder.judge(
            Rung::Content,
            format!("keys under each of {looked} prefixes as in the manifest"),
            wrong,
        );
        Ok(())
    }
}

/// Two ports on loopback that nobody listens on now.
fn free_ports() -> Result<(u16, u16)> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let ports = || -> std::io::Result<(u16, u16)> {
        let (one, other) = (bind()?, bind()?);
        Ok((one.local_addr()?.port(), other.local_addr()?.port()))
    };
    ports().map_err(|e| Error::io("find a free port on", "loopback", e))
}
