//! `cargo xtask`: set-up, tests and demonstration.

use backup_testkit::servers::{Tool, Toolbox, install};

fn main() {
    let toolbox = Toolbox::open().unwrap();
    let done = install(&toolbox, &Tool::all(), &mut |line| println!("{line}"));
    if let Err(e) = done {
        eprintln!("{e}");
        std::process::exit(1);
    }
}
