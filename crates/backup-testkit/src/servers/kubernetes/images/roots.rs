//! What images hold besides the files of packages.

use super::super::super::error::{Context, Result};
use super::super::super::process::run;
use super::Image;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// The static one, of Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";
const DASH: &str = "/bin/dash";
/// All that [`Image::NoTar`] has besides a shell.
const NO_TAR: &str = "cat chmod chown cut dd env find head id ln ls mkdir mv readlink rm sha256sum sleep sort stat \
                      test touch tr true wc";
const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
";
const GROUP: &str = "root:x:0:\npostgres:x:104:\nnogroup:x:65534:\n";

/// What is in an image and not in the list of its packages.
pub(super) fn content(image: Image) -> &'static str {
    match image {
        Image::FastApi => include_str!("fastapi.py"),
        Image::NoTar => NO_TAR,
        _ => "",
    }
}

/// Writes the folder that stands for `/`, without the files of packages.
pub(super) fn write(image: Image, root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    match image {
        Image::Pause | Image::Busybox => {
            skeleton(root)?;
            busybox(&root.join("bin"), "busybox", &applets()?)
        }
        // busybox under its own name could be asked for tar, and so could its shell.
        Image::NoTar => {
            skeleton(root)?;
            busybox(&root.join("bin"), "cat", &NO_TAR.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
            dash(root)
        }
        Image::Distroless => busybox(root, "sleep", &[]),
        Image::Debian | Image::FastApi | Image::Patroni => debian(image, root),
    }
}

fn debian(image: Image, root: &Path) -> Result<()> {
    for folder in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    skeleton(root)?;
    if image == Image::FastApi {
        fs::create_dir(root.join("app"))?;
        fs::write(root.join("app/main.py"), content(image))?;
    }
    Ok(())
}

fn skeleton(root: &Path) -> Result<()> {
    for folder in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var/tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for open in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(open), Permissions::from_mode(0o1777))?;
    }
    fs::write(root.join("etc/passwd"), PASSWD)?;
    Ok(fs::write(root.join("etc/group"), GROUP)?)
}

/// busybox under one name, and links to it.
fn busybox(bin: &Path, name: &str, links: &[String]) -> Result<()> {
    fs::copy(BUSYBOX, bin.join(name)).context(BUSYBOX)?;
    links.iter().filter(|link| *link != name).try_for_each(|link| Ok(symlink(name, bin.join(link))?))
}

/// dash as the shell, with its libraries.
fn dash(root: &Path) -> Result<()> {
    fs::copy(DASH, root.join("bin/sh")).context(DASH)?;
    let list = run(Command::new("ldd").arg(DASH), "ldd")?;
    for library in list.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().expect("a library is in a folder"))?;
        fs::copy(library, copy).context(library)?;
    }
    Ok(())
}

fn applets() -> Result<Vec<String>> {
    let list = run(Command::new(BUSYBOX).arg("--list"), "busybox --list")?;
    Ok(list.lines().map(str::to_owned).collect())
}
