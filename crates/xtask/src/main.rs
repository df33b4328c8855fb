//! `cargo xtask`: what a developer runs, with nothing but cargo to learn.

mod bench;
mod cargo;
mod demo;

use backup_testkit::servers::{Tool, Toolbox, install};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  setup          install what the tests need (says what, first): etcd, PostgreSQL, Patroni, protoc, openssl, age
  env            print that environment for a shell: eval \"$(cargo xtask env)\", then cargo build and the like
  test [ARGS]    set up, then run all tests; ARGS go to cargo test, as in `cargo xtask test -p backup-etcd`
  demo           set up, then back up real clusters, restore them into others and compare, in a few minutes
  bench [ARGS]   set up, then measure beside the peers, which must be there: pigz and zstd
Installed things are kept in HA_BACKUP_CACHE [default: /var/cache/ha-backup for root, else ~/.cache/ha-backup].";

/// What a command ends with: a message for the user.
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.split_first().map(|(command, rest)| (command.as_str(), rest)) {
        Some(("setup", [])) => setup(),
        Some(("env", [])) => env(),
        Some(("test", rest)) => test(rest),
        Some(("demo", [])) => demo::run(),
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
    install(&toolbox, &Tool::all(), &mut |line| eprintln!("{line}"))?;
    eprintln!("all that the tests need is installed ({})", toolbox.cache().display());
    Ok(())
}

fn env() -> Outcome {
    for (name, value) in cargo::environment(&Toolbox::open()?)? {
        println!("export {name}='{}'", value.replace('\'', "'\\''"));
    }
    Ok(())
}

fn test(args: &[String]) -> Outcome {
    setup()?;
    let one_package = args.iter().take_while(|a| *a != "--").any(|a| a == "-p" || a.starts_with("--package"));
    let mut all = vec!["test", "--no-fail-fast"];
    if !one_package {
        all.extend(["--workspace", "--all-features"]);
    }
    all.extend(args.iter().map(String::as_str));
    cargo::run(&Toolbox::open()?, &all)
}

fn bench(args: &[String]) -> Outcome {
    setup()?;
    let program = cargo::build(&Toolbox::open()?, &["--release", "-p", "backup-cli"])?;
    bench::run(&program, args)
}
