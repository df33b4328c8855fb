//! PostgreSQL's own programs: which one, and how it is told where to connect.

use backup_core::{
    traits::{Command, Place},
    words::{Error, ErrorKind, Result},
};

use crate::{config::Config, connect::Leader, sql::connection_string};

/// How many majors beyond the server's are looked for in the usual folders.
const NEWER: u32 = 5;

/// A program that is new enough for the server.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    /// The program's path, or its name in the search path.
    pub(crate) program: String,
    /// "15.18".
    pub(crate) version: String,
    /// 15.
    pub(crate) major: u32,
}

impl Tool {
    /// Finds `name`, of the server's own major version or newer; the server's own is preferred.
    pub(crate) async fn find(leader: &Leader, name: &str) -> Result<Self> {
        let server = leader.server();
        let configured: Vec<String> =
            server.config.bin_folders.iter().map(|folder| folder.join(name).display().to_string()).collect();
        let mut seen = Vec::new();
        for program in configured.into_iter().chain(usual_places(name, leader.major)) {
            match Self::look(&*leader.place, &program).await {
                Ok(Some(tool)) if tool.major >= leader.major => return Ok(tool),
                Ok(Some(tool)) => seen.push(format!("{} is {}", tool.program, tool.version)),
                Ok(None) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => seen.push(format!("{program}: {}", e.chain())),
            }
        }
        let found = if seen.is_empty() { "none found".to_owned() } else { seen.join(", ") };
        let hint = if leader.beside {
            format!("it must be on {}: name its folder there in `bin_folders`", leader.place.name())
        } else {
            format!(
                "install the package postgresql-client-{} (Debian has its own version; apt.postgresql.org has all), \
                 or name its folder in `bin_folders`",
                leader.major
            )
        };
        Err(Error::new(ErrorKind::NotFound, "find the program", format!("{name} {} or newer", leader.major))
            .detail(found)
            .hint(hint))
    }

    /// The program of the same name family in the same folder: pg_dumpall beside pg_dump.
    pub(crate) fn sibling(&self, name: &str) -> String {
        match self.program.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        }
    }

    /// The program at that path or of that name, when it is one of PostgreSQL's.
    pub(crate) async fn look(place: &dyn Place, program: &str) -> Result<Option<Self>> {
        let output = place.output(&Command::new(program).arg("--version")).await?;
        let text = String::from_utf8_lossy(&output);
        Ok(read_version(&text).map(|(version, major)| Self { program: program.to_owned(), version, major }))
    }
}

/// Debian's and PGDG's folders of the server's own major, the search path, then the folders of newer majors.
fn usual_places(name: &str, major: u32) -> Vec<String> {
    let folders = |major: u32| {
        [format!("/usr/lib/postgresql/{major}/bin/{name}"), format!("/usr/pgsql-{major}/bin/{name}")]
    };
    let own = folders(major).into_iter();
    own.chain([name.to_owned()]).chain((major + 1..=major + NEWER).flat_map(folders)).collect()
}

/// "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" as ("15.18", 15); "18beta1" is 18.
fn read_version(text: &str) -> Option<(String, u32)> {
    let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    Some((version.to_owned(), version[..digits].parse().ok()?))
}

/// A program that connects to `database` of `leader`. Nothing secret is in its arguments.
pub(crate) fn client(program: &str, leader: &Leader, database: &str) -> Command {
    let config = &leader.server().config;
    let host = if leader.beside { "localhost" } else { &leader.address.host };
    let target = target(host, leader.address.port, &config.user, database, config.connect_timeout_seconds);
    let command = Command::new(program)
        .arg(format!("--dbname={target}"))
        .arg("--no-password")
        .env("PGAPPNAME", "ha-backup");
    let command = protect(command, config, leader.beside);
    match leader.password() {
        Some(password) => command.secret("PGPASSWORD", password.clone()),
        None => command,
    }
}

/// How the connection is protected. On the leader's own host there is nobody between, and none of our certificates.
fn protect(command: Command, config: &Config, beside: bool) -> Command {
    if beside {
        return command.env("PGSSLMODE", config.sslmode.unchecked().as_str());
    }
    let command = command.env("PGSSLMODE", config.sslmode.as_str());
    #[cfg(feature = "tls")]
    let command = [("PGSSLROOTCERT", &config.ca), ("PGSSLCERT", &config.cert), ("PGSSLKEY", &config.key)]
        .into_iter()
        .filter_map(|(name, file)| Some((name, file.as_ref()?.display().to_string())))
        .fold(command, |command, (name, file)| command.env(name, file));
    command
}

/// The connection string. A peer that has vanished is noticed within a minute, not after two hours.
fn target(host: &str, port: u16, user: &str, database: &str, timeout: u64) -> String {
    connection_string(&[
        ("host", host),
        ("port", &port.to_string()),
        ("user", user),
        ("dbname", database),
        ("connect_timeout", &timeout.max(2).to_string()),
        ("keepalives_idle", "20"),
        ("keepalives_interval", "10"),
        ("keepalives_count", "4"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_packager() {
        assert_eq!(read_version("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0)\n"), Some(("15.18".into(), 15)));
        assert_eq!(read_version("psql (PostgreSQL) 18beta1\n"), Some(("18beta1".into(), 18)));
        assert_eq!(read_version("something else 1.0"), None);
    }

    #[test]
    fn the_servers_own_major_is_looked_for_before_the_search_path_and_newer_ones_last() {
        let places = usual_places("pg_dump", 15);
        assert_eq!(places[0], "/usr/lib/postgresql/15/bin/pg_dump");
        assert_eq!(places[2], "pg_dump");
        assert!(places[3].contains("16") && places.last().unwrap().contains("20"));
    }
}
