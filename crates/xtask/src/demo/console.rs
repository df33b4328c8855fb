//! What the demonstration shows.

use std::process::Command;

/// Begins a part.
pub(crate) fn title(text: &str) {
    println!("\n== {text}");
}

/// Says what the last command has shown to be true.
pub(crate) fn proved(text: &str) {
    println!("-> proved: {text}");
}

/// Shows a command, runs it and shows what it says; an error unless it ends with this exit code.
pub(crate) fn show(command: &mut Command, exit_code: i32) -> crate::Outcome {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<_> = words.map(|w| quoted(&w.to_string_lossy())).collect();
    println!("$ {}", line.join(" "));
    let status = command.status()?;
    if status.code() == Some(exit_code) {
        return Ok(());
    }
    Err(format!("{}: {status}, {exit_code} was expected", line.join(" ")).into())
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
