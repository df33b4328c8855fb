//! A question to the person at the terminal.

use std::io::Write;

#[cfg(feature = "encryption")]
use backup_core::words::Secret;
use backup_core::words::{Error, Result};

/// True when the answer is yes; anything else is no.
///
/// # Errors
/// When the answer cannot be read.
pub(crate) async fn ask(question: &'static str) -> Result<bool> {
    let answer = tokio::task::spawn_blocking(move || {
        let mut err = std::io::stderr().lock();
        err.write_all(question.as_bytes())?;
        err.flush()?;
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = match answer.await {
        Ok(line) => line.map_err(|e| Error::io("read", "the answer", e))?,
        Err(_) => return Err(Error::cancelled("ask")),
    };
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
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
