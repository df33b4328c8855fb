//! Completions for shells: the words of the command line, and what stands in the configuration and the stores.

use std::{ffi::OsString, time::Duration};

use backup_core::{
    engine::Session,
    traits::Context,
    words::{Error, Result},
};
use clap::{Command, CommandFactory, builder::StyledStr};
use clap_complete::{
    ArgValueCandidates, CompleteEnv, CompletionCandidate,
    env::{EnvCompleter, Shells},
};

use super::{App, list::Line};
use crate::{
    args::{Cli, Global},
    config::Document,
    exit::{Exit, Failure},
    logging::Logs,
    registry::Registry,
    render::{Output, Reporter, bars},
};

/// How long somebody who pressed a key waits for what is in the stores.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many of the newest sessions are offered.
const SESSIONS: usize = 50;
/// The variable by which a shell's script asks for words.
const VARIABLE: &str = "HA_BACKUP_COMPLETE";
const PROGRAM: &str = "ha-backup";

/// Prints the script that makes a shell ask us.
pub(super) fn print_script(app: &App, shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let name = shell.to_string();
    let failed = |e| Error::io("make", "the completion script", e);
    let unknown = || failed(std::io::Error::other("the shell has none"));
    let builtins = Shells::builtins();
    let completer: &dyn EnvCompleter = builtins.completer(&name).ok_or_else(unknown)?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script).map_err(failed)?;
    app.output.plain(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Good)
}

/// Answers a shell that asks for words; false for every other call.
pub(crate) fn answer(registry: &Registry, args: &[OsString]) -> bool {
    let asking = CompleteEnv::with_factory(|| with_live_values(registry, args)).var(VARIABLE);
    let folder = std::env::current_dir().ok();
    // What cannot be completed is typed.
    asking.try_complete(args.iter().cloned(), folder.as_deref()).unwrap_or(true)
}

/// The command line, whose names of sessions, components, stores and jobs are those that there are.
fn with_live_values(registry: &Registry, args: &[OsString]) -> Command {
    let live = Live { registry: registry.clone(), config: named_config(args) };
    enriched(Cli::command(), &live)
}

fn enriched(command: Command, live: &Live) -> Command {
    let is_copy = command.get_name() == "copy";
    let command = command.mut_args(|arg| {
        let what = match arg.get_id().as_str() {
            "session" => What::Sessions,
            "component" | "components" => What::Components,
            "store" => What::Stores,
            "to" if is_copy => What::Stores,
            "job" => What::Jobs,
            _ => return arg,
        };
        let live = live.clone();
        arg.add(ArgValueCandidates::new(move || live.candidates(what)))
    });
    command.mut_subcommands(|command| enriched(command, live))
}

/// The configuration that the words before name.
fn named_config(args: &[OsString]) -> Option<std::path::PathBuf> {
    let mut words = args.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(|file| file.into_owned().into());
        }
        if let Some(file) = word.strip_prefix("--config=") {
            return Some(file.into());
        }
    }
    std::env::var_os(crate::config::VARIABLE).map(Into::into)
}

#[derive(Clone, Copy, Debug)]
enum What {
    Sessions,
    Components,
    Stores,
    Jobs,
}

#[derive(Clone, Debug)]
struct Live {
    registry: Registry,
    config: Option<std::path::PathBuf>,
}

impl Live {
    fn candidates(&self, what: What) -> Vec<CompletionCandidate> {
        self.read(what).unwrap_or_default()
    }

    fn read(&self, what: What) -> Result<Vec<CompletionCandidate>> {
        let document = Document::find(self.config.as_deref())?;
        let config = document.config()?;
        let names = |names: Vec<String>| names.into_iter().map(CompletionCandidate::new).collect();
        Ok(match what {
            What::Components => names(config.components.into_iter().map(|section| section.name).collect()),
            What::Stores => names(config.stores.into_iter().map(|store| store.section.name).collect()),
            What::Jobs => names(config.entries.into_iter().map(|entry| entry.name).collect()),
            What::Sessions => self.sessions(document)?,
        })
    }

    /// `latest`, and the newest sessions.
    fn sessions(&self, document: Document) -> Result<Vec<CompletionCandidate>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("start", "the runtime", e))?;
        let listed = runtime.block_on(async { tokio::time::timeout(PATIENCE, self.list(document)).await });
        runtime.shutdown_background();
        let mut sessions = listed.unwrap_or(Ok(Vec::new()))?;
        sessions.sort_by_key(|session| std::cmp::Reverse(session.entry.id));
        let latest = CompletionCandidate::new("latest").help(Some("the newest good one".into()));
        let sessions = sessions.iter().take(SESSIONS).map(|session| candidate(&Line::of(session)));
        let ordered = std::iter::once(latest).chain(sessions).enumerate();
        Ok(ordered.map(|(index, candidate)| candidate.display_order(Some(index))).collect())
    }

    async fn list(&self, document: Document) -> Result<Vec<Session>> {
        let output = Output { json: false, quiet: true, logged: false };
        let app = App {
            registry: self.registry.clone(),
            global: Global::default(),
            output,
            cx: Context::new(),
            reporter: Reporter::start(output, bars(output)),
            silent_when_good: true,
            logs: Logs::default(),
            document: None,
        };
        let engine = app.build(document.config()?).await?.engine;
        let mut sessions = Vec::new();
        engine.each_session(&app.cx, |session| sessions.push(session)).await?;
        Ok(sessions)
    }
}

fn candidate(line: &Line) -> CompletionCandidate {
    let words = [
        line.session_type.map(|session_type| session_type.to_string()),
        line.status.map(|status| format!("{status:?}").to_uppercase()),
        Some(line.components.join(" ")),
    ];
    let help = words.into_iter().flatten().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
    CompletionCandidate::new(line.session_id.to_string()).help(Some(StyledStr::from(help)))
}
