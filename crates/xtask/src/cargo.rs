//! Cargo in the environment that the workspace's builds and tests need.

use crate::Outcome;
use backup_testkit::servers::Toolbox;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// protoc where the system has none, and the cache, so that tests look where set-up has put things.
pub(crate) fn environment(toolbox: &Toolbox) -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
    let mut all = toolbox.protoc()?.env();
    all.push(("HA_BACKUP_CACHE".to_owned(), toolbox.cache().display().to_string()));
    Ok(all)
}

fn command(toolbox: &Toolbox, args: &[&str]) -> Result<Command, Box<dyn std::error::Error>> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).envs(environment(toolbox)?).current_dir(root());
    Ok(command)
}

/// Runs cargo and shows what it says.
pub(crate) fn run(toolbox: &Toolbox, args: &[&str]) -> Outcome {
    println!("$ cargo {}", args.join(" "));
    let status = command(toolbox, args)?.status()?;
    if status.success() { Ok(()) } else { Err(format!("cargo {}: {status}", args[0]).into()) }
}

/// Builds one program and says where it is.
pub(crate) fn build(toolbox: &Toolbox, args: &[&str]) -> Result<PathBuf, Box<dyn std::error::Error>> {
    println!("$ cargo build {}", args.join(" "));
    let mut build = command(toolbox, &["build", "--message-format=json-render-diagnostics"])?;
    let output = build.args(args).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("cargo build: {}", output.status).into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let messages = messages.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let mut programs = messages.filter_map(|m| m["executable"].as_str().map(PathBuf::from));
    programs.next_back().ok_or_else(|| "cargo build made no program".into())
}

/// One of the things that a package is built into.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) package: String,
    /// `lib`, `bin`, `test` and so on.
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// All targets of the workspace.
pub(crate) fn targets(toolbox: &Toolbox) -> Result<Vec<Target>, Box<dyn std::error::Error>> {
    let output = command(toolbox, &["metadata", "--no-deps", "--format-version=1"])?.output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]);
    let all = packages.iter().flat_map(|package| {
        list(&package["targets"]).into_iter().map(|target| Target {
            package: text(&package["name"]),
            kind: text(&target["kind"][0]),
            name: text(&target["name"]),
        })
    });
    Ok(all.collect())
}

/// The workspace's folder.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
