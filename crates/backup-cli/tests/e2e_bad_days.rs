//! Bad days of the source: what a backup does when its leader, its members or its password go wrong under it.
//!
//! The tests share one stack, one at a time; each leaves it whole. A run is caught in mid-stream by stopping its process as soon
//! as bytes flow: its sources then have far more to send than any buffer on the way takes.

mod e2e;
mod support;

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, poll};
use e2e::{
    Stack, backup, config, ended,
    running::Running,
    store::{artifact, assert_tidy, good_sessions, objects, record},
};
use serde_json::Value;
use support::{Bench, Ran};

/// Rows of a table that takes a while to dump.
const LONG: u32 = 800_000;

fn stack() -> MutexGuard<'static, Stack> {
    static STACK: OnceLock<Mutex<Stack>> = OnceLock::new();
    let stack = STACK.get_or_init(|| {
        let mut stack = Stack::start();
        let values = (0..700_u32).map(|i| (format!("/long/{i:04}"), noise(i, 60_000)));
        stack.etcd.put_many(values).unwrap();
        let long = format!(
            "create table public.long as select i, md5(i::text) || md5((i + 1)::text) as text from generate_series(1, {LONG}) i"
        );
        stack.patroni.leader_sql().unwrap().run("crm", &long).unwrap();
        // A leader that is killed before its replicas have the table takes it along.
        stack.patroni.wait_ready().unwrap();
        Mutex::new(stack)
    });
    stack.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// Begins a backup of one component, does `fault` while it stands in mid-stream, and lets it go on to its end.
#[track_caller]
fn backup_through(bench: &Bench, component: &str, fault: impl FnOnce()) -> Ran {
    let mut run = Running::start(bench, &["daily", "--component", component, "--json"]);
    run.freeze_in_mid_stream(component);
    fault();
    run.signal("CONT");
    run.finish()
}

/// The session is whole, from a second attempt, and nothing of the first one stays.
#[track_caller]
fn assert_second_attempt(bench: &Bench, ran: Ran, component: &str) -> Value {
    let report = ended(ran.exits(0));
    assert_eq!(report["status"], "SUCCESS", "{report:#}");
    assert!(report["warnings"].to_string().contains("attempt 1 failed"), "{report:#}");
    let session = report["session_id"].as_str().unwrap();
    assert!(artifact(bench, session, component).to_string_lossy().contains("_r2"));
    assert_eq!(objects(bench).len(), 1, "{:?}", objects(bench));
    assert_tidy(bench);
    bench.run(&["verify", session, "--level", "content"]).exits(0);
    record(bench, session, component)
}

/// A follower, the leader, and a configuration of these two: the follower is preferred.
fn follower_first(stack: &Stack) -> (usize, String, Bench) {
    let leader = stack.etcd.leader().unwrap();
    let follower = (leader + 1) % 3;
    let endpoints = stack.etcd.endpoints();
    let mut bench = Bench::empty();
    config::write(
        &mut bench,
        &[
            config::etcd_at(&[endpoints[follower].clone(), endpoints[leader].clone()]),
            config::patroni(&stack.patroni),
        ],
    );
    bench.run(&["init"]).exits(0);
    (follower, endpoints[leader].clone(), bench)
}

#[test]
fn an_etcd_member_killed_in_mid_snapshot_is_followed_by_a_whole_one_of_another_member() {
    let mut stack = stack();
    let (follower, other, bench) = follower_first(&stack);
    let ran = backup_through(&bench, "etcd", || stack.etcd.kill(follower));
    let record = assert_second_attempt(&bench, ran, "etcd");
    assert_eq!(record["facts"]["endpoint"], other);
    stack.etcd.restart(follower).unwrap();
}

#[test]
fn an_etcd_member_that_falls_silent_in_mid_snapshot_is_given_up() {
    let mut stack = stack();
    let (follower, other, bench) = follower_first(&stack);
    let ran = backup_through(&bench, "etcd", || stack.etcd.pause(follower).unwrap());
    stack.etcd.resume(follower).unwrap();
    let record = assert_second_attempt(&bench, ran, "etcd");
    assert_eq!(record["facts"]["endpoint"], other);
}

#[test]
fn a_switchover_in_mid_dump_is_followed_by_a_whole_dump_of_the_new_leader() {
    let mut stack = stack();
    let bench = stack.bench();
    let ran = backup_through(&bench, "postgres", || {
        stack.patroni.switchover().unwrap();
    });
    assert_dump_of_the_leader(&stack, &assert_second_attempt(&bench, ran, "postgres"));
    stack.patroni.wait_ready().unwrap();
}

#[test]
fn a_leader_killed_in_mid_dump_is_followed_by_a_whole_dump_of_the_new_leader() {
    let mut stack = stack();
    let bench = stack.bench();
    stack.patroni.wait_ready().unwrap();
    let mut killed = None;
    // Not waited for: the run itself finds the next leader.
    let ran = backup_through(&bench, "postgres", || killed = Some(stack.patroni.kill_leader().unwrap()));
    assert_dump_of_the_leader(&stack, &assert_second_attempt(&bench, ran, "postgres"));
    stack.patroni.restart(killed.unwrap()).unwrap();
}

fn assert_dump_of_the_leader(stack: &Stack, record: &Value) {
    let leader = stack.patroni.wait_leader().unwrap();
    assert_eq!(record["facts"]["leader"], format!("127.0.0.1:{}", stack.patroni.port(leader)));
    assert_eq!(record["facts"]["databases"]["crm"]["tables"]["public.long"], LONG);
}

/// With Patroni's failsafe mode its leader goes on without etcd.
#[test]
fn when_all_of_etcd_is_gone_postgresql_is_kept_and_the_report_says_what_to_do() {
    let mut stack = stack();
    let mut bench = stack.bench();
    let servers: Vec<String> = (0..3).map(|i| format!("127.0.0.1:{}", stack.patroni.port(i))).collect();
    let sections =
        [config::etcd(&stack.etcd), config::patroni(&stack.patroni) + &format!("hosts = {servers:?}\n")];
    config::write(&mut bench, &sections);
    failsafe_mode(&stack.etcd);
    (0..3).for_each(|i| stack.etcd.kill(i));
    let ran = bench.run(&["daily", "--json"]).exits(3);
    stack.etcd.start_all().unwrap();
    let report = ended(ran);
    assert_eq!(report["status"], "PARTIAL", "{report:#}");
    let errors = report["errors"].to_string();
    for endpoint in stack.etcd.endpoints() {
        assert!(errors.contains(&endpoint), "{errors}");
    }
    assert!(errors.contains("is it running"), "{errors}");
    assert!(report["warnings"].to_string().contains("the only server that takes writes"), "{report:#}");
    let session = report["session_id"].as_str().unwrap();
    assert_eq!(record(&bench, session, "postgres")["status"], "SUCCESS");
    assert_eq!(record(&bench, session, "etcd")["status"], "FAILED");
    assert_tidy(&bench);
    bench.run(&["verify", session, "--level", "content"]).exits(0);
    assert!(bench.run(&["list"]).exits(0).stdout.contains("PARTIAL"));
    let refused = bench.run(&["restore", session, "etcd", "--plan", "--set", "dir=/nowhere"]).exits(1);
    assert!(refused.stderr.contains("etcd"), "{}", refused.stderr);
    stack.patroni.wait_ready().unwrap();
}

fn failsafe_mode(etcd: &EtcdCluster) {
    let config = etcd.get("/service/crm/config").unwrap().unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["failsafe_mode"] = true.into();
    etcd.put("/service/crm/config", config.to_string()).unwrap();
    poll("Patroni's failsafe mode", Duration::from_secs(30), || match etcd.get("/service/crm/failsafe") {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("not yet".to_owned()),
        Err(e) => Err(e.to_string()),
    })
    .unwrap();
}

#[test]
fn a_wrong_password_of_postgresql_is_said_and_etcd_is_kept() {
    let stack = stack();
    let mut bench = stack.bench();
    bench.env(config::PG_PASSWORD, "hunter2hunter2");
    let checked = bench.run(&["check"]).exits(3);
    assert!(checked.stdout.contains("check `user` and `password` of the component"), "{}", checked.stdout);
    let ran = bench.run(&["daily", "--json"]).exits(3);
    assert!(!format!("{ran:?}{checked:?}").contains("hunter2"), "{ran:?}");
    let report = ended(ran);
    assert_eq!(report["status"], "PARTIAL", "{report:#}");
    let errors = report["errors"].to_string();
    assert!(errors.contains("password authentication failed"), "{errors}");
    assert!(errors.contains("check `user` and `password` of the component"), "{errors}");
    let session = report["session_id"].as_str().unwrap();
    assert_eq!(record(&bench, session, "etcd")["status"], "SUCCESS");
    assert_tidy(&bench);
}

#[test]
fn a_wrong_password_of_etcd_is_said_and_the_other_component_is_kept() {
    let mut etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    etcd.enable_auth("right-secret").unwrap();
    let mut bench = Bench::with_files();
    let login = "user = \"root\"\npassword = \"hunter2hunter2\"\n";
    let sections = [config::etcd(&etcd) + login, config::files(&bench)];
    config::write(&mut bench, &sections);
    bench.run(&["init"]).exits(0);
    let checked = bench.run(&["check"]).exits(3);
    let ran = bench.run(&["daily", "--json"]).exits(3);
    assert!(!format!("{ran:?}{checked:?}").contains("hunter2"), "{ran:?}");
    let errors = ended(ran)["errors"].to_string();
    assert!(
        errors.contains(&etcd.endpoints()[0]) && errors.contains("check `user` and `password`"),
        "{errors}"
    );
    let session = &good_sessions(&bench)[0];
    assert_eq!(record(&bench, session, "web")["status"], "SUCCESS");
    // Nothing good at all is a failure, and no session to restore from.
    let alone = bench.run(&["daily", "--component", "etcd", "--json"]).exits(1);
    assert_eq!(ended(alone)["status"], "FAILED");
    bench.run(&["restore", "latest", "etcd", "--plan"]).exits(1);
}

#[test]
fn a_second_run_leaves_and_an_interrupted_one_leaves_nothing_that_looks_done() {
    let stack = stack();
    let bench = stack.bench();
    let mut run = Running::start(&bench, &["daily", "--json"]);
    run.freeze_in_mid_stream("postgres");
    let second = bench.run(&["daily", "--json"]).exits(11);
    assert_eq!(second.message("error")["kind"], "Locked");
    run.signal("INT");
    run.signal("CONT");
    let ran = run.finish().exits(130);
    assert!(ran.stderr.contains("interrupted: ending cleanly"), "{}", ran.stderr);
    assert_eq!(good_sessions(&bench), Vec::<String>::new());
    assert!(objects(&bench).is_empty(), "{:?}", objects(&bench));
    assert!(bench.run(&["list"]).exits(0).stdout.starts_with("No sessions yet"));
    let sql = stack.patroni.leader_sql().unwrap();
    poll("the server to be free of the run", Duration::from_secs(10), || {
        let ours = "select count(*) from pg_stat_activity where backend_type = 'client backend' and application_name ~ 'pg_dump|ha-backup'";
        match sql.run("postgres", ours).map_err(|e| e.to_string())?.as_str() {
            "0" => Ok(()),
            some => Err(format!("{some} sessions")),
        }
    })
    .unwrap();
    backup(&bench);
    assert_tidy(&bench);
}
