//! `daemon` of the built binary: what was missed, reload, stop, and what systemd is told.

mod support;

use std::{
    io::{BufRead, BufReader},
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::Value;
use support::{Bench, tree, write_much};

/// So long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// A job that was due every day of the last years.
const FULL: &str = "[[job]]\nname = \"full\"\nschedule = \"0 2 * * *\"\n";

struct Daemon {
    child: Child,
    lines: Receiver<String>,
    systemd: Receiver<String>,
    said: Vec<String>,
}

impl Daemon {
    fn start(bench: &Bench, args: &[&str]) -> Self {
        Self::start_with(bench, args, |command| command)
    }

    fn start_with(bench: &Bench, args: &[&str], set: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let number = std::fs::read_dir(bench.path("")).unwrap().count();
        let socket = bench.path(&format!("notify-{number}"));
        let systemd = listen(UnixDatagram::bind(&socket).unwrap());
        let mut command = bench.command(&["daemon"]);
        command.args(args).env("NOTIFY_SOCKET", &socket).env_remove("JOURNAL_STREAM");
        set(&mut command).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, systemd, said: Vec::new() }
    }

    /// Waits for a line of the log.
    #[track_caller]
    fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(e) => panic!("{e}; it said:\n{}", self.said.join("\n")),
            }
        }
    }

    /// Waits until a run of the job has ended; how.
    #[track_caller]
    fn ended(&mut self, job: &str) -> String {
        let is_it = |value: &Value| value["message"] == "ended" && value["job"] == job;
        let line = self.line(|line| serde_json::from_str(line).is_ok_and(|value| is_it(&value)));
        serde_json::from_str::<Value>(&line).unwrap()["how"].as_str().unwrap().to_owned()
    }

    /// Waits until systemd is told something that has `text`.
    #[track_caller]
    fn told(&self, text: &str) -> String {
        loop {
            let told = self.systemd.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{e}: no {text}"));
            if told.contains(text) {
                return told;
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Ends it by SIGTERM.
    #[track_caller]
    fn stop(mut self) {
        self.signal("TERM");
        self.told("STOPPING=1");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// Reads as systemd does, all the time: the kernel keeps few datagrams.
fn listen(socket: UnixDatagram) -> Receiver<String> {
    let (sender, told) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            if sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    told
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With a repository that was made years ago: every schedule has missed something since.
fn old_installation(jobs: &str) -> Bench {
    let bench = Bench::with_files();
    bench.config(jobs);
    bench.run(&["init"]).exits(0);
    let file = "store/repository.json";
    let mut identity: Value = serde_json::from_slice(&std::fs::read(bench.path(file)).unwrap()).unwrap();
    identity["created"] = "2020-01-01T00:00:00Z".into();
    bench.write(file, &identity.to_string());
    bench
}

fn sessions(bench: &Bench) -> usize {
    let list = bench.run(&["list", "--json"]).exits(0).json();
    list["sessions"].as_array().unwrap_or_else(|| panic!("{list}")).len()
}

#[test]
fn what_was_missed_is_made_up_for_once_and_only_a_good_configuration_is_taken() {
    let bench = old_installation(FULL);
    let mut daemon = Daemon::start(&bench, &[]);
    assert!(daemon.told("READY=1").contains("WATCHDOG=1"));
    assert_eq!(daemon.ended("full"), "Done");
    daemon.told("next full at");
    assert_eq!(sessions(&bench), 1);

    bench.config(&FULL.replace("0 2 * * *", "whenever"));
    daemon.signal("HUP");
    let refused = daemon.line(|line| line.contains("is refused: goes on with the old one"));
    assert!(refused.contains("job.0.schedule: whenever"), "{refused}");
    assert!(daemon.told("RELOADING=1").contains("MONOTONIC_USEC="));
    daemon.told("READY=1");

    let another = "[[job]]\nname = \"again\"\nschedule = \"0 3 * * *\"\n[[job]]\nname = \"look\"\nrun = \"health\"\nschedule = \"0 4 * * *\"\n";
    bench.config(&format!("{FULL}{another}"));
    daemon.signal("HUP");
    assert_eq!(daemon.ended("again"), "Done");
    assert_eq!(sessions(&bench), 2);
    daemon.stop();

    // What the sessions say is enough to know that nothing is open but the look, which leaves no trace.
    let mut daemon = Daemon::start(&bench, &[]);
    assert_eq!(daemon.ended("look"), "Done");
    daemon.told("STATUS=nothing runs; next ");
    assert_eq!(sessions(&bench), 2);
    daemon.stop();
}

#[test]
fn a_failure_ends_nothing_and_is_tried_again() {
    let jobs = format!("{FULL}[[job]]\nname = \"proof\"\nrun = \"verify\"\nschedule = \"0 3 * * 0\"\n");
    let bench = old_installation(&jobs);
    std::fs::rename(bench.path("data"), bench.path("away")).unwrap();
    let mut daemon = Daemon::start(&bench, &[]);
    assert_eq!(daemon.ended("full"), "Failed");
    std::fs::rename(bench.path("away"), bench.path("data")).unwrap();
    // After a minute.
    let again = daemon.line(|line| line.contains("\"attempt\":2") && line.contains("\"job\":\"full\""));
    assert!(again.contains("begins"), "{again}");
    assert_eq!(daemon.ended("full"), "Done");
    daemon.stop();
}

#[test]
fn a_stop_gives_what_runs_its_time_and_then_leaves_nothing_half() {
    let bench = old_installation(FULL);
    write_much(&bench);
    let mut daemon = Daemon::start(&bench, &["--grace", "0s"]);
    daemon.line(|line| line.contains("point pinned"));
    daemon.signal("TERM");
    assert_eq!(daemon.ended("full"), "Cancelled");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    let left: Vec<String> = tree(&bench.path("store"))
        .into_iter()
        .filter(|file| file.contains("manifest") || (file.contains('/') && !file.starts_with("sessions/")))
        .collect();
    assert_eq!(left, Vec::<String>::new());

    // It is still due, and a stop with time to spare lets it end. For the journal, lines have a priority.
    let mut daemon = Daemon::start_with(&bench, &[], |command| command.env("JOURNAL_STREAM", "8:1"));
    let line = daemon.line(|line| line.contains("point pinned"));
    assert!(line.starts_with("<6>[backup_") && line.contains("[full] [web] point pinned"), "{line}");
    daemon.signal("TERM");
    daemon.told("STATUS=ends; full runs");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    assert_eq!(sessions(&bench), 1);
}

#[test]
fn two_daemons_on_one_store_make_one_session() {
    let bench = old_installation(FULL);
    write_much(&bench);
    let mut daemons = [Daemon::start(&bench, &[]), Daemon::start(&bench, &[])];
    let settled =
        |line: &str| line.contains("\"how\":\"Done\"") || line.contains("another run of it is under way");
    for daemon in &mut daemons {
        daemon.line(settled);
    }
    for mut daemon in daemons {
        daemon.signal("TERM");
        assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(sessions(&bench), 1);
}
