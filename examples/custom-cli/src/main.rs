//! `ha-backup` with a component and a store of your own.

use std::{process::ExitCode, sync::Arc};

use example_custom_store::FlatFactory;

fn main() -> ExitCode {
    backup_cli::Builder::new()
        .component(example_custom_component::factory())
        .store(Arc::new(FlatFactory))
        .run(std::env::args_os())
}
