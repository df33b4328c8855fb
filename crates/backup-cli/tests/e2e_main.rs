//! The main job on a real three-member etcd and a real three-node Patroni: one recovery point of both, verified, and restored
//! into the same cluster and into others.

mod e2e;
mod support;

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, PatroniCluster, PostgresServer, SampleData};
use e2e::{
    Stack, Started, assert_same_lines, backup, config, dumpall, etcd_bin, own_keys, path_with,
    store::{assert_tidy, manifest, record},
};
use serde_json::Value;
use support::{Bench, tree};

#[test]
fn one_recovery_point_of_etcd_and_postgresql_is_made_verified_and_restored() {
    let mut stack = Stack::start();
    let bench = stack.bench();
    it_is_found_by_looking_around(&stack);
    let session = a_recovery_point(&stack, &bench);
    it_is_told_and_verified(&bench, &session);
    it_is_drilled(&stack, &bench);
    postgresql_comes_back_in_place(&stack, &bench);
    postgresql_comes_back_on_another_server(&stack, &bench);
    etcd_comes_back_as_a_second_cluster(&stack, &bench, &session);
    both_come_back_in_place_after_the_loss_of_etcd(&mut stack, &bench, &session);
}

/// One member of each is named; all of them are written down, and reached.
fn it_is_found_by_looking_around(stack: &Stack) {
    let mut bench = Bench::empty();
    let at = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let (etcd, patroni) = (stack.etcd.endpoints(), stack.patroni.rest_urls());
    let ran = bench.run(&["init", "--detect", &at(&etcd[1]), &at(&patroni[2])]).exits(0);
    assert!(ran.stdout.contains("found etcd 3.") && ran.stdout.contains("3 member(s)"), "{}", ran.stdout);
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    for url in etcd.iter().chain(&patroni) {
        assert!(text.contains(&format!("{url:?}")), "{url}: {text}");
    }
    bench.env("PGPASSWORD", "pass word:'\\$");
    let checked = bench.run(&["check", "--json"]).json();
    for name in ["etcd", "postgres"] {
        let checked = checked["checked"].as_array().unwrap().iter().find(|checked| checked["name"] == name);
        let findings = checked.unwrap_or_else(|| panic!("{name}"))["findings"].to_string();
        assert!(!findings.contains("Unreachable") && !findings.contains("nobody answers"), "{findings}");
        assert!(findings.contains("127.0.0.1"), "{findings}");
    }
}

fn a_recovery_point(stack: &Stack, bench: &Bench) -> String {
    let checked = bench.run(&["check", "--json"]).exits(0).json();
    assert_ne!(checked["worst"], "error", "{checked:#}");
    let planned = bench.run(&["daily", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(
        (planned["components"].to_string(), &planned["unified"]),
        (r#"["etcd","postgres"]"#.to_owned(), &true.into())
    );
    let keys = stack.etcd.count("").unwrap();

    let report = backup(bench);
    assert_eq!(report["status"], "SUCCESS", "{report:#}");
    assert_eq!((&report["errors"], &report["problems"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    let session = report["session_id"].as_str().unwrap().to_owned();
    let manifest = manifest(bench, &session);
    assert!(manifest["skew_seconds"].as_f64().unwrap() < 10.0, "{}", manifest["skew_seconds"]);
    let etcd = record(bench, &session, "etcd");
    // Patroni goes on writing to its few keys.
    assert!(etcd["facts"]["keys"].as_u64().unwrap().abs_diff(keys) < 10, "{keys} keys: {}", etcd["facts"]);
    let crm = record(bench, &session, "postgres")["facts"]["databases"]["crm"].clone();
    let rows = stack.patroni.leader_sql().unwrap().row_counts("crm").unwrap();
    assert_eq!(rows["crm.contacts"], 2000);
    for (table, rows) in rows.iter().filter(|(table, _)| *table != "crm.totals") {
        assert_eq!(crm["tables"][table], *rows, "{table}: {}", crm["tables"]);
    }
    assert_eq!(crm["large_objects"], 2);
    assert_tidy(bench);
    session
}

fn it_is_told_and_verified(bench: &Bench, session: &str) {
    let listed = bench.run(&["list", "--json"]).exits(0).json().to_string();
    assert!(listed.contains(session) && listed.contains("SUCCESS"), "{listed}");
    let shown = bench.run(&["show", session]).exits(0).stdout;
    for part in ["etcd  SUCCESS", "postgres  SUCCESS"] {
        assert!(shown.contains(part), "{shown}");
    }
    let report = bench.run(&["report", "latest", "--json"]).exits(0).json();
    assert_eq!(report["session_id"], session);
    let sizes = report["components"].as_array().unwrap();
    assert!(sizes[0].as_str().unwrap().starts_with("etcd:") && sizes[1].as_str().unwrap().ends_with("MB"));
    bench.run(&["status"]).exits(0);
    for level in ["size", "checksum", "content"] {
        let verified =
            bench.run(&["verify", session, "--level", level, "--json"]).exits(0).message("verified");
        assert_eq!((&verified["passed"], &verified["level"]), (&true.into(), &level.into()));
    }
    bench.run(&["show", "backup_20200101_000000"]).exits(10);
    bench.run(&["extract", session, "--to", "plain"]).exits(0);
    assert_eq!(tree(&bench.path("plain")).len(), 2);
}

/// A cluster under Patroni and its etcd, restored into private servers: every rung but the questions that nobody asks.
fn it_is_drilled(stack: &Stack, bench: &Bench) {
    let mut drill = bench.command(&["drill", "--json"]);
    drill.env("PATH", path_with(&[etcd_bin(&stack.etcd)]));
    let report = bench.ran(&drill.output().unwrap()).exits(0).message("drilled");
    for component in report["components"].as_array().unwrap() {
        let asked = component["kind"] == "etcd";
        for rung in component["rungs"].as_array().unwrap() {
            let run = rung["rung"] != "smoke" || asked;
            assert_eq!(rung["outcome"], if run { "passed" } else { "not_run" }, "{component:#}");
        }
    }
}

/// Databases that were kept aside would be in a dump of the whole.
fn drop_kept_databases(patroni: &PatroniCluster) {
    let sql = patroni.leader_sql().unwrap();
    for name in sql.databases().unwrap().iter().filter(|name| name.contains("_before_")) {
        sql.run("postgres", &format!("drop database \"{}\"", name.replace('"', "\"\""))).unwrap();
    }
}

fn spoil_postgresql(patroni: &PatroniCluster) {
    let sql = patroni.leader_sql().unwrap();
    sql.run("crm", "truncate crm.companies cascade; drop table crm.deals cascade; select lo_unlink(424242)")
        .unwrap();
    let lager = SampleData::DATABASES[0].replace('"', "\"\"");
    sql.run("postgres", &format!("drop database \"{lager}\"")).unwrap();
}

fn postgresql_comes_back_in_place(stack: &Stack, bench: &Bench) {
    let patroni = &stack.patroni;
    let sql = patroni.leader_sql().unwrap();
    let before = dumpall(&sql);
    spoil_postgresql(patroni);
    let plan = bench.run(&["restore", "latest", "postgres", "--plan"]).exits(0).stdout;
    assert!(plan.contains("switch to the restored database") && plan.contains("crm_before_"), "{plan}");
    assert!(
        !sql.databases().unwrap().iter().any(|name| name.contains("_restored_")),
        "a plan changes nothing"
    );
    // Nobody is there to be asked.
    bench.run(&["restore", "latest", "postgres"]).exits(2);
    bench.run(&["restore", "latest", "postgres", "--yes"]).exits(0);
    let kept: Vec<String> =
        sql.databases().unwrap().into_iter().filter(|name| name.contains("_before_")).collect();
    assert_eq!(kept.len(), 2, "crm and postgres: {kept:?}");
    drop_kept_databases(patroni);
    assert_same_lines(&dumpall(&sql), &before);
}

/// Another cluster, of a newer release, that has none of the roles.
fn postgresql_comes_back_on_another_server(stack: &Stack, bench: &Bench) {
    let other = PostgresServer::start(17).unwrap();
    config::write_as(bench, "other.toml", &[config::etcd(&stack.etcd), config::server(other.sql())]);
    bench.run(&["--config", "other.toml", "restore", "latest", "postgres", "--yes"]).exits(0);
    let live = stack.patroni.leader_sql().unwrap();
    for database in SampleData::DATABASES {
        assert_eq!(other.sql().row_counts(database).unwrap(), live.row_counts(database).unwrap());
    }
    let roles = "select rolname, rolpassword from pg_authid where rolname !~ '^pg_' order by 1";
    let roles = |sql: &backup_testkit::servers::Sql| sql.run("postgres", roles).unwrap();
    let ours = roles(&live);
    assert!(SampleData::ROLES.iter().all(|role| ours.contains(role)), "{ours}");
    // The superuser was there: it is left alone. Patroni's own roles come along.
    let but_superuser = |roles: String| -> Vec<String> {
        roles.lines().filter(|role| !role.starts_with("postgres|")).map(str::to_owned).collect()
    };
    assert_same_lines(&but_superuser(roles(other.sql())), &but_superuser(ours));
    // A name that is taken is refused before anything is touched.
    let taken = ["restore", "latest", "postgres", "--yes", "--set", "database=crm", "--set", "into=postgres"];
    let refused = bench.run(&[&["--config", "other.toml"], &taken[..]].concat()).exits(1);
    assert!(refused.stderr.contains("exists already, and nothing was touched"), "{}", refused.stderr);
}

/// Everything as it was, revisions too: etcd's own hash tells.
fn etcd_comes_back_as_a_second_cluster(stack: &Stack, bench: &Bench, session: &str) {
    let revision = record(bench, session, "etcd")["facts"]["revision"].as_u64().unwrap();
    let mut second = EtcdCluster::prepare(3, Etcd::V35, EtcdOptions::default()).unwrap();
    let dir = bench.path("second-etcd");
    let sets = [
        format!("dir={}", dir.display()),
        format!("members={}", second.initial_cluster()),
        format!("token={}", second.token()),
        format!("endpoints={}", second.endpoints().join(",")),
        "keys=all".to_owned(),
        "bump=0".to_owned(),
    ];
    let mut restore = vec!["restore", session, "etcd", "--yes"];
    sets.iter().for_each(|set| restore.extend(["--set", set.as_str()]));
    let waits = bench.run(&restore).exits(3);
    assert!(
        waits.stdout.contains("The restore waits for you:") && waits.stdout.contains("etcd --name"),
        "{}",
        waits.stdout
    );
    for (i, name) in second.names().iter().enumerate() {
        std::fs::rename(dir.join(name), second.data_dir(i)).unwrap();
    }
    second.start_all().unwrap();
    let done = bench.run(&restore).exits(0);
    assert!(done.stderr.contains("the same keys on 3 members"), "{}", done.stderr);
    let live = stack.etcd.hash_kv(revision).unwrap();
    assert_eq!(second.hash_kv(revision).unwrap(), live);
    assert_same_lines(&own_keys(&second), &own_keys(&stack.etcd));
}

/// The whole stack is lost and comes back: etcd by the printed commands, then PostgreSQL by the same `restore`.
fn both_come_back_in_place_after_the_loss_of_etcd(stack: &mut Stack, bench: &Bench, session: &str) {
    let before = dumpall(&stack.patroni.leader_sql().unwrap());
    let keys = own_keys(&stack.etcd);
    spoil_postgresql(&stack.patroni);
    stack.etcd.delete("/crm/settings/000002").unwrap();
    for i in 0..stack.etcd.len() {
        stack.etcd.kill(i);
    }
    let dir = bench.path("restored-etcd");
    let set = format!("etcd.dir={}", dir.display());
    let restore = ["restore", session, "all", "--yes", "--json", "--set", &set];
    let outcome = bench.run(&restore).exits(3).message("restore_ended");
    let waiting: Vec<String> = outcome["waiting_for"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap().to_owned())
        .collect();
    assert!(waiting[0].contains("the restored etcd does not answer yet"), "{waiting:#?}");
    let again = bench.run(&restore).exits(3).message("restore_ended");
    assert_eq!(again["steps"][0]["before"], true, "the data directories are not written again: {again:#}");

    let mut members = Started::default();
    let path = path_with(&[etcd_bin(&stack.etcd)]);
    let commands: Vec<&String> = waiting.iter().filter(|line| line.starts_with("etcd --name")).collect();
    assert_eq!(commands.len(), 3, "{waiting:#?}");
    for command in commands {
        // The product speaks of this folder by its own name.
        let command = command.replace("$DIR", bench.path("").to_str().unwrap().trim_end_matches('/'));
        members.shell(&command, stack.etcd.scratch(), &path);
    }
    // A member that does not listen yet is one that nobody has started: the restore would wait for people again.
    for endpoint in stack.etcd.endpoints() {
        let address = endpoint.trim_start_matches("http://").to_owned();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(members.are_running(), "an etcd has ended");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let done = bench.run(&restore).exits(0).message("restore_ended");
    assert_eq!(done["waiting_for"].as_array().unwrap().len(), 0, "{done:#}");
    let journals = tree(&bench.path("store/sessions").join(session));
    let stamps: std::collections::BTreeSet<&str> = journals
        .iter()
        .filter_map(|file| file.strip_prefix("restore-")?.rsplit_once('-').map(|(stamp, _)| stamp))
        .collect();
    assert_eq!(stamps.len(), 4, "postgres twice, etcd, and now both: each has one journal: {stamps:?}");

    assert_same_lines(&own_keys(&stack.etcd), &keys);
    stack.patroni.wait_ready().unwrap();
    drop_kept_databases(&stack.patroni);
    let sql = stack.patroni.leader_sql().unwrap();
    assert_same_lines(&dumpall(&sql), &before);
    // And a backup of the new whole is good.
    assert_eq!(backup(bench)["status"], "SUCCESS");
}
