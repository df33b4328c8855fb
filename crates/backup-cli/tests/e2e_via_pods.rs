//! PostgreSQL in pods, with nothing of PostgreSQL on this host, from `init` to a restore. Needs root.

mod e2e;
mod support;

use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, PatroniPods, SampleData};
use e2e::{config, ended, watcher::Watcher};
use support::{Bench, Ran};

/// In the password of every server of the harness, and nowhere else.
const MARK: &str = "pass word";
const COUNTS: &str = "select count(*), sum(id) from crm.contacts";

/// Runs the binary where it finds no program at all.
fn run(bench: &Bench, args: &[&str]) -> Ran {
    bench.ran(&bench.command(args).env("PATH", "/nothing").output().unwrap())
}

#[test]
fn a_cluster_in_pods_is_backed_up_and_restored_with_its_own_programs() {
    let mut cluster = KubernetesCluster::start(3, KubernetesOptions::default()).unwrap();
    let pods = PatroniPods::start(&mut cluster, "db", "crm").unwrap();
    let leader = pods.wait_ready(&cluster).unwrap();
    let psql = |database: &str, sql: &str| pods.psql(&cluster, &leader, database, sql).unwrap();
    psql("postgres", &SampleData::default().script());
    let before = psql("crm", COUNTS);
    let mut bench = Bench::empty();
    let section = format!(
        "[[component]]\nkind = \"postgres\"\npassword = {{ env = {:?} }}\nport = {}\npatroni_port = {}\n\
         via = {{ namespace = \"db\", selector = {:?}, kubeconfig = {:?} }}\n",
        config::PG_PASSWORD,
        pods.postgres,
        pods.rest,
        pods.selector(),
        cluster.kubeconfig(),
    );
    config::write(&mut bench, &[section]);

    let mut fresh = Bench::empty();
    fresh.env("KUBECONFIG", &cluster.kubeconfig().display().to_string());
    let found = run(&fresh, &["init", "--detect"]).exits(0).stdout;
    assert!(found.contains("more namespace(s) at https://127.0.0.1:"), "{found}");
    let written = std::fs::read_to_string(fresh.path("ha-backup.toml")).unwrap();
    assert!(written.contains("kind = \"kubernetes\"\nnamespaces = [\"db\", \"default\"]"), "{written}");

    let watcher = Watcher::start(MARK);
    run(&bench, &["init"]).exits(0);
    let checked = run(&bench, &["check", "-vvv"]).exits(0);
    for found in [&format!("leader pod db/{leader}"), "3 members", "/usr/lib/postgresql/15/bin/pg_dump 15."] {
        assert!(checked.stdout.contains(found), "{found}: {}", checked.stdout);
    }
    let report = ended(run(&bench, &["daily", "--json", "-vvv"]).exits(0));
    assert_eq!(report["status"], "SUCCESS", "{report}");
    let shown = run(&bench, &["show", "latest"]).exits(0).stdout;
    assert!(shown.contains(&format!("pod db/{leader}")), "{shown}");
    run(&bench, &["verify", "--all", "--level", "content"]).exits(0);

    psql("crm", "truncate crm.contacts cascade");
    let plan = run(&bench, &["restore", "latest", "postgres", "--plan", "-vvv"]).exits(0).stdout;
    assert!(plan.contains(&format!("switch to the restored database crm on pod db/{leader}")), "{plan}");
    let restored = run(&bench, &["restore", "latest", "postgres", "--yes", "-vvv"]).exits(0);
    assert_eq!(psql("crm", COUNTS), before);
    watcher.assert_nothing_seen();
    for said in [&checked, &restored] {
        assert!(said.stderr.contains("DEBUG") && !said.stderr.contains(MARK), "{}", said.stderr);
        assert!(!said.stdout.contains(MARK), "{}", said.stdout);
    }
}
