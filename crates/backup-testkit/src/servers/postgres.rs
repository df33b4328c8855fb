//! A real PostgreSQL server on loopback, and SQL by psql.

use super::error::{Context, Result};
use super::ports::Port;
use super::process::{Process, Spec, clean_command, run, run_with_input};
use super::scratch::Scratch;
use super::toolbox::{PostgresTools, Toolbox};
use super::user::User;
use super::wait::poll;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The superuser of every test server.
pub(super) const SUPERUSER: &str = "postgres";
/// Its password: one that shows whether it is quoted right everywhere. (Patroni 3 takes only ASCII.)
pub(super) const PASSWORD: &str = "pass word:'\\$";

/// Settings that make a test server quick and small. Nothing of it is meant to survive a power cut.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("shared_buffers", "32MB"),
    ("max_connections", "60"),
    ("wal_level", "replica"),
    ("min_wal_size", "64MB"),
    ("max_wal_size", "512MB"),
    ("unix_socket_directories", ""),
    // In the data folder rather than in /dev/shm, where a killed server would leave it for ever.
    ("dynamic_shared_memory_type", "mmap"),
    ("log_checkpoints", "off"),
    ("log_min_messages", "warning"),
];

/// Where a server is and how to log in; runs SQL there by psql.
#[derive(Debug, Clone)]
pub struct Sql {
    /// The programs that fit the server.
    pub tools: PostgresTools,
    /// Always on 127.0.0.1.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl Sql {
    /// Runs SQL (psql's own commands too) in a database, stopping at the first error; returns what psql
    /// prints, unaligned, without headers, fields separated by `|`.
    ///
    /// # Errors
    /// When psql reports an error.
    pub fn run(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.psql(database);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let output = run_with_input(&mut psql, sql, &format!("psql in {database}"))?;
        Ok(output.trim_end_matches('\n').to_owned())
    }

    /// psql's command line without any options; the password is in its environment.
    pub fn psql(&self, database: &str) -> Command {
        self.client("psql", database)
    }

    /// The command line of a client program (psql, pg_dump, ...) for a database.
    pub fn client(&self, program: &str, database: &str) -> Command {
        let env = [
            ("PGHOST".to_owned(), "127.0.0.1".to_owned()),
            ("PGPORT".to_owned(), self.port.to_string()),
            ("PGUSER".to_owned(), self.user.clone()),
            ("PGPASSWORD".to_owned(), self.password.clone()),
            ("PGDATABASE".to_owned(), database.to_owned()),
            ("PGCONNECT_TIMEOUT".to_owned(), "10".to_owned()),
        ];
        clean_command(&self.tools.program(program), &env)
    }

    /// The databases that take connections, templates left out, sorted.
    ///
    /// # Errors
    /// When psql fails.
    pub fn databases(&self) -> Result<Vec<String>> {
        let sql = "select datname from pg_database where datallowconn and not datistemplate order by 1";
        Ok(self.run("postgres", sql)?.lines().map(str::to_owned).collect())
    }

    /// The exact number of rows of each table and materialized view of a database, by `schema.table` as
    /// SQL would quote it.
    ///
    /// # Errors
    /// When psql fails.
    pub fn row_counts(&self, database: &str) -> Result<BTreeMap<String, u64>> {
        let rows = self.of_each_table(database, "count(*)")?;
        Ok(rows.into_iter().filter_map(|(table, n)| Some((table, n.parse().ok()?))).collect())
    }

    /// A digest of the rows of each table and materialized view of a database, whatever their order: equal
    /// digests are equal rows.
    ///
    /// # Errors
    /// When psql fails.
    pub fn table_digests(&self, database: &str) -> Result<BTreeMap<String, String>> {
        self.of_each_table(database, "md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), ''))")
    }

    fn of_each_table(&self, database: &str, value: &str) -> Result<BTreeMap<String, String>> {
        let value = value.replace('\'', "''");
        let sql = format!(
            "set search_path = pg_catalog;
            select format('select %L || ''|'' || {value} from %s t;', oid::regclass::text, oid::regclass)
            from pg_class where relkind in ('r', 'm') and relnamespace not in (select oid from pg_namespace
            where nspname ~ '^pg_' or nspname = 'information_schema') \\gexec\n"
        );
        let rows = self.run(database, &sql)?;
        let pairs = rows.lines().filter_map(|l| l.rsplit_once('|'));
        Ok(pairs.map(|(table, value)| (table.to_owned(), value.to_owned())).collect())
    }
}

/// A single server; dropping it kills it and removes its files.
#[derive(Debug)]
pub struct PostgresServer {
    sql: Sql,
    process: Process,
    data_dir: PathBuf,
    _port: Port,
    scratch: Scratch,
}

impl PostgresServer {
    /// Makes a fresh cluster of this major release and starts it.
    ///
    /// # Errors
    /// When the release is not installed, or the server doesn't come up (with its log).
    pub fn start(major: u32) -> Result<Self> {
        let tools = Toolbox::open()?.postgres(major)?;
        let user = User::for_postgres()?;
        let scratch = Scratch::new()?;
        let port = Port::reserve()?;
        let cwd = scratch.path().join("postgres");
        fs::create_dir(&cwd)?;
        let data_dir = cwd.join("data");
        init_cluster(&tools, user.as_ref(), &cwd, &data_dir)?;
        let mut args = vec!["-D".to_owned(), data_dir.display().to_string()];
        let number = port.number().to_string();
        let own = [("port", number.as_str()), ("listen_addresses", "127.0.0.1")];
        args.extend(own.iter().chain(SETTINGS).flat_map(|(k, v)| ["-c".to_owned(), format!("{k}={v}")]));
        let program = tools.program("postgres");
        let spec = Spec { name: "postgres".to_owned(), program, args, env: tools.env(), cwd, user };
        let sql =
            Sql { tools, port: port.number(), user: SUPERUSER.to_owned(), password: PASSWORD.to_owned() };
        let mut server = Self { sql, process: Process::new(spec), data_dir, _port: port, scratch };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again after [`PostgresServer::kill`] or [`PostgresServer::stop`].
    ///
    /// # Errors
    /// When it doesn't come up (with its log).
    pub fn restart(&mut self) -> Result<()> {
        wait_children_gone(&self.data_dir)?;
        self.process.start()?;
        let sql = &self.sql;
        let check = || sql.run("postgres", "select 1").map(drop).map_err(|e| e.to_string());
        self.process.wait_until("to accept connections", Duration::from_secs(60), check)
    }

    /// SIGKILL; returns when it is gone. (Its children follow by themselves.)
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM (a smart shutdown: sessions end first), then SIGKILL after 30 seconds.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop(Duration::from_secs(30))
    }

    /// How to log in, and SQL.
    pub fn sql(&self) -> &Sql {
        &self.sql
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.sql.port
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A folder of the test's own that goes with the server.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// After a postmaster was killed: waits until its children have left its System V segment, as the next
/// start demands.
pub(super) fn wait_children_gone(data_dir: &Path) -> Result<()> {
    let pid_file = fs::read_to_string(data_dir.join("postmaster.pid")).unwrap_or_default();
    let segment = pid_file.lines().nth(6).and_then(|l| l.split_whitespace().nth(1));
    let Some(segment) = segment else { return Ok(()) };
    poll("PostgreSQL's processes to end", Duration::from_secs(20), || {
        let table = fs::read_to_string("/proc/sysvipc/shm").map_err(|e| e.to_string())?;
        let rows = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
        // key, shmid, perms, size, cpid, lpid, nattch
        let attached =
            rows.filter(|r| r.get(1) == Some(&segment)).find_map(|r| r.get(6).copied().map(str::to_owned));
        match attached.as_deref() {
            None | Some("0") => Ok(()),
            Some(n) => Err(format!("{n} are attached to the shared memory {segment}")),
        }
    })
}

/// initdb as the right user, with password authentication for everybody.
fn init_cluster(tools: &PostgresTools, user: Option<&User>, cwd: &Path, data_dir: &Path) -> Result<()> {
    let password_file = cwd.join("superuser");
    fs::write(&password_file, PASSWORD).context(password_file.display())?;
    let mut initdb = clean_command(&tools.program("initdb"), &tools.env());
    initdb.arg("-D").arg(data_dir).args(["-U", SUPERUSER, "-A", "scram-sha-256", "--no-sync"]);
    initdb.args(["-E", "UTF8", "--locale=C.UTF-8", "--data-checksums"]);
    initdb.arg(format!("--pwfile={}", password_file.display())).current_dir(cwd);
    if let Some(user) = user {
        user.own(cwd)?;
        user.own(&password_file)?;
        user.apply(&mut initdb);
    }
    run(&mut initdb, "initdb").map(drop)
}
