//! Debian's packages.

use super::super::error::{Context, Error, Result};
use super::super::kubernetes::Image;
use super::super::process::run;
use super::super::toolbox::{Patroni, Tool, on_path};
use super::super::user::is_root;
use super::pypi;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// The packages to install as root.
pub(super) struct Apt {
    packages: Vec<&'static str>,
}

impl Apt {
    /// What apt-get can do for `wanted`; `None` without root, without apt-get, or when it has nothing to do.
    pub(super) fn for_us(wanted: &[Tool]) -> Option<Self> {
        if !is_usable() {
            return None;
        }
        let mut packages: Vec<_> = wanted.iter().flat_map(|t| packages_of(*t)).collect();
        if pypi::find_python().is_err() {
            packages.extend(["python3", "python3-venv"]);
        }
        packages.sort_unstable();
        packages.dedup();
        (!packages.is_empty()).then_some(Self { packages })
    }

    pub(super) fn packages(&self) -> &[&'static str] {
        &self.packages
    }

    /// Those of `wanted` that need nothing else.
    pub(super) fn provides(&self, wanted: &[Tool]) -> Vec<Tool> {
        wanted.iter().copied().filter(|t| is_whole(*t)).collect()
    }

    pub(super) fn install(&self) -> Result<()> {
        run(apt_get().arg("update"), "apt-get update")?;
        if !self.packages.iter().any(|p| p.starts_with("postgresql-")) {
            return install(&self.packages);
        }
        // Debian makes and starts a cluster of its own when PostgreSQL is installed, unless told not to.
        install(&["postgresql-common"])?;
        let before = fs::read_to_string(CREATE_CLUSTER).context(CREATE_CLUSTER)?;
        fs::write(CREATE_CLUSTER, format!("{before}\ncreate_main_cluster = false\n"))
            .context(CREATE_CLUSTER)?;
        let installed = install(&self.packages);
        fs::write(CREATE_CLUSTER, before).context(CREATE_CLUSTER)?;
        installed
    }
}

/// `HA_BACKUP_SETUP=user` makes root install as an ordinary user would.
fn is_usable() -> bool {
    let as_user = std::env::var("HA_BACKUP_SETUP").is_ok_and(|v| v == "user");
    is_root() && !as_user && on_path("apt-get").is_some()
}

fn packages_of(tool: Tool) -> Vec<&'static str> {
    match tool {
        Tool::Protoc => vec!["protobuf-compiler", "libprotobuf-dev"],
        Tool::Openssl => vec!["openssl"],
        Tool::Age => vec!["age"],
        Tool::Minisign => vec!["minisign"],
        Tool::Sqlite => vec!["sqlite3"],
        Tool::Etcd(_)
        | Tool::Patroni(Patroni::V4)
        | Tool::Kubernetes
        | Tool::Objects(_)
        | Tool::Mail
        | Tool::Promtool => Vec::new(),
        Tool::Postgres(15) => vec!["postgresql-15"],
        // The libraries that PyPI's build is linked with.
        Tool::Postgres(_) => vec!["libgssapi-krb5-2", "liblz4-1", "libreadline8", "libxml2", "libzstd1"],
        Tool::Patroni(Patroni::V3) => vec!["patroni", "python3-etcd", "python3-psycopg2"],
        Tool::Nodes => {
            let mut all = vec!["containerd", "runc", "containernetworking-plugins"];
            all.extend(Image::ALL.iter().flat_map(|image| image.packages()));
            all
        }
    }
}

fn is_whole(tool: Tool) -> bool {
    matches!(
        tool,
        Tool::Protoc
            | Tool::Openssl
            | Tool::Age
            | Tool::Minisign
            | Tool::Sqlite
            | Tool::Postgres(15)
            | Tool::Patroni(Patroni::V3)
    )
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y"]);
    command.args(["-o", "DPkg::Lock::Timeout=600", "-o", "APT::Sandbox::User=root"]);
    command
}

fn install(packages: &[&str]) -> Result<()> {
    run(apt_get().args(["install", "--no-install-recommends"]).args(packages), "apt-get install").map(drop)
}

/// Downloads and unpacks Debian packages below `work`, without root and without installing them: no
/// service is started. Returns the folder that stands for `/`.
pub(super) fn fetch(packages: &[&str], work: &Path) -> Result<PathBuf> {
    let root = work.join("root");
    fs::create_dir_all(&root)?;
    let download = |private: &[String]| {
        run(apt_get().args(private).arg("download").args(packages).current_dir(work), "apt-get download")
    };
    if download(&[]).is_err() {
        // The machine's own package lists are missing or old, and not ours to renew.
        let private = private_lists(work)?;
        run(apt_get().args(&private).arg("update"), "apt-get update")?;
        download(&private)?;
    }
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&root), "dpkg-deb")?;
        }
    }
    Ok(root)
}

/// Fails unless an unpacked `etcd` is the release that tests expect of Debian.
pub(super) fn check_etcd(program: &Path) -> Result<()> {
    let version = run(Command::new(program).arg("--version"), "etcd --version")?;
    if version.contains("Version: 3.4.") {
        return Ok(());
    }
    let found = version.lines().next().unwrap_or_default();
    Err(Error::new(format!("this distribution has another etcd than Debian 12's 3.4: {found}")))
}

fn private_lists(work: &Path) -> Result<Vec<String>> {
    let (state, cache) = (work.join("state"), work.join("cache"));
    fs::create_dir_all(state.join("lists/partial"))?;
    fs::create_dir_all(cache.join("archives/partial"))?;
    let options = [
        format!("Dir::State={}", state.display()),
        "Dir::State::status=/var/lib/dpkg/status".to_owned(),
        format!("Dir::Cache={}", cache.display()),
    ];
    Ok(options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect())
}
