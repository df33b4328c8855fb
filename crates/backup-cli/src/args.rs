//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use backup_core::words::{SessionType, TimeLength};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::help;

/// Backs up a whole high-availability stack as one recovery point, proves that it can be restored, and restores it.
#[derive(Debug, Parser)]
#[command(name = "ha-backup", version, max_term_width = 100, after_help = help::ALL)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// The configuration [default: ./ha-backup.toml, else /etc/ha-backup/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = crate::config::VARIABLE)]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON: one document for queries, one line for each message of long work
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on standard error; twice and thrice for more still
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// How logs are written on standard error [default: text; the daemon writes JSON where there is no terminal and no journal]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub(crate) log_format: Option<crate::config::LogFormat>,
    /// An identity file that opens encrypted sessions, besides those of the configuration; may be given several times
    #[cfg(feature = "encryption")]
    #[arg(long = "identity", global = true, value_name = "FILE")]
    pub(crate) identities: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented configuration where there is none, and create the repository in its stores
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Reach every component and every store; say what is wrong and how to mend it
    Check,
    /// Make a recovery point
    #[command(after_help = help::BACKUP)]
    Backup(BackupArgs),
    /// Short for `backup daily`
    Daily(RunArgs),
    /// Short for `backup weekly`
    Weekly(RunArgs),
    /// Short for `backup monthly`
    Monthly(RunArgs),
    /// Short for `backup yearly`
    Yearly(RunArgs),
    /// Run a job as its schedule does; with -q nothing is printed when it ends well
    #[command(after_help = help::RUN)]
    Run(JobArgs),
    /// Run the jobs by their schedules, until it is told to stop
    #[command(after_help = help::DAEMON)]
    Daemon(DaemonArgs),
    /// Show how the backups stand in a browser, until it is told to stop
    #[command(after_help = help::SERVE)]
    Serve(ServeArgs),
    /// When the jobs run, and who runs them
    Schedule {
        #[command(subcommand)]
        command: crate::commands::ScheduleCommand,
    },
    /// List the sessions
    #[command(after_help = help::LIST)]
    List {
        /// Those that were purged, hidden or written over, as far as their bytes are still there
        #[arg(long)]
        removed: bool,
    },
    /// Show what a session holds
    #[command(after_help = help::SHOW)]
    Show {
        #[command(flatten)]
        session: SessionArg,
    },
    /// Print the report of a session, or of a period
    #[command(after_help = help::REPORT)]
    Report(ReportArgs),
    /// How the backups stand: newest sessions, their age and sizes, space, problems, next runs
    #[command(after_help = help::STATUS)]
    Status(StatusArgs),
    /// Whether the backups are well: one line for each check; with -q only what is wrong
    #[command(after_help = help::HEALTH)]
    Health(HealthArgs),
    /// How the backups stand in numbers, for Prometheus
    #[command(after_help = help::METRICS)]
    Metrics(MetricsArgs),
    /// Try how people are told of problems
    Alert {
        #[command(subcommand)]
        command: crate::commands::AlertCommand,
    },
    /// Read sessions back and hold them against their manifests
    #[command(after_help = help::VERIFY)]
    Verify(VerifyArgs),
    /// Restore a session for real into a throwaway place, look at what came of it, keep the evidence
    #[command(after_help = help::DRILL)]
    Drill(DrillArgs),
    /// Restore a component, or all of them in the right order
    #[command(after_help = help::RESTORE)]
    Restore(RestoreArgs),
    /// Write the plain files of a session into a folder
    #[command(after_help = help::EXTRACT)]
    Extract(ExtractArgs),
    /// Remove what retention no longer keeps, and what dead runs left
    #[command(after_help = help::CLEANUP)]
    Cleanup {
        /// Say what would be kept and removed, and why; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Fill or heal a store: copy a session to it, or all that it lacks and would keep
    #[command(after_help = help::COPY)]
    Copy(CopyArgs),
    /// Keep a session, whatever retention says
    #[command(after_help = help::PIN)]
    Pin(PinArgs),
    /// Leave a pinned session to retention again
    Unpin(PinArgs),
    /// Adopt the files that the old shell scripts made, as sessions, where they stand
    #[command(after_help = help::IMPORT)]
    Import(ImportArgs),
    /// Make a key pair: write the identity (the secret key) to a file and print the public key
    #[cfg(feature = "encryption")]
    #[command(after_help = help::KEYGEN)]
    Keygen(KeygenArgs),
    /// Write sessions once more, encrypted for the present recipients; the old ones are left to retention
    #[cfg(feature = "encryption")]
    #[command(after_help = help::REWRAP)]
    Rewrap(RewrapArgs),
    /// Print the completions for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    #[command(after_help = help::MAN)]
    Man {
        /// That of this command [default: that of the program]
        command: Option<String>,
        /// Write all of them into this folder, which must be there
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        to: Option<PathBuf>,
    },
    /// The configuration: whether it is right, what it means, and its JSON Schema
    #[command(after_help = help::CONFIG)]
    Config {
        #[command(subcommand)]
        command: crate::commands::ConfigCommand,
    },
    /// What an exit code or a kind of error means, and what to do
    #[command(after_help = help::EXPLAIN)]
    Explain {
        /// An exit code, or the `kind` of an error as --json prints it [default: list them]
        code: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Look around and write down what is found: etcd, Patroni, a Kubernetes; on this host, and on those that are named
    #[arg(long, value_name = "HOST[:PORT]", num_args = 0..)]
    pub(crate) detect: Option<Vec<String>>,
    /// Ask what the configuration is to hold
    #[arg(long)]
    pub(crate) wizard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SessionArg {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    #[arg(default_value = "latest")]
    pub(crate) session: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    #[arg(default_value = "latest")]
    pub(crate) session: String,
    /// How the backups did in a period: week, month, quarter or year (the last whole one), 2026, 2026-Q1, 2026-03, 2026-W09, or FROM..TO as 2026-03-01..2026-03-15
    #[arg(long, value_name = "PERIOD", conflicts_with = "session")]
    pub(crate) period: Option<String>,
    /// Print a page for a browser, which needs nothing besides
    #[arg(long, conflicts_with = "json")]
    pub(crate) html: bool,
    /// Print the sessions of the period for a spreadsheet
    #[arg(long, requires = "period", conflicts_with_all = ["json", "html"])]
    pub(crate) csv: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    pub(crate) session: String,
    /// Why, for those who find it pinned later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Type of the session; auto follows the job and the calendar
    #[arg(value_name = "TYPE", default_value = "auto", ignore_case = true)]
    pub(crate) session_type: TypeArg,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TypeArg {
    Auto,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl TypeArg {
    /// None for auto.
    pub(crate) fn fixed(self) -> Option<SessionType> {
        match self {
            Self::Auto => None,
            Self::Daily => Some(SessionType::Daily),
            Self::Weekly => Some(SessionType::Weekly),
            Self::Monthly => Some(SessionType::Monthly),
            Self::Yearly => Some(SessionType::Yearly),
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// The job [default: the first one in the configuration]
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Only this component of the job; may be given several times
    #[arg(long = "component", value_name = "NAME")]
    pub(crate) components: Vec<String>,
    /// Say what would be done; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait for another run of the same job instead of leaving with exit code 11
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job's name
    pub(crate) job: String,
    /// Wait for another run of the same job instead of leaving with exit code 11
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// How long what runs may go on after SIGTERM, before it is cancelled
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) grace: TimeLength,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Look again every so many seconds [default: 10], until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10", conflicts_with = "json", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) watch: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where it listens [default: that of the configuration, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Answer as a monitoring plugin: performance data, and exit codes 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    #[arg(long, conflicts_with = "json")]
    pub(crate) nagios: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// Write them into this file, whole or not at all, for node_exporter's textfile collector; its name ends in .prom
    #[arg(long, value_name = "FILE")]
    pub(crate) textfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    #[arg(default_value = "latest")]
    pub(crate) session: String,
    /// Every session
    #[arg(long, conflicts_with = "session")]
    pub(crate) all: bool,
    /// The bytes in this store [default: the nearest that holds the session]
    #[arg(long, value_name = "NAME")]
    pub(crate) store: Option<String>,
    /// How deep: size looks at lengths, checksum reads every stored byte, content reads the artifacts as their kinds do
    #[arg(long, value_enum, default_value = "checksum")]
    pub(crate) level: LevelArg,
    /// Take a session that was purged, hidden or written over since, if its bytes are still there
    #[arg(long, conflicts_with = "all")]
    pub(crate) removed: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LevelArg {
    Size,
    Checksum,
    Content,
}

#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    #[arg(default_value = "latest")]
    pub(crate) session: String,
    /// A component's name [default: all that are good in the session]
    pub(crate) component: Option<String>,
    /// Write the result as JUnit XML too
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Drill nothing: look whether FILE is the report of a drill, who signed it, and whether its session is the one in the store
    #[arg(long, value_name = "FILE", conflicts_with_all = ["session", "component", "junit"])]
    pub(crate) check: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    pub(crate) session: String,
    /// A component's name, or `all`
    pub(crate) component: String,
    /// Show the plan; change nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) plan: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// An option of the component's kind; COMPONENT tells which one, where several have it
    #[arg(long = "set", value_name = "[COMPONENT.]KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Begin anew, though an unfinished restore of the same could be resumed
    #[arg(long)]
    pub(crate) no_resume: bool,
    /// Take a session that was purged, hidden or written over since, if its bytes are still there
    #[arg(long)]
    pub(crate) removed: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    #[arg(default_value = "latest")]
    pub(crate) session: String,
    /// Every session that the store lacks and its retention would keep
    #[arg(long, conflicts_with = "session")]
    pub(crate) all: bool,
    /// The store's name
    #[arg(long, value_name = "STORE")]
    pub(crate) to: String,
}

#[cfg(feature = "encryption")]
#[derive(Debug, Args)]
pub(crate) struct RewrapArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    #[arg(default_value = "latest")]
    pub(crate) session: String,
    /// Every session that is not for these recipients yet
    #[arg(long, conflicts_with = "session")]
    pub(crate) all: bool,
}

#[cfg(feature = "encryption")]
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// The file to write; it must not be there [default: ha-backup-key.txt]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Protect the file with a passphrase: asked for, or the first line of standard input when that is no terminal
    #[arg(long)]
    pub(crate) passphrase: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// A session's id (backup_YYYYMMDD_HHMMSS), or `latest`
    pub(crate) session: String,
    /// A component's name [default: all of them]
    pub(crate) component: Option<String>,
    /// The folder to write to; made when it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Take a session that was purged, hidden or written over since, if its bytes are still there
    #[arg(long)]
    pub(crate) removed: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The folder with daily/, weekly/, monthly/ and yearly/ in it; it is the path of a local store
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The job whose sessions they become: its retention is theirs [default: the first one in the configuration]
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// The time zone of the scripts' host (IANA name): times in the files' names were made there [default: time_zone of the configuration]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// Say what would be adopted; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
