//! `cargo xtask demo`: the product's main job on real clusters.

mod compare;
mod console;
mod full;
mod product;
mod stack;

use crate::{Outcome, cargo};
use backup_testkit::servers::{Etcd, Patroni, Scratch, Tool, Toolbox, install};
use compare::Contents;
use console::{proved, title};
use product::Product;
use stack::{Stack, Versions};
use std::path::PathBuf;
use std::time::Instant;

/// With Kubernetes too.
pub(crate) fn run_full() -> Outcome {
    full::run()
}

pub(crate) fn run() -> Outcome {
    let started = Instant::now();
    let toolbox = Toolbox::open()?;
    title("What the demonstration needs");
    let versions = versions(&toolbox)?;
    title("Building ha-backup");
    let program = build(&toolbox, "etcd,postgres")?;

    title("Starting a stack: etcd with three members, Patroni with three nodes, sample data");
    let scratch = Scratch::new()?;
    let source = Stack::start(versions)?;
    source.load()?;
    let before = Contents::read(&source)?;
    println!("it holds {before}");
    let product = Product::new(program, &scratch, source.patroni.password())?;
    let config = product.configure("crm.toml", &source)?;

    title("Backing up");
    product.run(&config, &["init"])?;
    product.run(&config, &["check"])?;
    proved("every etcd member, Patroni's leader and the store can be reached");
    product.run(&config, &["backup"])?;
    proved("one recovery point of etcd and PostgreSQL is committed");
    product.run(&config, &["list"])?;
    product.run(&config, &["verify", "latest", "--level", "content"])?;
    proved("every stored byte has its checksum, and each artifact was read as what it is");

    title("A bad day: the newest data is destroyed");
    source.destroy()?;

    title("Restoring etcd into a second cluster, and PostgreSQL into a second Patroni cluster on top of it");
    let restored = product.restore(versions)?;

    title("Comparing");
    let after = Contents::read(&restored)?;
    before.same_as(&after)?;
    proved(&format!("the restored clusters hold what was backed up: {after}"));
    let hashes = restored.etcd.hash_kv(restored.etcd.revision()?)?;
    if hashes.iter().any(|h| *h != hashes[0]) {
        return Err(format!("the restored etcd's members differ: HashKV {hashes:?}").into());
    }
    proved(&format!("the restored etcd's {} members hold the same: HashKV {}", hashes.len(), hashes[0]));

    title("Drilling: the session is restored once more, into a throwaway place, looked at and thrown away");
    product.drill(&source, &config)?;
    proved("both were restored for real, no rung failed, and the evidence stands beside the session");

    title("Stopping everything");
    drop((restored, source, product, scratch));
    println!("done in {} s", started.elapsed().as_secs());
    println!(
        "Kubernetes had no part in it: `cargo xtask demo --full`, as root, shows applications in a real cluster"
    );
    Ok(())
}

/// What is there of the versions that would do, or else the usual ones, installed.
fn versions(toolbox: &Toolbox) -> Result<Versions, Box<dyn std::error::Error>> {
    let etcd = Etcd::ALL.into_iter().rev().find(|v| toolbox.etcd(*v).is_ok()).unwrap_or(Etcd::V35);
    let postgres = toolbox.postgres_all().into_keys().next_back().unwrap_or(15);
    let either = [Patroni::V4, Patroni::V3];
    let patroni = either.into_iter().find(|v| toolbox.patroni(*v).is_ok()).unwrap_or(Patroni::V4);
    let needed = [Tool::Protoc, Tool::Etcd(etcd), Tool::Postgres(postgres), Tool::Patroni(patroni)];
    install(toolbox, &needed, &mut |line| println!("{line}"))?;
    let names: Vec<_> = needed.iter().map(Tool::to_string).collect();
    println!("installed: {}", names.join(", "));
    Ok(Versions { etcd, postgres, patroni })
}

/// Only the features that are driven here: the build is a part of the demonstration's time.
fn build(toolbox: &Toolbox, kinds: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let features = ["-p", "backup-cli", "--bin", "ha-backup", "--no-default-features"];
    cargo::build(toolbox, &[&features[..], &["--features", kinds]].concat())
}
