//! Our own process killed with -9 at random points, again and again: each time the next run clears up and succeeds.

mod e2e;
mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, PostgresServer, SampleData, etcd_keys};
use e2e::{
    config,
    running::Running,
    store::{assert_tidy, good_sessions},
};
use support::Bench;

const ROUNDS: u32 = 50;
/// In every fifth round PostgreSQL is part of the run, which then takes longer.
const FULL: u32 = 5;

/// xorshift64.
struct Random(u64);

impl Random {
    /// From HA_BACKUP_SEED, to do the same again; else from the clock.
    fn seeded() -> Self {
        let given =
            std::env::var("HA_BACKUP_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(clock).max(1);
        println!("HA_BACKUP_SEED={seed}");
        Self(seed)
    }

    /// Between nothing and `limit`.
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        limit.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

fn command(round: u32) -> [&'static str; 4] {
    if round.is_multiple_of(FULL) {
        ["daily", "--job", "full", "--json"]
    } else {
        ["daily", "--job", "small", "--json"]
    }
}

/// A good run; how long it took.
#[track_caller]
fn good_run(bench: &Bench, round: u32) -> Duration {
    let begun = Instant::now();
    let report = e2e::ended(bench.run(&command(round)).exits(0));
    assert_eq!(report["status"], "SUCCESS", "{report:#}");
    begun.elapsed()
}

#[test]
fn a_run_killed_at_any_point_loses_nothing_and_the_next_one_clears_up() {
    let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    etcd.put_many(etcd_keys(300)).unwrap();
    let server = PostgresServer::start(15).unwrap();
    SampleData { rows: 200 }.load(server.sql()).unwrap();
    let mut bench = Bench::with_files();
    let jobs = "[[job]]\nname = \"small\"\ncomponents = [\"etcd\", \"web\"]\n[[job]]\nname = \"full\"\n";
    let sections =
        [config::etcd(&etcd), config::server(server.sql()), config::files(&bench), jobs.to_owned()];
    config::write(&mut bench, &sections);
    bench.run(&["init"]).exits(0);

    let mut random = Random::seeded();
    let mut takes = [good_run(&bench, 0), good_run(&bench, 1)];
    let (mut committed, mut died) = (0, 0);
    for round in 0..ROUNDS {
        let before = good_sessions(&bench);
        let typical = &mut takes[usize::from(!round.is_multiple_of(FULL))];
        let run = Running::start(&bench, &command(round));
        // Not a wait for something: the random point itself.
        std::thread::sleep(random.below(*typical));
        run.signal("KILL");
        let killed = run.finish();
        let after = good_sessions(&bench);
        assert!(before.iter().all(|session| after.contains(session)), "round {round}: {before:?} {after:?}");
        for session in after.iter().filter(|session| !before.contains(session)) {
            bench.run(&["verify", session, "--level", "content"]).exits(0);
            committed += 1;
        }
        died += u32::from(killed.code == -1);
        *typical = good_run(&bench, round);
        assert_tidy(&bench);
        let listed = bench.run(&["list", "--json"]).exits(0).json();
        let listed = listed.to_string().matches("\"SUCCESS\"").count();
        assert_eq!(listed, after.len() + 1, "round {round}: the dead run counts for nothing");
    }
    println!("{died} runs died, {committed} of them after their commit");
    assert!(died > ROUNDS / 2, "only {died} runs were still there to be killed");
    bench.run(&["verify", "--all", "--level", "checksum", "-q"]).exits(0);
}
