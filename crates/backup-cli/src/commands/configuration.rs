//! `config`: whether the configuration is right, and what it means.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use backup_core::traits::{Finding, SecretSource, Severity};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{App, check::finding_lines};
use crate::{
    config::{self, Block, Document, Is},
    exit::{Exit, Failure},
    render::count,
};

/// What `config` does.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the configuration and look whether its secrets are there; reach nothing (`ha-backup check` does that)
    Check,
    /// Print what is configured, without secrets: each value with the line it stands in, and what counts without being written
    Show,
    /// Print the JSON Schema of the configuration, for editors
    Schema,
}

pub(crate) async fn run(app: &mut App, command: ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check => check(app).await,
        ConfigCommand::Show => show(app),
        ConfigCommand::Schema => {
            app.output.plain(&format!("{:#}", config::schema(&app.registry)))?;
            Ok(Exit::Good)
        }
    }
}

async fn check(app: &mut App) -> Result<Exit, Failure> {
    let document = Document::find(app.global.config.as_deref())?;
    let config = document.config()?;
    let secrets = config::secrets(document.root(), &config::schema(&app.registry));
    let mut findings: Vec<Finding> = secrets.iter().map(|(path, value)| secret(path, value)).collect();
    findings.extend(readable_by_others(&document.file, &secrets));
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
    let summary = format!(
        "{}, {}, {}",
        count(config.components.len(), "component"),
        count(config.stores.len(), "store"),
        count(config.entries.len(), "job")
    );
    match app.build(config).await {
        Ok(_) => findings.insert(0, Finding::ok("configuration", summary)),
        // Some kinds read theirs when they are made; that was said already.
        Err(error) if worst == Severity::Error && error.operation() == SecretSource::OPERATION => {
            findings.insert(0, Finding::from_error("configuration", &error));
        }
        Err(error) => return Err(error.into()),
    }
    let answer = json!({ "file": document.file, "worst": worst, "findings": findings });
    app.answer(&answer, || {
        format!("{}\n{}", document.file.display(), finding_lines(findings.iter()).join("\n"))
    })?;
    Ok(Exit::problems_if(worst == Severity::Error))
}

/// Whether a secret can be had; it is not read.
fn secret(path: &str, value: &Value) -> Finding {
    if let Some(env) = value["env"].as_str() {
        return match std::env::var_os(env) {
            Some(text) if !text.is_empty() => Finding::ok(path, format!("the variable {env} is set")),
            _ => Finding::error(path, format!("the variable {env} is not set"))
                .hint(format!("export {env}; a service gets it by EnvironmentFile")),
        };
    }
    if let Some(file) = value["file"].as_str() {
        return secret_file(path, Path::new(file));
    }
    if let Some(program) = value["command"][0].as_str() {
        return match found(program) {
            Some(found) => Finding::ok(path, format!("printed by {}", found.display())),
            None => Finding::error(path, format!("there is no program {program}"))
                .hint("install it, or write its whole path"),
        };
    }
    Finding::ok(path, "written in the configuration")
}

fn secret_file(path: &str, file: &Path) -> Finding {
    match std::fs::File::open(file).and_then(|opened| opened.metadata()) {
        Ok(found) if found.mode() & 0o077 != 0 => {
            Finding::warning(path, format!("{} can be read by others", file.display()))
                .hint(format!("chmod 600 {}", file.display()))
        }
        Ok(_) => Finding::ok(path, format!("in {}", file.display())),
        Err(e) => Finding::error(path, format!("cannot read {}: {e}", file.display()))
            .hint("write the secret there, for this user alone"),
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(runs);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(runs)
}

/// A file that holds secrets is for us only.
fn readable_by_others(file: &Path, secrets: &[(String, Value)]) -> Option<Finding> {
    let open = file.metadata().is_ok_and(|found| found.mode() & 0o077 != 0);
    let (path, _) = secrets.iter().find(|(_, value)| value.is_string())?;
    open.then(|| {
        Finding::warning(path, format!("{} can be read by others", file.display())).hint(format!(
            "chmod 600 {}, or write {{ file = \"...\" }} or {{ env = \"...\" }}",
            file.display()
        ))
    })
}

fn show(app: &App) -> Result<Exit, Failure> {
    let document = Document::find(app.global.config.as_deref())?;
    // Nothing is shown of what is wrong.
    document.config()?;
    let blocks = config::blocks(document.root(), &config::schema(&app.registry));
    let answer =
        json!({ "file": document.file, "settings": blocks.iter().flat_map(as_json).collect::<Vec<_>>() });
    app.answer(&answer, || {
        let head = format!("# {}", document.file.display());
        std::iter::once(head).chain(blocks.iter().map(as_text)).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(Exit::Good)
}

fn as_json(block: &Block) -> impl Iterator<Item = Value> {
    let prefix = if block.path.is_empty() { String::new() } else { format!("{}.", block.path) };
    block.settings.iter().map(move |setting| {
        let path = format!("{prefix}{}", setting.key);
        match &setting.is {
            Is::Written(value, line) => {
                json!({ "path": path, "value": value, "origin": "file", "line": line })
            }
            Is::Default(text) => json!({ "path": path, "default": text, "origin": "default" }),
        }
    })
}

/// As TOML that could be written so, the places as comments.
fn as_text(block: &Block) -> String {
    let mut lines = Vec::new();
    if !block.heading.is_empty() {
        lines.push(if block.written { block.heading.clone() } else { format!("# {}", block.heading) });
    }
    let texts: Vec<(String, String)> =
        block.settings.iter().map(|setting| line(&setting.key, &setting.is)).collect();
    let widest = texts.iter().map(|(text, _)| text.chars().count()).filter(|width| *width <= 48).max();
    let width = widest.unwrap_or(0);
    lines.extend(texts.into_iter().map(|(text, origin)| format!("{text:<width$}  # {origin}")));
    lines.join("\n")
}

fn line(key: &str, is: &Is) -> (String, String) {
    match is {
        Is::Written(value, line) => {
            let origin = line.map_or_else(|| "written".to_owned(), |line| format!("line {line}"));
            (format!("{key} = {}", toml_text(value)), origin)
        }
        Is::Default(text) => (format!("# {key}"), format!("default: {text}")),
    }
}

/// The value on one line.
fn toml_text(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let pairs: Vec<String> =
                table.iter().map(|(key, value)| format!("{key} = {}", toml_text(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}
