//! Images for pods, made of what is installed on this machine: nothing is pulled from anywhere.

mod debian;
mod oci;
mod roots;

use super::super::error::{Context, Error, Result};
use super::super::toolbox::{Tool, Toolbox};
use debian::Packages;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An image for the pods of a test cluster: `localhost/NAME:1` in a manifest ([`Image::reference`]). Each has
/// a command of its own, most of them one that sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Image {
    /// For the kubelet: what holds a pod's namespaces. On every node.
    Pause,
    /// busybox with all its programs. On every node.
    Busybox,
    /// GNU tar, findutils, coreutils, attr (`setfattr`, `getfattr`) and bash. On every node.
    Debian,
    /// A shell, find, cat, sha256sum and a few more of busybox, but no tar.
    NoTar,
    /// One static program, `/sleep`, and nothing else: no shell, no cat.
    Distroless,
    /// A FastAPI application under uvicorn that keeps files below `/app`, with the tools of
    /// [`Image::Debian`].
    FastApi,
    /// Patroni 3 with PostgreSQL 15, and the tools of [`Image::Debian`].
    Patroni,
}

/// Changed when the way in which images are made changes.
const RECIPE: u32 = 2;
/// Images of other packages that were made so long ago are removed.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);
/// So much of a digest is in a file's name.
const DIGEST: usize = 12;
const BUSYBOX: &str = "busybox-static";
const TOOLS: &[&str] = &["attr", "bash", "coreutils", "dash", "findutils", "grep", "sed", "tar"];
const SLEEP: [&str; 2] = ["sleep", "2147483647"];

impl Image {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pause,
        Self::Busybox,
        Self::Debian,
        Self::NoTar,
        Self::Distroless,
        Self::FastApi,
        Self::Patroni,
    ];

    /// Those that every node has.
    pub(super) const ALWAYS: [Self; 3] = [Self::Pause, Self::Busybox, Self::Debian];

    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Busybox => "busybox",
            Self::Debian => "debian",
            Self::NoTar => "no-tar",
            Self::Distroless => "distroless",
            Self::FastApi => "fastapi",
            Self::Patroni => "patroni",
        }
    }

    /// As a pod names it.
    pub fn reference(self) -> String {
        format!("localhost/{self}:1")
    }

    /// The Debian packages that it is made of.
    pub(in super::super) fn packages(self) -> Vec<&'static str> {
        let more: &[&str] = match self {
            Self::Pause | Self::Busybox | Self::Distroless => return vec![BUSYBOX],
            Self::NoTar => return vec![BUSYBOX, "dash"],
            Self::Debian => &[],
            Self::FastApi => &["python3-fastapi", "python3-uvicorn"],
            Self::Patroni => &["libc-bin", "patroni", "postgresql-15", "python3-psycopg2"],
        };
        [TOOLS, more].concat()
    }

    fn command(self) -> Vec<&'static str> {
        match self {
            Self::Distroless => vec!["/sleep", SLEEP[1]],
            Self::FastApi => vec!["python3", "-m", "uvicorn", "main:app", "--app-dir", "/app"],
            Self::Patroni => vec!["patroni", "/etc/patroni/patroni.yml"],
            _ => SLEEP.to_vec(),
        }
    }

    /// The image's file, in the form that `ctr images import` takes.
    ///
    /// # Errors
    /// When it isn't there for the packages that are installed now.
    pub fn file(self, toolbox: &Toolbox) -> Result<PathBuf> {
        let file = self.place(toolbox, &Packages::installed()?)?;
        if file.is_file() { Ok(file) } else { Err(Error::missing(format!("the image {self}"))) }
    }

    /// Makes the file where it is missing, in the place of what was made of older packages; `work` is a
    /// folder on the same disk.
    pub(in super::super) fn make(self, toolbox: &Toolbox, work: &Path) -> Result<()> {
        let packages = Packages::installed()?;
        let place = self.place(toolbox, &packages)?;
        if place.is_file() {
            return Ok(());
        }
        let work = work.join(format!("image {self}"));
        let root = work.join("root");
        roots::write(self, &root)?;
        let whole = matches!(self, Self::Debian | Self::FastApi | Self::Patroni);
        let files = if whole { packages.files(&self.packages())? } else { Vec::new() };
        let made = oci::image(&self.reference(), &self.command(), &root, &files, &work)?;
        let folder = place.parent().expect("it is in a folder");
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder).context(folder.display())? {
            let entry = entry?;
            // Another checkout of the project may still want a newer one.
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if entry.file_name().to_str().is_some_and(|n| self.is_named(n)) && age > OLD {
                fs::remove_file(entry.path()).context(entry.path().display())?;
            }
        }
        fs::rename(made, &place).context(place.display())
    }

    /// The name holds a digest of all that it is made of.
    fn place(self, toolbox: &Toolbox, packages: &Packages) -> Result<PathBuf> {
        let mut content = format!("{RECIPE} {self} {:?}\n", self.command());
        content.push_str(&packages.versions(&self.packages())?);
        content.push_str(roots::content(self));
        let digest = oci::sha256(&content)?;
        Ok(toolbox.place(Tool::Nodes).join(format!("{self}-{}.tar", &digest[..DIGEST])))
    }

    /// Whether a file's name is that of this image, of whatever packages.
    fn is_named(self, name: &str) -> bool {
        let digest = name.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('-'));
        digest.is_some_and(|d| d.len() == DIGEST + ".tar".len())
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
