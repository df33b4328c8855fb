//! A question to the person at the terminal.

use std::io::Write;

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
