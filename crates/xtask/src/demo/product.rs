//! The product, pointed at a stack.

use super::console::{proved, show};
use super::stack::{Stack, Versions};
use crate::Outcome;
use backup_testkit::servers::{Result, Scratch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Finished, with something left to do or to look at.
const WITH_PROBLEMS: i32 = 3;

/// The program under demonstration, with its store.
pub(crate) struct Product {
    program: PathBuf,
    folder: PathBuf,
    password: String,
}

impl Product {
    /// The variable from which it reads PostgreSQL's password.
    pub(crate) const PASSWORD: &str = "DEMO_PGPASSWORD";

    pub(crate) fn new(program: PathBuf, scratch: &Scratch, password: &str) -> Result<Self> {
        let folder = scratch.path().join("product");
        fs::create_dir(&folder)?;
        Ok(Self { program, folder, password: password.to_owned() })
    }

    /// Writes and shows a configuration for a stack; all of them share one store.
    pub(crate) fn configure(&self, name: &str, stack: &Stack) -> Result<PathBuf> {
        let store = self.store();
        let bin = stack.patroni.sql(0).tools.bin;
        let text = format!(
            "name = \"crm\"\n\n[[store]]\nkind = \"local\"\npath = {store:?}\n\n\
             [[component]]\nkind = \"etcd\"\nendpoints = {:?}\n\n\
             [[component]]\nkind = \"postgres\"\npatroni = {:?}\nuser = \"{}\"\n\
             password = {{ env = \"{}\" }}\nbin_folders = [{bin:?}]\n",
            stack.etcd.endpoints(),
            stack.patroni.rest_urls(),
            stack.patroni.user(),
            Self::PASSWORD,
        );
        self.write(name, &text)
    }

    /// `ha-backup --config CONFIG ARGS`, which must end well.
    pub(crate) fn run(&self, config: &Path, args: &[&str]) -> Outcome {
        show(&mut self.command(config, args), 0)
    }

    /// Restores the newest session into throwaway places, with the stack's own programs.
    pub(crate) fn drill(&self, stack: &Stack, config: &Path) -> Outcome {
        let mut folders: Vec<PathBuf> =
            stack.etcd.tools().etcd.parent().map(Path::to_owned).into_iter().collect();
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        let path = std::env::join_paths(folders).map_err(std::io::Error::other)?;
        show(self.command(config, &["drill"]).env("PATH", path), 0)
    }

    /// Restores everything into a second stack, as an operator does who has lost the first one: the etcd
    /// members are started from restored folders, then Patroni on top of them, then its data is restored.
    pub(crate) fn restore(
        &self,
        versions: Versions,
    ) -> std::result::Result<Stack, Box<dyn std::error::Error>> {
        let mut stack = Stack::prepare(versions)?;
        let config = self.configure("restored.toml", &stack)?;
        let dir = format!("dir={}", stack.etcd.data_root().display());
        let members = format!("members={}", stack.etcd.initial_cluster());
        let token = format!("token={}", stack.etcd.token());
        let args = ["restore", "latest", "all", "--yes", "--set", &dir, "--set", &members, "--set", &token];
        show(&mut self.command(&config, &args), WITH_PROBLEMS)?;
        proved("etcd's folders are written; the restore waits for them to be started (exit code 3)");
        println!("starting etcd on the restored folders, and a new Patroni on that etcd");
        stack.start_all()?;
        proved("the restored etcd starts with three members, and a new Patroni can bootstrap on it");
        show(&mut self.command(&config, &args), 0)?;
        proved("the same command went on where it had stopped, and restored every database");
        Ok(stack)
    }

    /// Writes and shows a configuration.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, text)?;
        println!("the configuration, {}:\n{text}", file.display());
        Ok(file)
    }

    /// The folder of its store.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    fn command(&self, config: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(config).args(args).current_dir(&self.folder);
        command.env(Self::PASSWORD, &self.password);
        command
    }
}
