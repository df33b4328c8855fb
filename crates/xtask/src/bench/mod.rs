//! `cargo xtask bench`: ha-backup beside the scripts' pipeline and named peers, in interleaved rounds.

mod data;
mod kubernetes;
mod measure;
mod report;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, PostgresServer, Scratch};

use measure::{Measured, measure};
use report::Table;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What `cargo xtask bench` was asked for.
struct Options {
    rounds: usize,
    sql_mb: u64,
    etcd_mb: u64,
    large: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self { rounds: 5, sql_mb: 520, etcd_mb: 110, large: true };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut number = || -> Outcome<u64> { Ok(words.next().ok_or("a number is missing")?.parse()?) };
            match word.as_str() {
                "--rounds" => options.rounds = usize::try_from(number()?)?.max(1),
                "--sql-mb" => options.sql_mb = number()?,
                "--etcd-mb" => options.etcd_mb = number()?,
                "--no-large" => options.large = false,
                _ => {
                    return Err(format!(
                        "bench: unknown option {word}; --rounds --sql-mb --etcd-mb --no-large, or --kubernetes alone"
                    )
                    .into());
                }
            }
        }
        Ok(options)
    }
}

/// The servers under test and everything that the cases need.
struct Bench {
    program: PathBuf,
    etcd: EtcdCluster,
    postgres: PostgresServer,
    scratch: Scratch,
}

/// Runs the benchmark with the release build of the product at `program`.
pub(crate) fn run(program: &Path, arguments: &[String]) -> Outcome<()> {
    if arguments == ["--kubernetes"] {
        return kubernetes::run(program);
    }
    let options = Options::parse(arguments)?;
    let etcd = EtcdCluster::start(3, Etcd::V35, EtcdOptions::default())?;
    data::fill_etcd(&etcd, options.etcd_mb)?;
    let postgres = PostgresServer::start(15)?;
    data::fill_postgres(postgres.sql(), options.sql_mb)?;
    let bench = Bench { program: program.to_owned(), etcd, postgres, scratch: Scratch::new()? };
    bench.write_configs()?;
    let mut table = Table::default();
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        bench.round(&mut table)?;
    }
    table.print();
    bench.print_memory(&options)
}

impl Bench {
    fn folder(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn write_configs(&self) -> Outcome<()> {
        for (codec, components) in
            [("gzip", "all"), ("zstd", "all"), ("zstd", "postgres"), ("gzip", "postgres"), ("gzip", "etcd")]
        {
            let folder = self.folder(&format!("{codec}-{components}"));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("ha-backup.toml"), self.config(&folder, codec, components))?;
            measure(&self.ha_backup(&folder, "init"), &[])?;
        }
        Ok(())
    }

    fn config(&self, folder: &Path, codec: &str, components: &str) -> String {
        let mut text = format!(
            "name = \"bench\"\n[compression]\ncodec = \"{codec}\"\n[[store]]\nkind = \"local\"\npath = \"{}\"\n",
            folder.join("store").display()
        );
        if components != "postgres" {
            text += &format!("[[component]]\nkind = \"etcd\"\nendpoints = {:?}\n", self.etcd.endpoints());
        }
        if components != "etcd" {
            text += &format!(
                "[[component]]\nkind = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"postgres\"\npassword = {:?}\n",
                self.postgres.port(),
                self.postgres.sql().password
            );
        }
        text
    }

    fn ha_backup(&self, folder: &Path, command: &str) -> String {
        format!("{} --config {}/ha-backup.toml -q {command}", self.program.display(), folder.display())
    }

    /// Every case once, side by side in time, so that a busy machine slows them alike.
    fn round(&self, table: &mut Table) -> Outcome<()> {
        let (work, environment) = (self.folder("scripts"), self.environment());
        let run = |command: &str| measure(command, &environment);
        fs::create_dir_all(&work)?;
        let etcdctl = self.etcd.tools().etcdctl.display();
        let tools = &self.postgres.sql().tools;
        let (dumpall, dump) = (tools.program("pg_dumpall"), tools.program("pg_dump"));
        let w = work.display();

        let save = format!(
            "ETCDCTL_API=3 {etcdctl} --endpoints {} snapshot save {w}/etcd.db >/dev/null 2>&1",
            self.etcd.endpoints()[0]
        );
        let etcd = run(&format!("{save} && gzip -6 -f {w}/etcd.db"))?.output(&work.join("etcd.db.gz"))?;
        let pg = run(&format!("{} | gzip -6 > {w}/pg.sql.gz", dumpall.display()))?
            .output(&work.join("pg.sql.gz"))?;
        let tar = run(&format!("tar czf {w}/unified.tar.gz -C {w} etcd.db.gz pg.sql.gz"))?
            .output(&work.join("unified.tar.gz"))?;
        table.add("scripts: etcdctl snapshot save, gzip -6", &etcd);
        table.add("scripts: pg_dumpall | gzip -6", &pg);
        table.add("scripts: tar czf of both", &tar);
        table.add("scripts: whole", &etcd.then(&pg).then(&tar));

        for codec in ["gzip", "zstd"] {
            let folder = self.folder(&format!("{codec}-all"));
            let whole = run(&self.ha_backup(&folder, "backup"))?.output(&folder.join("store"))?;
            table.add(&format!("ha-backup: whole, {codec}"), &whole);
            if codec == "gzip" {
                let verify = run(&self.ha_backup(&folder, "verify --level checksum"))?;
                table.add("ha-backup: verify --level checksum", &verify);
                let objects = format!(
                    "find {}/store -type f -path '*_20*' | xargs sha256sum > /dev/null",
                    folder.display()
                );
                table.add("sha256sum of the same files", &run(&objects)?);
            }
            self.clear(&folder)?;
        }
        let peer = run(&format!("{} | zstd -q -T2 -3 -f -o {w}/pg.sql.zst", dumpall.display()))?;
        table.add("pg_dumpall | zstd -T2 -3", &peer.output(&work.join("pg.sql.zst"))?);
        let alone = format!("for d in postgres bench; do {} $d; done > /dev/null", dump.display());
        table.add("pg_dump alone", &run(&alone)?);
        for codec in ["zstd", "gzip"] {
            let folder = self.folder(&format!("{codec}-postgres"));
            let ours = run(&self.ha_backup(&folder, "backup"))?.output(&folder.join("store"))?;
            table.add(&format!("ha-backup: postgres, {codec}"), &ours);
            self.clear(&folder)?;
        }
        let plain = work.join("plain.sql");
        let text = run(&format!("{} > {}", dumpall.display(), plain.display()))?.output(&plain)?;
        table.add("plain dump text", &text);
        table.add("zstd -T2 -3 alone", &run(&format!("zstd -q -T2 -3 -c {} > /dev/null", plain.display()))?);
        fs::remove_file(plain)?;
        Ok(())
    }

    /// A session's files would make the next round list more: each begins with an empty repository.
    fn clear(&self, folder: &Path) -> Outcome<()> {
        fs::remove_dir_all(folder.join("store"))?;
        measure(&self.ha_backup(folder, "init"), &[])?;
        Ok(())
    }

    /// The programs of the peers find the server by these.
    fn environment(&self) -> Vec<(String, String)> {
        let sql = self.postgres.sql();
        let mut environment = sql.tools.env();
        environment.extend([
            ("PGHOST".to_owned(), "127.0.0.1".to_owned()),
            ("PGPORT".to_owned(), self.postgres.port().to_string()),
            ("PGUSER".to_owned(), "postgres".to_owned()),
            ("PGPASSWORD".to_owned(), sql.password.clone()),
        ]);
        environment
    }

    /// Peak memory at two sizes, above what the program needs to do nothing.
    fn print_memory(&self, options: &Options) -> Outcome<()> {
        // A query that does nothing for long enough to be seen: the base of every command.
        let idle = measure(&self.ha_backup(&self.folder("gzip-all"), "check"), &[])?;
        println!("\npeak memory of our process, MiB above its idle base of {:.1}", idle.peak_mib);
        let mut sizes = vec![100];
        if options.large {
            sizes.push(2048);
        }
        for mib in sizes {
            let folder = self.folder("memory");
            fs::create_dir_all(folder.join("data"))?;
            data::write_file(&folder.join("data/file"), mib << 20)?;
            let config = format!(
                "name = \"bench\"\n[[store]]\nkind = \"local\"\npath = \"{0}/store\"\n[[component]]\nkind = \"files\"\npath = \"{0}/data\"\n",
                folder.display()
            );
            fs::write(folder.join("ha-backup.toml"), config)?;
            measure(&self.ha_backup(&folder, "init"), &[])?;
            let backup = measure(&self.ha_backup(&folder, "backup"), &[])?;
            let verify = measure(&self.ha_backup(&folder, "verify --level content"), &[])?;
            println!(
                "  files of {mib} MiB: backup {:.1}, verify --level content {:.1}",
                backup.peak_mib - idle.peak_mib,
                verify.peak_mib - idle.peak_mib
            );
            fs::remove_dir_all(&folder)?;
        }
        Ok(())
    }
}
