//! A person with a shell and the servers' own tools, who follows RESTORE.txt to the letter.

use std::{path::PathBuf, process::Command};

/// The folder that an archive was unpacked in, and a shell there.
pub(crate) struct Hands {
    pub(crate) folder: PathBuf,
    pub(crate) env: Vec<(String, String)>,
}

impl Hands {
    /// Runs one command; its standard output.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.folder)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}\n{stdout}{stderr}");
        stdout.into_owned()
    }

    /// The commands of RESTORE.txt below the heading of `component`; before all headings for "".
    pub(crate) fn commands(&self, component: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("RESTORE.txt")).unwrap();
        let mut heading = "";
        let mut commands = Vec::new();
        for line in text.lines() {
            if let Some((name, _)) =
                line.split_once(" (").filter(|_| line.ends_with(')') && !line.starts_with(' '))
            {
                heading = name;
            }
            if let Some(command) = line.trim_start().strip_prefix("$ ").filter(|_| heading == component) {
                commands.push(command.to_owned());
            }
        }
        commands
    }
}
