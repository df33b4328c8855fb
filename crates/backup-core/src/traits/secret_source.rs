//! Where a configuration's secret comes from.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Command, LocalPlace, Place};
use crate::words::{Error, ErrorKind, Result, Secret};

/// A secret in a configuration: the value itself, or where it stands. `Debug` never shows the value; its JSON Schema says
/// `writeOnly`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
// The mark by which whoever shows a configuration knows what not to show.
#[schemars(extend("writeOnly" = true))]
pub enum SecretSource {
    /// The value itself.
    #[serde(deserialize_with = "plain")]
    #[schemars(with = "String")]
    Plain(Secret),
    /// A variable of our environment.
    Env {
        /// Its name.
        env: String,
    },
    /// A file; a line end at its end is dropped.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// A program on this host that prints it; a line end at its end is dropped.
    Command {
        /// Program and arguments.
        command: Vec<String>,
    },
}

fn plain<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl SecretSource {
    /// The operation of all errors of a secret that cannot be had.
    pub const OPERATION: &str = "read the secret";

    /// Fetches the secret. `what` names it in errors ("password of etcd").
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the variable, file or program is not there or gives nothing.
    pub async fn resolve(&self, what: &str) -> Result<Secret> {
        if let Self::Plain(secret) = self {
            return Ok(secret.clone());
        }
        let value = String::from_utf8(self.resolve_bytes(what).await?)
            .map_err(|_| bad(what, format!("{} is no UTF-8", self.place())))?;
        let value = value.trim_end_matches(['\n', '\r']);
        if value.is_empty() { Err(bad(what, "it is empty".to_owned())) } else { Ok(Secret::new(value)) }
    }

    /// Fetches a secret that need not be text, as it stands.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn resolve_bytes(&self, what: &str) -> Result<Vec<u8>> {
        match self {
            Self::Plain(secret) => Ok(secret.expose().as_bytes().to_vec()),
            Self::Env { env } => std::env::var(env).map(String::into_bytes).map_err(|_| {
                bad(what, format!("the variable {env} is not set")).hint(format!("export {env}"))
            }),
            Self::File { file } => tokio::fs::read(file)
                .await
                .map_err(|e| bad(what, format!("cannot read {}", file.display())).because(e)),
            Self::Command { command } => {
                let Some((program, arguments)) = command.split_first() else {
                    return Err(bad(what, "the command is empty".to_owned()));
                };
                let output = LocalPlace.output(&Command::new(program).args(arguments)).await;
                // A failing program's words might hold the secret: only how it ended is passed on.
                output.map_err(|e| bad(what, format!("{program} failed ({:?})", e.kind())))
            }
        }
    }

    /// Where it comes from, for people.
    fn place(&self) -> String {
        match self {
            Self::Plain(_) => "the value".to_owned(),
            Self::Env { env } => format!("the variable {env}"),
            Self::File { file } => file.display().to_string(),
            Self::Command { command } => {
                format!("what {} prints", command.first().map_or("the command", String::as_str))
            }
        }
    }
}

fn bad(what: &str, detail: String) -> Error {
    Error::new(ErrorKind::Config, SecretSource::OPERATION, what).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::Node;

    async fn resolve(value: serde_json::Value) -> Result<Secret> {
        Node::new(value).parse::<SecretSource>()?.resolve("test").await
    }

    #[tokio::test]
    async fn all_four_spellings_work() {
        assert_eq!(resolve(serde_json::json!("x")).await.unwrap().expose(), "x");
        let printed = resolve(serde_json::json!({"command": ["printf", "y\\n"]})).await.unwrap();
        assert_eq!(printed.expose(), "y");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "z\n").unwrap();
        assert_eq!(resolve(serde_json::json!({"file": file.path()})).await.unwrap().expose(), "z");
        let error = resolve(serde_json::json!({"env": "HA_BACKUP_NOT_SET"})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn a_failing_program_does_not_leak_what_it_printed() {
        let error = resolve(serde_json::json!({"command": ["sh", "-c", "echo hunter2 >&2; exit 1"]}))
            .await
            .unwrap_err();
        assert!(!error.chain().contains("hunter2"));
    }
}
