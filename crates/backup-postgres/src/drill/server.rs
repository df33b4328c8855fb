//! A private cluster: made, started, connected to.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use backup_core::{
    traits::{Command, Context, Node, Place, Process, Throwaway, exit_error},
    words::{Error, ErrorKind, Result},
};
use serde_json::json;

use crate::{
    config::Config,
    connect::{Leader, Server},
    tools::Tool,
};

/// How long a fresh cluster may take to accept connections.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A Unix socket's path has at most so many bytes (unix(7)).
const SOCKET_PATH: usize = 107;
const SUPERUSER: &str = "postgres";

/// Nothing of a drill outlives it, and little may happen beside it.
const SETTINGS: [(&str, &str); 21] = [
    ("listen_addresses", ""),
    ("archive_mode", "off"),
    ("archive_command", ""),
    ("shared_preload_libraries", ""),
    ("session_preload_libraries", ""),
    ("max_wal_senders", "0"),
    ("wal_level", "minimal"),
    ("max_logical_replication_workers", "0"),
    ("max_connections", "20"),
    ("autovacuum", "off"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("checkpoint_timeout", "1h"),
    ("max_wal_size", "512MB"),
    ("shared_buffers", "128MB"),
    ("maintenance_work_mem", "128MB"),
    ("max_parallel_workers", "2"),
    ("jit", "off"),
    ("logging_collector", "off"),
    ("ssl", "off"),
];

/// PostgreSQL's programs of one version.
#[derive(Debug)]
pub(super) struct Programs {
    initdb: String,
    postgres: String,
    pub(super) psql: String,
    /// "15.18".
    pub(super) version: String,
    major: u32,
}

impl Programs {
    /// Those of exactly this major version; otherwise why there are none.
    pub(super) async fn find(place: &dyn Place, config: &Config, major: u32) -> Result<Self, String> {
        let given: Vec<&PathBuf> = config.drill.bin_folder.iter().chain(&config.bin_folders).collect();
        let usual = [format!("/usr/lib/postgresql/{major}/bin"), format!("/usr/pgsql-{major}/bin")];
        let folders = given.iter().map(|folder| folder.display().to_string()).chain(usual);
        let candidates = folders.map(|folder| format!("{folder}/initdb")).chain(["initdb".to_owned()]);
        let mut seen = Vec::new();
        for program in candidates {
            match Tool::look(place, &program).await {
                Ok(Some(tool)) if tool.major == major => {
                    return Ok(Self {
                        postgres: tool.sibling("postgres"),
                        psql: tool.sibling("psql"),
                        initdb: tool.program,
                        version: tool.version,
                        major,
                    });
                }
                Ok(Some(tool)) => seen.push(format!("{} is {}", tool.program, tool.version)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => seen.push(error.chain()),
            }
        }
        let seen = if seen.is_empty() { String::new() } else { format!(" ({})", seen.join(", ")) };
        Err(format!(
            "no PostgreSQL {major} server is installed here{seen}: install it (postgresql-{major}), or name its folder: \
             drill = {{ bin_folder = \"...\" }} of the component"
        ))
    }
}

/// A running private cluster. Dropped, it is shut down at once.
#[derive(Debug)]
pub(super) struct Private {
    _process: Box<dyn Process>,
    pub(super) leader: Leader,
    /// Whether it has a network that leads nowhere.
    pub(super) cut_off: bool,
}

impl Private {
    /// Makes and starts it; the inner error is why that cannot be done on this host.
    pub(super) async fn start(
        cx: &Context,
        place: &dyn Throwaway,
        programs: &Programs,
    ) -> Result<Result<Self, String>> {
        let folder = place.folder();
        if folder.join(".s.PGSQL.5432").as_os_str().len() > SOCKET_PATH {
            return Ok(Err(format!(
                "{} is too long a path for a Unix socket: name a shorter folder in [drill]",
                folder.display()
            )));
        }
        let user = match Unprivileged::find() {
            Ok(user) => user,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(user) = &user {
            if let Some(closed) = user.is_kept_from(folder) {
                return Ok(Err(format!(
                    "the user {} cannot come through {}: name another folder in [drill]",
                    user.name,
                    closed.display()
                )));
            }
            std::os::unix::fs::chown(folder, Some(user.uid), Some(user.gid))
                .map_err(|e| Error::io("give to another user", folder.display().to_string(), e))?;
        }
        let local = place.place();
        let data = folder.join("data");
        let initdb = [programs.initdb.clone(), "-D".to_owned(), data.display().to_string()];
        let options =
            ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-sync"];
        local.output(&as_user(user.as_ref(), initdb.into_iter().chain(options.map(str::to_owned)))).await?;
        let cut = cut_off(&*local, user.is_some()).await;
        let mut words: Vec<String> = cut.iter().flatten().map(|word| (*word).to_owned()).collect();
        words.extend(user.iter().flat_map(Unprivileged::prefix));
        words.extend([programs.postgres.clone(), "-D".to_owned(), data.display().to_string()]);
        let sockets = folder.display().to_string();
        let own = [("unix_socket_directories", sockets.as_str()), ("port", "5432")];
        // The newer versions can be told to fire none.
        let triggers = (programs.major >= 17).then_some(("event_triggers", "off"));
        let settings = SETTINGS.into_iter().chain(own).chain(triggers);
        words.extend(settings.flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        let mut process = local.run(&Command::new(words.remove(0)).args(words)).await?;
        let server = server(folder, local)?;
        let leader = tokio::select! {
            exit = process.wait() => return Err(exit_error(&programs.postgres, &exit?)),
            leader = connect(cx, &server) => leader?,
        };
        Ok(Ok(Self { _process: process, leader, cut_off: cut.is_some() }))
    }
}

/// The private cluster as the rest of this crate knows servers.
fn server(folder: &Path, place: Arc<dyn Place>) -> Result<Server> {
    let section = json!({ "host": folder.display().to_string(), "port": 5432, "user": SUPERUSER });
    Server::new(Node::new(section).parse()?, place)
}

async fn connect(cx: &Context, server: &Server) -> Result<Leader> {
    let deadline = tokio::time::Instant::now() + START;
    loop {
        cx.check_cancelled("start PostgreSQL")?;
        match server.look().await {
            Ok(leader) => return Ok(leader),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The words by which a program starts in a network without any device; none where the system does not let us.
async fn cut_off(place: &dyn Place, other_user: bool) -> Option<Vec<&'static str>> {
    let unshare = match other_user {
        true => vec!["unshare", "--net", "--"],
        false => vec!["unshare", "--user", "--map-current-user", "--net", "--"],
    };
    let probe = Command::new(unshare[0]).args(unshare[1..].iter().copied()).arg("true");
    place.output(&probe).await.ok().map(|_| unshare)
}

fn as_user(user: Option<&Unprivileged>, words: impl Iterator<Item = String>) -> Command {
    let mut words: Vec<String> = user.map(Unprivileged::prefix).into_iter().flatten().chain(words).collect();
    Command::new(words.remove(0)).args(words)
}

/// Who PostgreSQL runs as when we are root, which it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unprivileged {
    name: String,
    uid: u32,
    gid: u32,
}

impl Unprivileged {
    /// None when we are somebody else than root; otherwise `postgres`, or `nobody`.
    fn find() -> Result<Option<Self>, String> {
        if fs::metadata("/proc/self").map(|about| about.uid()).unwrap_or(0) != 0 {
            return Ok(None);
        }
        let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = [SUPERUSER, "nobody"].iter().find_map(|name| Self::named(&table, name));
        found.map(Some).ok_or_else(|| {
            "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`"
                .to_owned()
        })
    }

    fn named(table: &str, name: &str) -> Option<Self> {
        let mut fields = table
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then(|| Self { name: name.to_owned(), uid, gid })
    }

    /// The words that make a program run as this user.
    fn prefix(&self) -> Vec<String> {
        let (uid, gid) = (format!("--reuid={}", self.uid), format!("--regid={}", self.gid));
        ["setpriv".to_owned(), uid, gid, "--clear-groups".to_owned(), "--".to_owned()].into()
    }

    /// The folder above `folder` that this user may not enter.
    fn is_kept_from(&self, folder: &Path) -> Option<PathBuf> {
        let enters = |path: &Path| {
            fs::metadata(path).is_ok_and(|about| {
                let bit = match (about.uid() == self.uid, about.gid() == self.gid) {
                    (true, _) => 0o100,
                    (_, true) => 0o010,
                    _ => 0o001,
                };
                about.mode() & bit != 0
            })
        };
        folder.ancestors().skip(1).find(|path| !enters(path)).map(Path::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_the_table_of_users_and_is_never_root() {
        let table =
            "postgresql:x:1:2::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/bash\nnobody:x:0:0::/:/\n";
        let user = Unprivileged::named(table, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert_eq!(Unprivileged::named(table, "nobody"), None);
        assert_eq!(Unprivileged::named("", "postgres"), None);
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let top = tempfile::tempdir().unwrap();
        let (closed, inner) = (top.path().join("closed"), top.path().join("closed/a/b"));
        fs::create_dir_all(&inner).unwrap();
        for (path, mode) in [(top.path(), 0o711), (&closed, 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let stranger = Unprivileged { name: "x".to_owned(), uid: u32::MAX - 1, gid: u32::MAX - 1 };
        assert_eq!(stranger.is_kept_from(&inner), Some(closed));
    }
}
