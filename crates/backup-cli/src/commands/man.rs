//! `man`: manual pages.

use std::path::Path;

use backup_core::{
    traits::nearest,
    words::{Error, ErrorKind},
};
use clap::CommandFactory;

use super::App;
use crate::{
    args::Cli,
    exit::{Exit, Failure},
};

pub(crate) fn run(app: &App, command: Option<&str>, to: Option<&Path>) -> Result<Exit, Failure> {
    let mut program = Cli::command();
    program.build();
    if let Some(folder) = to {
        clap_mangen::generate_to(program, folder)
            .map_err(|e| Error::io("write the manual pages", folder.display().to_string(), e))?;
        return Ok(Exit::Good);
    }
    let shown = match command {
        None => program,
        Some(name) => page_of(&program, name)?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(shown).render(&mut page).map_err(|e| Error::io("make", "the manual page", e))?;
    app.output.plain(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Good)
}

fn page_of(program: &clap::Command, name: &str) -> Result<clap::Command, Failure> {
    let Some(command) = program.find_subcommand(name) else {
        let error =
            Error::new(ErrorKind::Config, "make the manual page", name).detail("there is no such command");
        let near = nearest(name, program.get_subcommands().map(clap::Command::get_name));
        return Err(Failure::usage(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`ha-backup --help` lists them"),
        }));
    };
    Ok(command.clone())
}
