//! From arguments to an exit code.

use std::{ffi::OsString, process::ExitCode, sync::Arc, time::Duration};

use backup_core::{
    policy::HealthState,
    traits::{ComponentFactory, Context, StoreFactory},
    words::Error,
};
use clap::Parser;

use crate::{
    args::{Cli, Command},
    commands::{App, answer_shell, dispatch, nagios_exit, nagios_unknown},
    exit::{Exit, Failure},
    logging,
    registry::Registry,
    render::{self, Output, Reporter},
    signals,
};

/// A command line with a set of kinds.
#[derive(Clone, Debug)]
pub struct Builder {
    registry: Registry,
}

impl Builder {
    /// With the kinds that the cargo features of this build bring: store `local`; components `files`, `etcd`, `kubernetes`, `postgres`.
    pub fn new() -> Self {
        Self { registry: Registry::built_in() }
    }

    /// Adds a kind of component; a kind of the same name is replaced.
    #[must_use]
    pub fn component(mut self, factory: Arc<dyn ComponentFactory>) -> Self {
        self.registry.add_component(factory);
        self
    }

    /// Adds a kind of store; a kind of the same name is replaced.
    #[must_use]
    pub fn store(mut self, factory: Arc<dyn StoreFactory>) -> Self {
        self.registry.add_store(factory);
        self
    }

    /// Does what `args` (the program's name first) say. Results go to standard output, all else to standard error.
    pub fn run(self, args: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        if answer_shell(&self.registry, &args) {
            return Exit::Good.into();
        }
        match Cli::try_parse_from(&args) {
            Ok(cli) => self.execute(cli).into(),
            Err(error) => {
                let wrong = error.use_stderr();
                // Nobody listening there is no reason to end otherwise.
                let _ = error.print();
                if wrong && args.iter().any(|arg| arg == "--json") {
                    render::print_usage(&error.to_string());
                }
                if wrong && args.iter().any(|arg| arg == "--nagios") {
                    // To a monitoring system, 2 would be a failed backup.
                    let _ = Output { json: false, quiet: false, logged: false }
                        .plain(&nagios_unknown("the command line is wrong"));
                    return nagios_exit(HealthState::Unknown).into();
                }
                if wrong { Exit::Usage.into() } else { Exit::Good.into() }
            }
        }
    }

    fn execute(self, cli: Cli) -> Exit {
        let output = Output { json: cli.global.json, quiet: cli.global.quiet, logged: false };
        let bars = render::bars(output);
        let daemon = matches!(cli.command, Command::Daemon(_));
        let wanted = logging::Wanted {
            verbose: cli.global.verbose,
            quiet: output.quiet,
            format: cli.global.log_format,
            daemon,
        };
        let logs = logging::start(wanted, &bars);
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(e) => return failed(&Error::io("start", "the runtime", e).into(), output),
        };
        let done = runtime.block_on(async {
            let reporter = Reporter::start(output, bars.clone());
            let cx = Context::new().with_observer(Arc::new(logging::Logged(Some(reporter.observer()))));
            // A daemon has signals of its own.
            if !daemon {
                signals::watch(cx.cancel.clone(), bars).map_err(|e| Error::io("watch", "signals", e))?;
            }
            let app = App {
                registry: self.registry,
                global: cli.global,
                output,
                cx,
                reporter,
                silent_when_good: false,
                logs,
                document: None,
            };
            dispatch(app, cli.command).await
        });
        // What was begun and dropped is undone; a thread that waits for an answer on standard input holds the end up no longer.
        runtime.shutdown_timeout(Duration::from_millis(500));
        match done {
            Ok(exit) => exit,
            Err(failure) => failed(&failure, output),
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

fn failed(failure: &Failure, output: Output) -> Exit {
    render::print_error(failure, output);
    failure.exit
}
