//! Finds the programs that tests need; installing them is [`super::setup`]'s work.

use super::error::{Error, Result};
use super::objects::{Objects, ObjectsTools};
use super::process::{clean_command, run};
use super::user::is_root;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The releases of etcd that tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Etcd {
    /// 3.4.23, Debian's package.
    V34,
    /// 3.5.1, from PyPI.
    V35,
    /// 3.6.16, built from Go modules.
    V36,
}

impl Etcd {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V34, Self::V35, Self::V36];

    /// `3.5` and the like.
    pub fn minor(self) -> &'static str {
        match self {
            Self::V34 => "3.4",
            Self::V35 => "3.5",
            Self::V36 => "3.6",
        }
    }
}

/// The major releases of Patroni that tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Patroni {
    /// 3.x: Debian 12's package when we are root, else PyPI's.
    V3,
    /// 4.x, PyPI's.
    V4,
}

impl Patroni {
    /// `3` or `4`.
    pub fn major(self) -> &'static str {
        match self {
            Self::V3 => "3",
            Self::V4 => "4",
        }
    }
}

/// The major releases of PostgreSQL that `cargo xtask setup` provides.
pub const POSTGRES_MAJORS: [u32; 2] = [15, 17];

/// A thing that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// The protobuf compiler with Google's includes: etcd-client is built with it.
    Protoc,
    /// `openssl`, for certificates.
    Openssl,
    /// `age` and `age-keygen`, which read what is encrypted.
    Age,
    /// `minisign`, which checks signatures.
    Minisign,
    /// `sqlite3`, with which the kind `command` is tried.
    Sqlite,
    /// etcd, etcdctl and, from 3.5 on, etcdutl.
    Etcd(Etcd),
    /// PostgreSQL of this major release, with contrib.
    Postgres(u32),
    /// Patroni with what it needs for `etcd3:`.
    Patroni(Patroni),
    /// The programs of Kubernetes: API server, controllers, scheduler, kubelet and kubectl.
    Kubernetes,
    /// What runs pods on this machine, and their images.
    Nodes,
    /// A server that keeps objects.
    Objects(Objects),
    /// aiosmtpd, a mail server.
    Mail,
    /// `promtool`, which checks metrics and alert rules.
    Promtool,
}

impl Tool {
    /// Everything that the tests of the workspace use.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Protoc, Self::Openssl, Self::Age, Self::Minisign, Self::Sqlite];
        all.extend(Etcd::ALL.map(Self::Etcd));
        all.extend(POSTGRES_MAJORS.map(Self::Postgres));
        all.extend([Patroni::V3, Patroni::V4].map(Self::Patroni));
        all.extend(Objects::ALL.map(Self::Objects));
        all.extend([Self::Mail, Self::Promtool, Self::Kubernetes, Self::Nodes]);
        all
    }

    /// Whether only root can install and use it.
    pub fn needs_root(self) -> bool {
        self == Self::Nodes
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protoc => f.write_str("protoc"),
            Self::Openssl => f.write_str("openssl"),
            Self::Age => f.write_str("age"),
            Self::Minisign => f.write_str("minisign"),
            Self::Sqlite => f.write_str("sqlite3"),
            Self::Etcd(version) => write!(f, "etcd {}", version.minor()),
            Self::Postgres(major) => write!(f, "PostgreSQL {major}"),
            Self::Patroni(version) => write!(f, "Patroni {}", version.major()),
            Self::Kubernetes => f.write_str("Kubernetes 1.34"),
            Self::Nodes => f.write_str("Kubernetes nodes"),
            Self::Objects(kind) => write!(f, "{kind}"),
            Self::Mail => f.write_str("aiosmtpd"),
            Self::Promtool => f.write_str("promtool"),
        }
    }
}

/// The programs of one etcd release.
#[derive(Debug, Clone)]
pub struct EtcdTools {
    /// Which one.
    pub version: Etcd,
    /// The server.
    pub etcd: PathBuf,
    /// The client.
    pub etcdctl: PathBuf,
    /// The offline tool; 3.4 has none (its etcdctl does the work).
    pub etcdutl: Option<PathBuf>,
}

/// The programs of one PostgreSQL release.
#[derive(Debug, Clone)]
pub struct PostgresTools {
    /// The major release.
    pub major: u32,
    /// The folder with postgres, initdb, psql, pg_dump and so on. Clients run from it as they are; the
    /// server needs [`PostgresTools::env`].
    pub bin: PathBuf,
    lib: Option<PathBuf>,
}

impl PostgresTools {
    /// One of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Environment for the server: libpqwalreceiver of PyPI's build finds libpq only this way, and without
    /// it replicas never stream, silently.
    pub fn env(&self) -> Vec<(String, String)> {
        let lib = self.lib.iter();
        lib.map(|l| ("LD_LIBRARY_PATH".to_owned(), l.display().to_string())).collect()
    }
}

/// The protobuf compiler.
#[derive(Debug, Clone)]
pub struct Protoc {
    program: PathBuf,
    include: Option<PathBuf>,
}

impl Protoc {
    /// What builds of etcd-client need in their environment: nothing when the system has protoc.
    pub fn env(&self) -> Vec<(String, String)> {
        let text = |p: &Path| p.display().to_string();
        let Some(include) = &self.include else { return Vec::new() };
        vec![("PROTOC".to_owned(), text(&self.program)), ("PROTOC_INCLUDE".to_owned(), text(include))]
    }
}

/// What is installed on this machine for tests. Looks, never installs.
#[derive(Debug, Clone)]
pub struct Toolbox {
    cache: PathBuf,
}

impl Toolbox {
    /// The toolbox in `HA_BACKUP_CACHE`; by default `/var/cache/ha-backup` for root (PostgreSQL's user must
    /// reach it), else `$XDG_CACHE_HOME/ha-backup` or `~/.cache/ha-backup`.
    ///
    /// # Errors
    /// When neither of these variables nor `HOME` is set.
    pub fn open() -> Result<Self> {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = var("HA_BACKUP_CACHE")
            .or_else(|| is_root().then(|| PathBuf::from("/var/cache/ha-backup")))
            .or_else(|| var("XDG_CACHE_HOME").map(|d| d.join("ha-backup")))
            .or_else(|| var("HOME").map(|d| d.join(".cache/ha-backup")))
            .ok_or_else(|| Error::new("no place for the test servers; set HA_BACKUP_CACHE or HOME"))?;
        Ok(Self { cache: std::path::absolute(cache)? })
    }

    /// The folder outside the tree that holds what was installed.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The programs of an etcd release.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn etcd(&self, version: Etcd) -> Result<EtcdTools> {
        let bin = self.place(Tool::Etcd(version)).join("bin");
        let (etcd, etcdctl, etcdutl) = (bin.join("etcd"), bin.join("etcdctl"), bin.join("etcdutl"));
        if !etcd.is_file() || !etcdctl.is_file() {
            return Err(Error::missing(Tool::Etcd(version)));
        }
        Ok(EtcdTools { version, etcd, etcdctl, etcdutl: etcdutl.is_file().then_some(etcdutl) })
    }

    /// The programs of a PostgreSQL release: the system's own, or the cache's.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn postgres(&self, major: u32) -> Result<PostgresTools> {
        self.postgres_all().remove(&major).ok_or_else(|| Error::missing(Tool::Postgres(major)))
    }

    /// Every PostgreSQL release with a server on this machine, by major release.
    pub fn postgres_all(&self) -> BTreeMap<u32, PostgresTools> {
        let mut found = BTreeMap::new();
        for major in 13..30 {
            let system = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
            let own = self.place(Tool::Postgres(major));
            let is_server = |bin: &Path| ["postgres", "initdb", "psql"].iter().all(|p| bin.join(p).is_file());
            if is_server(&system) {
                found.insert(major, PostgresTools { major, bin: system, lib: None });
            } else if is_server(&own.join("bin")) {
                let (bin, lib) = (own.join("bin"), Some(own.join("lib")));
                found.insert(major, PostgresTools { major, bin, lib });
            }
        }
        found
    }

    /// The `patroni` program of a release.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn patroni(&self, version: Patroni) -> Result<PathBuf> {
        let tool = Tool::Patroni(version);
        let own = self.place(tool).join("bin/patroni");
        if own.is_file() {
            return Ok(own);
        }
        let system = PathBuf::from("/usr/bin/patroni");
        let says = run(clean_command(&system, &[]).arg("--version"), "patroni --version").unwrap_or_default();
        let right = says.trim().starts_with(&format!("patroni {}.", version.major()));
        if right { Ok(system) } else { Err(Error::missing(tool)) }
    }

    /// The protobuf compiler: the system's when it has Google's includes, else the cache's.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn protoc(&self) -> Result<Protoc> {
        let is_there = |include: &Path| include.join("google/protobuf/timestamp.proto").is_file();
        if let Some(program) = on_path("protoc").filter(|_| is_there(Path::new("/usr/include"))) {
            return Ok(Protoc { program, include: None });
        }
        let own = self.place(Tool::Protoc);
        let (program, include) = (own.join("bin/protoc"), own.join("include"));
        match program.is_file() && is_there(&include) {
            true => Ok(Protoc { program, include: Some(include) }),
            false => Err(Error::missing(Tool::Protoc)),
        }
    }

    /// `openssl`.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn openssl(&self) -> Result<PathBuf> {
        on_path("openssl").ok_or_else(|| Error::missing(Tool::Openssl))
    }

    /// An object store's server.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn objects(&self, kind: Objects) -> Result<ObjectsTools> {
        let place = self.place(Tool::Objects(kind));
        let (program, args) = match kind {
            Objects::SeaweedFs => ("bin/weed", Vec::new()),
            Objects::VersityGw => ("bin/versitygw", Vec::new()),
            Objects::Moto => ("bin/moto_server", Vec::new()),
            Objects::Azurite => ("bin/node", vec![place.join("node_modules/azurite/dist/src/blob/main.js")]),
        };
        let program = place.join(program);
        if !program.is_file() || !args.iter().all(|file| file.is_file()) {
            return Err(Error::missing(Tool::Objects(kind)));
        }
        let args = args.iter().map(|file| file.display().to_string()).collect();
        Ok(ObjectsTools { program, args })
    }

    /// The Python that has aiosmtpd.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn mail(&self) -> Result<PathBuf> {
        // The program is a link into its virtual environment, whose Python stands beside it.
        let program = self.place(Tool::Mail).join("bin/aiosmtpd").canonicalize();
        let python = program.ok().and_then(|program| Some(program.parent()?.join("python")));
        python.filter(|python| python.is_file()).ok_or_else(|| Error::missing(Tool::Mail))
    }

    /// The folder with `age` and `age-keygen`.
    ///
    /// # Errors
    /// When they are not installed.
    pub fn age(&self) -> Result<PathBuf> {
        let system = on_path("age").and_then(|program| program.parent().map(Path::to_owned));
        let folders = system.into_iter().chain([self.place(Tool::Age).join("bin")]);
        let is_whole = |bin: &PathBuf| bin.join("age").is_file() && bin.join("age-keygen").is_file();
        folders.into_iter().find(is_whole).ok_or_else(|| Error::missing(Tool::Age))
    }

    /// `minisign`.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn minisign(&self) -> Result<PathBuf> {
        self.one(Tool::Minisign)
    }

    /// `sqlite3`.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn sqlite(&self) -> Result<PathBuf> {
        self.one(Tool::Sqlite)
    }

    /// `promtool`.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn promtool(&self) -> Result<PathBuf> {
        self.one(Tool::Promtool)
    }

    /// A tool of one program that is called as the tool is.
    fn one(&self, tool: Tool) -> Result<PathBuf> {
        let name = tool.to_string();
        let own = self.place(tool).join("bin").join(&name);
        on_path(&name).or_else(|| own.is_file().then_some(own)).ok_or_else(|| Error::missing(tool))
    }

    /// Whether a tool is there; the error names the mend.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn require(&self, tool: Tool) -> Result<()> {
        match tool {
            Tool::Protoc => self.protoc().map(drop),
            Tool::Openssl => self.openssl().map(drop),
            Tool::Age => self.age().map(drop),
            Tool::Minisign => self.minisign().map(drop),
            Tool::Sqlite => self.sqlite().map(drop),
            Tool::Etcd(version) => self.etcd(version).map(drop),
            Tool::Postgres(major) => self.postgres(major).map(drop),
            Tool::Patroni(version) => self.patroni(version).map(drop),
            Tool::Kubernetes => self.kubernetes().map(drop),
            Tool::Nodes => self.nodes().map(drop),
            Tool::Objects(kind) => self.objects(kind).map(drop),
            Tool::Mail => self.mail().map(drop),
            Tool::Promtool => self.promtool().map(drop),
        }
    }

    /// Where a tool of our own stands in the cache.
    pub(super) fn place(&self, tool: Tool) -> PathBuf {
        self.cache.join(tool.to_string().to_lowercase().replace(' ', "-"))
    }
}

/// The first program of this name on `PATH`.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file())
}
