//! A disk that fills up in mid-write. Root gets a real full one (a small tmpfs); for anybody else the kernel limits the size of
//! a file, which fails a write in the same place.

mod e2e;
mod support;

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use backup_testkit::servers::{
    Etcd, EtcdCluster, EtcdOptions, PostgresServer, SampleData, etcd_keys, is_root,
};
use e2e::{
    backup, config, ended,
    running::Running,
    store::{assert_tidy, good_sessions, record},
};
use support::{Bench, Ran};

/// Room for a small session and its archive, not for the large table.
const ROOM_MIB: u32 = 16;

/// The store's disk.
struct Disk {
    mounted: Option<PathBuf>,
}

impl Disk {
    fn at(folder: &Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        if !is_root() {
            return Self { mounted: None };
        }
        let disk = Self { mounted: Some(folder.to_owned()) };
        disk.mount(&format!("size={ROOM_MIB}m,mode=0700"));
        disk
    }

    fn mount(&self, options: &str) {
        let Some(folder) = &self.mounted else { return };
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "root must be able to mount a tmpfs for this test: {said}");
    }

    /// Runs the binary with what room there is.
    fn run(&self, bench: &Bench, args: &[&str]) -> Ran {
        let plain = bench.command(args);
        if self.mounted.is_some() {
            return Running::spawn(plain).finish();
        }
        let mut limited = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", ROOM_MIB * 2048);
        limited.arg("-c").arg(script).arg(plain.get_program()).args(plain.get_args());
        limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        limited.current_dir(bench.path("")).stdin(Stdio::null());
        Running::spawn(limited).finish()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(folder) = &self.mounted {
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

#[test]
fn a_full_disk_fails_one_component_keeps_the_other_and_loses_nothing() {
    let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    etcd.put_many(etcd_keys(300)).unwrap();
    let server = PostgresServer::start(15).unwrap();
    SampleData { rows: 200 }.load(server.sql()).unwrap();
    let mut bench = Bench::empty();
    let disk = Disk::at(&bench.path("store"));
    config::write(&mut bench, &[config::etcd(&etcd), config::server(server.sql())]);
    bench.run(&["init"]).exits(0);
    let first = backup(&bench)["session_id"].as_str().unwrap().to_owned();
    let large = "create table public.large as select gen_random_uuid() as a, gen_random_uuid() as b, gen_random_uuid() as c
        from generate_series(1, 500000)";
    server.sql().run("crm", large).unwrap();

    let report = ended(disk.run(&bench, &["daily", "--json"]).exits(3));
    assert_eq!(report["status"], "PARTIAL", "{report:#}");
    let errors = report["errors"].to_string();
    let reason = if is_root() { "No space left on device" } else { "File too large" };
    assert!(errors.contains("postgres: ") && errors.contains(reason), "{errors}");
    let partial = report["session_id"].as_str().unwrap();
    assert_eq!(record(&bench, partial, "etcd")["status"], "SUCCESS");
    assert_tidy(&bench);
    for session in [first.as_str(), partial] {
        bench.run(&["verify", session, "--level", "content"]).exits(0);
    }

    if is_root() {
        nothing_at_all_can_be_written(&disk, &bench);
    }
    disk.mount("remount,size=200m");
    backup(&bench);
    assert_tidy(&bench);
    bench.run(&["verify", "--all", "--level", "checksum"]).exits(0);
}

/// Not even a claim.
fn nothing_at_all_can_be_written(disk: &Disk, bench: &Bench) {
    let filler = bench.path("store/filler");
    // No more than the disk is large: should it be another one after all, that one is not filled.
    let mut zeros = std::fs::File::open("/dev/zero").unwrap().take(u64::from(ROOM_MIB) << 20);
    let full = std::io::copy(&mut zeros, &mut std::fs::File::create(&filler).unwrap()).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let before = good_sessions(bench);
    let ran = disk.run(bench, &["daily"]).exits(1);
    assert!(ran.stderr.contains("No space left on device") && ran.stderr.contains("hint:"), "{}", ran.stderr);
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(good_sessions(bench), before);
}
