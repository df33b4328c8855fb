//! `explain`: what exit codes and kinds of errors mean.

use backup_core::{
    traits::nearest,
    words::{Error, ErrorKind},
};
use serde_json::{Value, json};

use super::App;
use crate::exit::{Exit, Failure};

/// Something that can be explained.
#[derive(Debug)]
struct Entry {
    /// The number of an exit code, or the name of a kind.
    code: String,
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
    /// With which exit code it ends a command, where it is a kind of error.
    exit: Option<Exit>,
}

pub(crate) fn run(app: &App, code: Option<&str>) -> Result<Exit, Failure> {
    let entries = entries();
    let Some(code) = code else {
        let documents: Vec<Value> = entries.iter().map(document).collect();
        app.answer(&documents, || list(&entries))?;
        return Ok(Exit::Good);
    };
    let plain = |text: &str| text.to_lowercase().replace(['_', '-', ' '], "");
    let Some(entry) = entries.iter().find(|entry| plain(&entry.code) == plain(code)) else {
        let error = Error::new(ErrorKind::Config, "explain", code)
            .detail("there is no such exit code or kind of error");
        let hint = match nearest(code, entries.iter().map(|entry| entry.code.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`ha-backup explain` lists them".to_owned(),
        };
        return Err(Failure::usage(error.hint(hint)));
    };
    app.answer(&document(entry), || text(entry))?;
    Ok(Exit::Good)
}

fn entries() -> Vec<Entry> {
    let exits = EXITS.iter().map(|exit| {
        let (title, meaning, remedy) = about_exit(*exit);
        Entry { code: (*exit as u8).to_string(), title, meaning, remedy, exit: None }
    });
    let kinds = ErrorKind::ALL.iter().map(|kind| {
        let (title, meaning, remedy) = about_kind(*kind);
        let exit = Failure::from(Error::new(*kind, "", "")).exit;
        Entry { code: format!("{kind:?}"), title, meaning, remedy, exit: Some(exit) }
    });
    exits.chain(kinds).collect()
}

fn document(entry: &Entry) -> Value {
    json!({
        "code": entry.code,
        "title": entry.title,
        "meaning": entry.meaning,
        "remedy": entry.remedy,
        "exit_code": entry.exit.map(|exit| exit as u8),
    })
}

fn text(entry: &Entry) -> String {
    let what = if entry.exit.is_some() { "kind of error" } else { "exit code" };
    let exit =
        entry.exit.map(|exit| format!("\nA command that fails so ends with exit code {}.", exit as u8));
    format!(
        "{what} {}: {}\n\n{}\n\nWhat to do: {}{}",
        entry.code,
        entry.title,
        entry.meaning,
        entry.remedy,
        exit.unwrap_or_default()
    )
}

fn list(entries: &[Entry]) -> String {
    let rows = entries.iter().map(|entry| format!("  {:<15}{}", entry.code, entry.title));
    let (exits, kinds): (Vec<_>, Vec<_>) = rows.zip(entries).partition(|(_, entry)| entry.exit.is_none());
    let lines =
        |rows: Vec<(String, &Entry)>| rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>().join("\n");
    format!(
        "Exit codes\n{}\n\nKinds of errors, as --json prints them\n{}\n\n`ha-backup explain CODE` says more.",
        lines(exits),
        lines(kinds)
    )
}

const EXITS: [Exit; 8] = [
    Exit::Good,
    Exit::Failed,
    Exit::Usage,
    Exit::Problems,
    Exit::NotFound,
    Exit::Locked,
    Exit::WrongKey,
    Exit::Interrupted,
];

/// Title, meaning, remedy.
fn about_exit(exit: Exit) -> (&'static str, &'static str, &'static str) {
    match exit {
        Exit::Good => (
            "good",
            "All that was asked for is done, and what was read agrees with what the sources said.",
            "nothing.",
        ),
        Exit::Failed => (
            "failed",
            "The command could not do its work. What was begun does not count: a session without a manifest is none.",
            "read the error on standard error, its causes and its hint; with --json its `kind` can be explained too. Sessions \
             that were there before are as they were.",
        ),
        Exit::Usage => (
            "the command line or the configuration is wrong",
            "Nothing was done. The message names file, line and column, or the argument.",
            "mend it; `ha-backup config check` tries the configuration without reaching anything.",
        ),
        Exit::Problems => (
            "finished with problems",
            "The command came to its end and not all is good: a component of the session failed, a check or a verification \
             found something, a drill did not pass, a required copy is missing.",
            "what is good is kept and counts. `ha-backup show latest` and the report name what is not.",
        ),
        Exit::NotFound => (
            "no such session or store",
            "A session, component or store of that name is not there.",
            "`ha-backup list` shows the sessions; `ha-backup list --removed` those whose bytes are still there though they were removed.",
        ),
        Exit::Locked => (
            "another run holds it",
            "A run of the same job is under way, here or on another host. Nothing was done.",
            "wait for it, or add --wait. A run that died is cleared by itself once its claim is old enough.",
        ),
        Exit::WrongKey => (
            "the key does not open it",
            "The session is encrypted for other recipients than the identities given, or the passphrase of an identity is another one.",
            "`ha-backup show SESSION` names the recipients; give a fitting identity with --identity, or in [encryption].",
        ),
        Exit::Interrupted => (
            "interrupted",
            "It was stopped by a signal before its end. What was begun does not count and is cleared by the next run.",
            "run it again; a restore goes on where it stopped.",
        ),
    }
}

/// Title, meaning, remedy.
fn about_kind(kind: ErrorKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        ErrorKind::NotFound => (
            "it is not there",
            "A session, an object of a store, a file or a server's object of that name does not exist.",
            "look at the name. An object that a manifest names and a store lacks is damage: `ha-backup verify SESSION`, then \
             `ha-backup copy SESSION --to STORE` from a store that has it.",
        ),
        ErrorKind::AlreadyExists => (
            "it is there already",
            "Something was to be made under a name that is taken. Nothing is ever written over.",
            "choose another name or folder, or remove what is there.",
        ),
        ErrorKind::Conflict => (
            "not the state that was expected",
            "Between looking and acting something changed: the target of a restore since its plan, or an object of a store.",
            "run the command again; a restore shows a new plan.",
        ),
        ErrorKind::Denied => (
            "no rights",
            "The other side, or the operating system, refuses these credentials or this user.",
            "`ha-backup check` lists the rights that are missing; the deploy/ folder holds the least ones needed.",
        ),
        ErrorKind::Config => (
            "the configuration or the call is wrong",
            "Nothing was done. The message names file, line and column.",
            "mend it; `ha-backup config check` tries it, `ha-backup config schema` is for editors.",
        ),
        ErrorKind::Unsupported => (
            "this version cannot do it",
            "A server, a store, a tool or this binary is too old, too new or built without what is needed.",
            "the message names what is missing; `ha-backup check` compares the versions of tools and servers.",
        ),
        ErrorKind::Corrupt => (
            "the bytes are not what they should be",
            "What was read differs from its digest, its format or its manifest.",
            "`ha-backup verify SESSION` names every damaged file; another store's copy heals it, and restores take it by themselves.",
        ),
        ErrorKind::Truncated => (
            "the bytes end too early",
            "A stream ended before its end marker, or with fewer bytes than the source said. It is never taken as a backup.",
            "run it again; if it stays so, something between the source and this host cuts connections.",
        ),
        ErrorKind::Unreachable => (
            "nobody answers",
            "No connection could be made, or it broke, and trying again did not help.",
            "look at the address, the server and the network in between; `ha-backup check` reaches each of them.",
        ),
        ErrorKind::Throttled => (
            "asked to slow down",
            "The other side answered too often that there are too many requests.",
            "set bandwidth or lower the concurrency in the store's section, or run at another time.",
        ),
        ErrorKind::NoSpace => (
            "no space is left",
            "A file system, a quota or a server's limit is full. The session that was being written does not count.",
            "`ha-backup cleanup --dry-run` shows what retention would remove; free space, or keep fewer sessions.",
        ),
        ErrorKind::TimedOut => (
            "a deadline passed",
            "The other side took a request and did not answer in time.",
            "look at its load; deadlines are in the section of the component or store.",
        ),
        ErrorKind::Cancelled => (
            "it was cancelled",
            "A signal or the program around it stopped the work. What was begun does not count.",
            "run it again; a restore goes on where it stopped.",
        ),
        ErrorKind::Locked => (
            "another run holds it",
            "A run of the same job is under way, here or on another host. Nothing was done.",
            "wait for it, or add --wait.",
        ),
        ErrorKind::WrongKey => (
            "the key does not open it",
            "None of the identities given is among the recipients, or the passphrase of one is another one.",
            "`ha-backup show SESSION` names the recipients; give a fitting identity with --identity.",
        ),
        ErrorKind::Refused => (
            "refused for safety",
            "Going on could lose something: a target that is in use, a folder that is not empty, a path that leads outside.",
            "the message says what would be lost and which option allows it.",
        ),
        ErrorKind::Unknown => (
            "whether it happened is not known",
            "An answer was lost, and reading back did not settle it either.",
            "look at the other side before doing it again; `ha-backup list` shows whether a session was committed.",
        ),
        ErrorKind::Failed => (
            "the other program failed",
            "A server or a program answered with an error of its own; its words are in the message.",
            "its own logs say more; with -vv this program's log has the whole conversation but secrets.",
        ),
        ErrorKind::Internal => (
            "a defect of ours",
            "Something that cannot be so is so. What was being written does not count.",
            "please report it with the log (-vvv) and `ha-backup --version`.",
        ),
        _ => ("unknown", "This kind of error is newer than this command line.", "read the message."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_happen_is_explained_in_words_of_its_own() {
        let entries = entries();
        assert_eq!(entries.len(), EXITS.len() + ErrorKind::ALL.len());
        for entry in &entries {
            assert_ne!(entry.title, "unknown", "{}", entry.code);
            assert!(entry.meaning.ends_with('.') && entry.remedy.ends_with('.'), "{}", entry.code);
            let same = entries.iter().filter(|other| other.code.eq_ignore_ascii_case(&entry.code)).count();
            assert_eq!(same, 1, "{}", entry.code);
        }
    }
}
