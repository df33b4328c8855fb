//! The files of Debian packages that are installed here, with all that they depend on.

use super::super::super::error::{Error, Result};
use super::super::super::process::run;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Below `/usr/share`; nothing runs differently without these.
const LEFT_OUT: [&str; 7] = ["doc", "man", "locale", "i18n", "info", "lintian", "bug"];
/// PostgreSQL's just-in-time compiler: half the size of its image.
const COMPILER: [&str; 4] = ["libllvm", "libz3-", "llvmjit", "/bitcode/"];

/// What is installed.
pub(super) struct Packages {
    all: BTreeMap<String, Package>,
}

struct Package {
    version: String,
    depends: Vec<String>,
}

impl Packages {
    pub(super) fn installed() -> Result<Self> {
        let mut query = Command::new("dpkg-query");
        query.args(["-W", "-f", "${db:Status-Status}\t${Package}\t${Version}\t${Depends},${Pre-Depends}\n"]);
        Ok(Self::read(&run(&mut query, "dpkg-query")?))
    }

    fn read(table: &str) -> Self {
        let rows = table.lines().filter_map(|l| l.strip_prefix("installed\t")).filter_map(|l| {
            let mut fields = l.split('\t');
            let (name, version) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            // Of alternatives all that are installed are taken.
            let names =
                fields.next()?.split([',', '|']).map(|d| d.split(['(', ':', '[']).next().unwrap_or(d).trim());
            let depends = names.filter(|n| !n.is_empty()).map(str::to_owned).collect();
            Some((name, Package { version, depends }))
        });
        Self { all: rows.collect() }
    }

    /// These packages and all that they depend on, without those of which another has taken the place.
    fn closure<'a>(&'a self, names: &'a [&'a str]) -> Result<BTreeSet<&'a str>> {
        let missing: Vec<_> = names.iter().filter(|n| !self.all.contains_key(**n)).copied().collect();
        if !missing.is_empty() {
            return Err(Error::missing(format!("what images are made of ({})", missing.join(" "))));
        }
        let (mut seen, mut todo) = (BTreeSet::new(), names.to_vec());
        while let Some(name) = todo.pop() {
            if let Some(package) = self.all.get(name)
                && !COMPILER.iter().any(|part| name.starts_with(part))
                && seen.insert(name)
            {
                todo.extend(package.depends.iter().map(String::as_str));
            }
        }
        Ok(seen)
    }

    /// Which packages, in which versions, [`Packages::files`] takes.
    pub(super) fn versions(&self, names: &[&str]) -> Result<String> {
        let all = self.closure(names)?;
        Ok(all.iter().map(|n| format!("{n} {}\n", self.all[*n].version)).collect())
    }

    /// The paths of their files and links below `/`, and of folders with compiled Python.
    pub(super) fn files(&self, names: &[&str]) -> Result<Vec<String>> {
        let mut list = Command::new("dpkg-query");
        list.arg("-L").args(self.closure(names)?);
        let listed = run(&mut list, "dpkg-query -L")?;
        let wanted = listed.lines().filter(|l| !is_left_out(l)).map(Path::new);
        let there = wanted.filter(|p| fs::symlink_metadata(p).is_ok_and(|m| m.is_file() || m.is_symlink()));
        let files: BTreeSet<_> = there.map(Path::to_owned).collect();
        let sources = files.iter().filter(|p| p.extension().is_some_and(|e| e == "py"));
        let compiled: BTreeSet<_> = sources.filter_map(|p| Some(p.parent()?.join("__pycache__"))).collect();
        let all = files.iter().chain(compiled.iter().filter(|p| p.is_dir()));
        Ok(all.filter_map(|path| in_usr(path)).collect())
    }
}

fn is_left_out(path: &str) -> bool {
    let share = path.strip_prefix("/usr/share/").and_then(|rest| rest.split('/').next());
    share.is_some_and(|folder| LEFT_OUT.contains(&folder)) || COMPILER.iter().any(|part| path.contains(part))
}

/// `bin/sh` is `usr/bin/sh`: in the image, as here, `/bin` is a link, which is there already.
fn in_usr(path: &Path) -> Option<String> {
    let path = path.to_str()?.strip_prefix('/')?;
    let (first, _) = path.split_once('/')?;
    let moved = ["bin", "sbin", "lib", "lib64"].contains(&first);
    Some(if moved { format!("usr/{path}") } else { path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Packages, in_usr, is_left_out};

    #[test]
    fn a_package_brings_what_it_depends_on_and_nothing_that_is_not_installed() {
        let table = "installed\tapp\t2\tlibc6 (>= 2.3), mail | python3:any,init [amd64]\n\
                     installed\tlibc6\t1\t,\ninstalled\tpython3\t3\tapp,\nconfig-files\tmail\t1\t,\n\
                     installed\tother\t1\t,\n";
        let packages = Packages::read(table);
        assert_eq!(packages.versions(&["app"]).expect("it is there"), "app 2\nlibc6 1\npython3 3\n");
        let error = packages.versions(&["mail"]).expect_err("it is not installed").to_string();
        assert!(error.contains("mail") && error.contains("cargo xtask setup"), "{error}");
    }

    #[test]
    fn paths_are_those_of_a_merged_usr_without_documentation() {
        assert_eq!(in_usr("/bin/sh".as_ref()).as_deref(), Some("usr/bin/sh"));
        assert_eq!(in_usr("/etc/hosts".as_ref()).as_deref(), Some("etc/hosts"));
        assert_eq!(in_usr("/bin".as_ref()), None, "a link, not all that it leads to");
        assert!(is_left_out("/usr/share/doc/bash/README") && !is_left_out("/usr/share/zoneinfo/UTC"));
        assert!(is_left_out("/usr/lib/postgresql/15/lib/bitcode/postgres.index.bc"));
    }
}
