//! A question to the person at the terminal.

use std::io::Write;

#[cfg(feature = "encryption")]
use backup_core::words::Secret;
use backup_core::words::{Error, Result};

/// True when the answer is yes; anything else is no.
///
/// # Errors
/// When the answer cannot be read.
pub(crate) async fn ask(question: &str) -> Result<bool> {
    let line = ask_line(question).await?.unwrap_or_default();
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The line that is answered; none at the end of input.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn ask_line(question: &str) -> Result<Option<String>> {
    let question = question.to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let mut err = std::io::stderr().lock();
        err.write_all(question.as_bytes())?;
        err.flush()?;
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|read| (read > 0).then_some(line))
    });
    match answer.await {
        Ok(line) => line.map_err(|e| Error::io("read", "the answer", e)),
        Err(_) => Err(Error::cancelled("ask")),
    }
}

/// The answer, which is not shown while it is typed.
///
/// # Errors
/// When there is no terminal.
#[cfg(feature = "encryption")]
pub(crate) async fn ask_secret(question: &str) -> Result<Secret> {
    let question = question.to_owned();
    let answer = tokio::task::spawn_blocking(move || rpassword::prompt_password(question));
    match answer.await {
        Ok(line) => line.map(Secret::new).map_err(|e| Error::io("ask at", "the terminal", e)),
        Err(_) => Err(Error::cancelled("ask")),
    }
}
