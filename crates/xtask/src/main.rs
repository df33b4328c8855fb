//! `cargo xtask`: what a developer runs, with nothing but cargo to learn.

mod bench;
mod cargo;
mod demo;
mod tests;

use backup_testkit::servers::{Tool, Toolbox, install, is_root};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  setup          install what the tests need (says what, first): etcd, PostgreSQL, Patroni, Kubernetes,
                 object stores, protoc, openssl, age, minisign, sqlite3,
                 promtool
  env            print that environment for a shell: eval \"$(cargo xtask env)\", then cargo build and the like
  test [ARGS]    set up, then run all tests; ARGS go to cargo test, as in `cargo xtask test -p backup-etcd`.
                 With --no-pods all but those that run pods of Kubernetes, which need root
  simulate [--seeds N] [--first N] | --seed N
                 random histories of many days on a clock of their own; seeds that break an invariant are printed,
                 and one seed alone with everything that happened
  demo           set up, then back up real clusters, restore them into others and compare, in a few minutes
  demo --full    the same for applications in a real Kubernetes, which is built first (ten minutes, once); needs root
  bench [ARGS]   set up, then measure beside the peers, which must be there: pigz and zstd;
                 bench --kubernetes measures beside kubectl, as root
Installed things are kept in HA_BACKUP_CACHE [default: /var/cache/ha-backup for root, else ~/.cache/ha-backup].";

/// What a command ends with: a message for the user.
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.split_first().map(|(command, rest)| (command.as_str(), rest)) {
        Some(("setup", [])) => setup(),
        Some(("env", [])) => env(),
        Some(("test", rest)) => tests::run(rest),
        Some(("simulate", rest)) => simulate(rest),
        Some(("demo", [])) => demo::run(),
        Some(("demo", [full])) if full == "--full" => demo::run_full(),
        Some(("bench", rest)) => bench(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn setup() -> Outcome {
    let toolbox = Toolbox::open()?;
    let (for_root, mut tools): (Vec<_>, Vec<_>) = Tool::all().into_iter().partition(|t| t.needs_root());
    if is_root() {
        tools.extend(for_root);
    } else {
        eprintln!("left out, as only root can run them: Kubernetes nodes, and so pods");
    }
    install(&toolbox, &tools, &mut |line| eprintln!("{line}"))?;
    eprintln!("all that the tests need is installed ({})", toolbox.cache().display());
    Ok(())
}

fn env() -> Outcome {
    for (name, value) in cargo::environment(&Toolbox::open()?)? {
        println!("export {name}='{}'", value.replace('\'', "'\\''"));
    }
    Ok(())
}

fn simulate(args: &[String]) -> Outcome {
    let example = ["--release", "-p", "backup-testkit", "--features", "suites", "--example", "simulate"];
    let program = cargo::build(&Toolbox::open()?, &example)?;
    let status = std::process::Command::new(program).args(args).status()?;
    if status.success() { Ok(()) } else { Err("the simulation did not end well".into()) }
}

fn bench(args: &[String]) -> Outcome {
    setup()?;
    let program = cargo::build(&Toolbox::open()?, &["--release", "-p", "backup-cli"])?;
    bench::run(&program, args)
}
