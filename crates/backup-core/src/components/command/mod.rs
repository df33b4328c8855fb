//! The component `command`: whatever programs of the user's own write to their standard output, and read from their standard input.
//!
//! A program's output counts when it exited with 0, wrote something, and wrote the `end_marker` that the section names, if it names
//! one. What the program says of its output on file descriptor 3 (see [`told`](self::told)) is held against what was read, and
//! enters the manifest.

mod capture;
mod config;
mod drill;
mod restore;
mod run;
pub mod told;
mod verify;

use std::sync::Arc;

use async_trait::async_trait;

pub use config::{CommandConfig, CommandRestore};

use crate::{
    traits::{
        Capture, CaptureAsk, Component, ComponentFactory, Context, Deps, Drill, Finding, Journal, Node, Plan,
        Restored, Source, Step, Target,
    },
    words::{ComponentRecord, Kind, Result},
};
use run::{Operation, Programs};

/// The kind's name in a config file.
pub const KIND: &str = "command";

const FORMAT: u32 = 1;

/// Programs that back something up, and restore it.
#[derive(Clone, Debug)]
pub struct Commands {
    programs: Programs,
}

impl Commands {
    /// A component called `name` of the programs that `config` names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::words::ErrorKind) when a program is an empty list, or a name can't be an extension.
    pub fn new(name: &str, config: CommandConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { programs: Programs::new(name, config) })
    }
}

#[async_trait]
impl Component for Commands {
    fn kind(&self) -> Kind {
        Kind { name: KIND.to_owned(), format: FORMAT }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let Some(program) = &self.programs.config.check else {
            return Ok(vec![
                Finding::warning(
                    "check",
                    "the section names no program that looks whether a backup would work",
                )
                .hint("add `check = [\"PROGRAM\", ...]`"),
            ]);
        };
        Ok(match self.programs.output(cx, Operation::Check, program).await {
            Ok(said) => vec![Finding::ok("check", verify::last_line(&said))],
            Err(error) => vec![Finding::from_error("check", &error)],
        })
    }

    async fn open(&self, cx: &Context, ask: &CaptureAsk) -> Result<Box<dyn Capture>> {
        Ok(Box::new(capture::CommandCapture::open(cx, &self.programs, ask).await?))
    }

    async fn verify(&self, cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        verify::verify(cx, &self.programs, from).await
    }

    fn drill(&self) -> Option<&dyn Drill> {
        Some(self)
    }

    fn by_hand(&self, record: &ComponentRecord) -> Vec<String> {
        restore::by_hand(&self.programs.config, record)
    }

    async fn plan(&self, _: &Context, target: &Target, from: &dyn Source) -> Result<Plan> {
        restore::plan(&self.programs.config, target, from)
    }

    async fn apply(
        &self,
        cx: &Context,
        _: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        restore::apply(cx, &self.programs, step, from, journal).await
    }
}

/// Makes [`Commands`] from config sections.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandFactory;

#[async_trait]
impl ComponentFactory for CommandFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(CommandConfig).to_value()
    }

    fn restore_schema(&self) -> serde_json::Value {
        schemars::schema_for!(CommandRestore).to_value()
    }

    fn example(&self) -> &'static str {
        config::EXAMPLE
    }

    async fn build(&self, name: &str, config: &Node, _: &Deps) -> Result<Arc<dyn Component>> {
        let section: CommandConfig = config.parse()?;
        section.check().map_err(|e| config.error("", e.to_string()))?;
        Ok(Arc::new(Commands { programs: Programs::new(name, section) }))
    }
}
