//! What `schedule install` writes, read by the programs that it is written for: a Kubernetes API server and systemd.

mod support;

use std::process::Command;

use backup_testkit::servers::{KubernetesCluster, KubernetesOptions};
use support::Bench;

#[test]
fn an_api_server_takes_the_cron_jobs() {
    let bench = Bench::empty();
    let text = format!(
        "name = \"crm_east\"\ntime_zone = \"Europe/Berlin\"\nstate_dir = \"/var/lib/ha-backup\"\n\
         [[store]]\nkind = \"local\"\npath = \"/opt/crm-backups\"\n\
         [[component]]\nkind = \"etcd\"\nendpoints = [\"http://10.0.0.1:2379\"]\n\
         [[component]]\nkind = \"postgres\"\nurl = \"postgres://10.0.0.1\"\npassword = {}\n",
        "{ env = \"PGPASSWORD\" }"
    );
    bench.write("ha-backup.toml", &text);
    let install = ["schedule", "install", "--kubernetes", "--image", "registry.example/ha-backup:1"];
    let ran = bench.run(&install).exits(0);
    assert!(ran.stderr.contains("put PGPASSWORD into the Secret ha-backup"), "{}", ran.stderr);
    assert!(ran.stderr.contains("full: its time does not exist on "), "{}", ran.stderr);

    let cluster = KubernetesCluster::start(0, KubernetesOptions::default()).unwrap();
    cluster.kubectl(&["create", "namespace", "ha-backup"]).unwrap();
    let apply = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    let said = cluster.kubectl_with_input(&apply, &ran.stdout).unwrap();
    for job in ["full", "etcd", "verify", "health"] {
        assert!(said.contains(&format!("cronjob.batch/ha-backup-crm-east-{job} created")), "{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");

    // In a folder: the same, once, and gone again.
    let to = |args: &[&str]| bench.run(&[args, &["--to", "jobs"]].concat()).exits(0).stdout;
    assert_eq!(to(&install).matches("wrote ").count(), 4);
    assert_eq!(to(&install).matches("unchanged: ").count(), 4);
    bench.write("jobs/kustomization.yaml", "resources: []\n");
    assert_eq!(to(&["schedule", "uninstall", "--kubernetes"]).matches("removed ").count(), 4);
    assert_eq!(support::tree(&bench.path("jobs")), ["kustomization.yaml"]);
}

/// Needs the program `systemd-analyze`, of Debian's package systemd; not systemd itself.
#[test]
fn systemd_reads_the_units_without_a_word_and_finds_them_safe() {
    let bench = Bench::with_files();
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    let drill = "[[job]]\nname = \"prove\"\nrun = \"drill\"\n[drill]\nfolder = \"/srv/drills\"\n";
    bench.write("ha-backup.toml", &format!("time_zone = \"Europe/Berlin\"\n{text}{drill}"));
    bench.run(&["schedule", "install", "--systemd", "--to", "units"]).exits(0);
    let names = support::tree(&bench.path("units"));
    assert_eq!(names.len(), 8, "{names:?}");
    let analyze = |args: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["60", "systemd-analyze"]).args(args).current_dir(bench.path("units"));
        bench.ran(&command.output().unwrap())
    };
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let ran = analyze(&[&["verify", "--man=no"], &all[..]].concat()).exits(0);
    // It may have to say something of other units of this host.
    assert!(!ran.stderr.contains("ha-backup-"), "{}", ran.stderr);
    for service in all.iter().filter(|name| name.ends_with(".service")) {
        // A drill starts servers, as other users: it must be free to.
        let threshold = if service.contains("prove") { "--threshold=60" } else { "--threshold=30" };
        analyze(&["security", "--offline=yes", threshold, &format!("./{service}")]).exits(0);
    }
    let drills = std::fs::read_to_string(bench.path("units/ha-backup-crm-prove.service")).unwrap();
    assert!(drills.contains("ReadWritePaths=-/srv/drills\n"), "{drills}");
    for barrier in
        ["RestrictNamespaces", "CapabilityBoundingSet=CAP", "~@privileged", "MemoryDenyWriteExecute"]
    {
        assert!(!drills.contains(barrier), "{barrier}: {drills}");
    }
}
