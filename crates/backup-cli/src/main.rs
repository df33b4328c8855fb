//! The binary `ha-backup`: the command line with the built-in kinds.

fn main() -> std::process::ExitCode {
    backup_cli::Builder::new().run(std::env::args_os())
}
