//! Runs the built binary in a folder of its own.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod web;

use std::{
    fs::File,
    io::Write,
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// A folder with a configuration, a store and something to back up.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// The built binary. It is held open: a build that goes on meanwhile may put another one at its path.
fn binary() -> PathBuf {
    static BINARY: OnceLock<File> = OnceLock::new();
    let file = BINARY.get_or_init(|| File::open(env!("CARGO_BIN_EXE_ha-backup")).unwrap());
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// What a run of the binary gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The same, after the exit code was compared.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub(crate) fn messages(&self) -> Vec<Value> {
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(line).collect()
    }

    /// The last JSON line of that type.
    #[track_caller]
    pub(crate) fn message(&self, message_type: &str) -> Value {
        let messages = self.messages();
        let found = messages.into_iter().rfind(|message| message["message_type"] == message_type);
        found.unwrap_or_else(|| panic!("no {message_type} in {}", self.stdout))
    }
}

impl Bench {
    /// With nothing in it.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    /// Gives the binary a variable of the environment from now on.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// With a store, the component `web` of kind `files` over the folder `data`, and a few files in it.
    pub(crate) fn with_files() -> Self {
        let bench = Self::empty();
        std::fs::create_dir_all(bench.path("data/sub")).unwrap();
        std::fs::write(bench.path("data/hello.txt"), "hello\n").unwrap();
        std::fs::write(bench.path("data/sub/numbers.txt"), numbers()).unwrap();
        bench.config("");
        bench
    }

    /// Writes the configuration of [`with_files`](Self::with_files) with `more` at its end.
    pub(crate) fn config(&self, more: &str) {
        let text = format!(
            "name = \"crm\"\n[[store]]\nkind = \"local\"\npath = {:?}\n\
             [[component]]\nkind = \"files\"\nname = \"web\"\npath = {:?}\n{more}",
            self.path("store"),
            self.path("data"),
        );
        self.write("ha-backup.toml", &text);
    }

    /// A path inside the folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file.
    pub(crate) fn write(&self, relative: &str, text: &str) {
        std::fs::write(self.path(relative), text).unwrap();
    }

    /// The binary, in this folder, without the caller's settings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg0("ha-backup")
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env_remove("HA_BACKUP_CONFIG")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.folder.path()).env("NO_COLOR", "1");
        command
    }

    /// Runs the binary.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.ran(&self.command(args).output().unwrap())
    }

    /// What `output` says, with this folder's path written as `$DIR`.
    pub(crate) fn ran(&self, output: &Output) -> Ran {
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(&self.folder.path().display().to_string(), "$DIR")
        };
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Makes the repository and one session; its id.
    #[track_caller]
    pub(crate) fn first_session(&self) -> String {
        self.run(&["init"]).exits(0);
        let ran = self.run(&["backup", "--json"]).exits(0);
        ran.message("backup_ended")["session_id"].as_str().unwrap().to_owned()
    }

    /// The only stored artifact of a component, whatever type its session has by the day.
    pub(crate) fn stored(&self, component: &str) -> PathBuf {
        let folders = ["daily", "weekly", "monthly", "yearly"]
            .map(|session_type| self.path("store").join(session_type).join(component));
        let mut files: Vec<PathBuf> = folders
            .iter()
            .filter(|folder| folder.exists())
            .flat_map(|folder| std::fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

/// Some text that takes more than one block.
pub(crate) fn numbers() -> String {
    (0..20_000).map(|n| format!("{n}\n")).collect()
}

/// Bytes that take a while and do not compress.
pub(crate) fn write_much(bench: &Bench) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(bench.path("data/much")).unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..(200 << 20) / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

/// Names of all files below `folder`, sorted.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// Waits until the clock shows another second: times in names of files have no finer parts.
pub(crate) fn next_second() {
    let second = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let begun = second();
    while second() == begun {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
