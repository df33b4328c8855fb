//! How objects and their differences are shown. Nothing secret is: of a secret value only that it differs.

use std::fmt::Write;

use serde_json::Value;

use super::diff::{Change, Difference, Piece};

/// How long a value may be shown.
const LONGEST: usize = 80;
/// Words in the name of a field whose value is nobody's business.
const SECRET_WORDS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "credential",
    "private",
    "signature",
    "cookie",
];
/// Fields of Kubernetes' own that have such a word and name a thing, or how it is used.
const NAMES_OF_SECRETS: [&str; 16] = [
    "secret",
    "secretName",
    "secretRef",
    "secretKeyRef",
    "secretNamespace",
    "secrets",
    "imagePullSecrets",
    "nodePublishSecretRef",
    "nodeStageSecretRef",
    "controllerExpandSecretRef",
    "controllerPublishSecretRef",
    "serviceAccountToken",
    "automountServiceAccountToken",
    "tokenRequests",
    "privileged",
    "allowPrivilegeEscalation",
];

/// `spec.containers[web].image`, `data["app.json"]`.
pub(super) fn path(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for piece in pieces {
        // Writing to a string cannot fail.
        let _ = match piece {
            Piece::Element(name) => write!(out, "[{name}]"),
            Piece::Field(name) if name.contains(['.', '/', ' ']) => write!(out, "[{name:?}]"),
            Piece::Field(name) if out.is_empty() => write!(out, "{name}"),
            Piece::Field(name) => write!(out, ".{name}"),
        };
    }
    out
}

/// The lines of a difference, of at most `most`.
pub(super) fn difference(kind: &str, difference: &Difference, most: usize) -> Vec<String> {
    let changes = difference.changes.iter().map(|one| change(kind, one));
    let extras =
        difference.extras.iter().map(|one| format!("{} is only in the cluster, and stays", path(&one.path)));
    let mut lines: Vec<String> = changes.chain(extras).collect();
    let more = lines.len().saturating_sub(most) + difference.more;
    lines.truncate(most);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// "spec.replicas: 3 -> 2", from the cluster's to the backup's.
pub(super) fn change(kind: &str, change: &Change) -> String {
    let at = path(&change.path);
    if is_secret(kind, &change.path)
        || [&change.there, &change.wanted].into_iter().flatten().any(is_secret_text)
    {
        return match (&change.there, &change.wanted) {
            (None, _) => format!("{at}: missing (value not shown)"),
            (_, None) => format!("{at}: goes (value not shown)"),
            _ => format!("{at}: differs (value not shown)"),
        };
    }
    if let (Some(Value::String(there)), Some(Value::String(wanted))) = (&change.there, &change.wanted)
        && (there.contains('\n') || wanted.contains('\n'))
    {
        return format!("{at}: {}", texts(there, wanted));
    }
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), value_text);
    format!("{at}: {} -> {}", shown(&change.there), shown(&change.wanted))
}

/// What tells two longer texts apart, without showing them: they may hold anything.
fn texts(there: &str, wanted: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (there.lines().collect(), wanted.lines().collect());
    let same_at_start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - same_at_start;
    let same_at_end = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let differs = |lines: &[&str]| lines.len() - same_at_start - same_at_end;
    format!(
        "text of {} lines -> {} lines; from line {} on, {} -> {} lines differ",
        a.len(),
        b.len(),
        same_at_start + 1,
        differs(&a),
        differs(&b)
    )
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", short(&without_user(text))),
        Value::Array(list) if list.iter().any(|value| value.is_object() || value.is_array()) => {
            format!("(list of {})", list.len())
        }
        Value::Object(table) => format!("({} fields)", table.len()),
        other => short(&without_user(&other.to_string())),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A URL without its user and password.
fn without_user(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let host = tail.find(['/', '?', ' ', ',', '"']).unwrap_or(tail.len());
        match tail[..host].rfind('@') {
            Some(user) => {
                out.push_str("***");
                rest = &tail[user..];
            }
            None => rest = tail,
        }
    }
    out + rest
}

/// Whether the value of a field must not be shown.
fn is_secret(kind: &str, pieces: &[Piece]) -> bool {
    let field = |at: usize| match pieces.get(at) {
        Some(Piece::Field(name)) => name.as_str(),
        _ => "",
    };
    // Annotations of a Secret may hold it whole (kubectl's last-applied-configuration).
    let in_secret =
        kind == "Secret" && (matches!(field(0), "data" | "stringData") || field(1) == "annotations");
    let last_applied = "kubectl.kubernetes.io/last-applied-configuration";
    in_secret
        || pieces.iter().any(|piece| match piece {
            Piece::Field(name) => {
                name == last_applied || (has_secret_word(name) && !NAMES_OF_SECRETS.contains(&name.as_str()))
            }
            Piece::Element(name) => has_secret_word(name),
        }) && !names_a_secret(pieces)
}

/// The place says only which Secret is used: `env[PASSWORD].valueFrom.secretKeyRef.name`, `volumes[secret].secret.secretName`.
fn names_a_secret(pieces: &[Piece]) -> bool {
    let last = pieces.iter().rev().take(2);
    last.into_iter().any(|piece| {
        matches!(piece, Piece::Field(name) if ["secretKeyRef", "secretRef", "secretName", "configMapKeyRef", "fieldRef", "mountPath", "image"].contains(&name.as_str()))
    })
}

fn has_secret_word(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A text that holds a secret, most likely: `password=x`, a key in PEM.
fn is_secret_text(value: &Value) -> bool {
    let Value::String(text) = value else { return false };
    let text = text.to_ascii_lowercase();
    let given = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            text[at + word.len()..].trim_start_matches(['"', '\'', ' ']).starts_with(['=', ':'])
        })
    };
    text.contains("private key-----") || SECRET_WORDS.iter().any(|word| given(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::diff::compare, *};

    fn lines(kind: &str, wanted: Value, there: Value) -> Vec<String> {
        difference(kind, &compare(&wanted, &there), 20)
    }

    #[test]
    fn fields_are_shown_from_the_clusters_to_the_backups() {
        let wanted = json!({"spec": {"replicas": 2, "paused": true}, "data": {"app.json": "a\nb\nc\n"}});
        let there = json!({"spec": {"replicas": 3, "extra": 1}, "data": {"app.json": "a\nx\ny\nc\n"}});
        assert_eq!(
            lines("Thing", wanted, there),
            [
                "data[\"app.json\"]: text of 4 lines -> 3 lines; from line 2 on, 2 -> 1 lines differ",
                "spec.paused: (none) -> true",
                "spec.replicas: 3 -> 2",
                "spec.extra is only in the cluster, and stays",
            ]
        );
    }

    #[test]
    fn of_secrets_only_the_keys_are_shown() {
        let wanted = json!({"data": {"a": "aGVsbG8=", "b": "eA=="}, "metadata": {"labels": {"l": "1"}}});
        let there = json!({"data": {"a": "d29ybGQ="}, "metadata": {"labels": {"l": "2"}}});
        assert_eq!(
            lines("Secret", wanted, there),
            [
                "data.a: differs (value not shown)",
                "data.b: missing (value not shown)",
                "metadata.labels.l: \"2\" -> \"1\"",
            ]
        );
        let annotation = |value: &str| json!({"metadata": {"annotations": {"x/last": value}}});
        assert!(!lines("Secret", annotation("hunter1"), annotation("hunter2"))[0].contains("hunter"));
    }

    #[test]
    fn values_that_look_secret_are_hidden_wherever_they_stand() {
        let env = |value: &str| json!({"containers": [{"name": "c", "env": [{"name": "DB_PASSWORD", "value": value}]}]});
        let data = |value: &str| json!({"data": {"conf": value}});
        let spec = |value: &str| json!({"spec": {"apiToken": value}});
        for (wanted, there) in [
            (env("hunter1"), env("hunter2")),
            (spec("hunter1"), spec("hunter2")),
            (data("host=a password=hunter1"), data("host=b")),
            (data("postgres://me:hunter1@db/x"), data("postgres://me:hunter2@db/y")),
            (data("a\nhunter1\n"), data("a\nhunter2\n")),
        ] {
            let shown = lines("ConfigMap", wanted, there);
            assert!(shown.len() == 1 && !shown[0].contains("hunter"), "{shown:?}");
        }
        let name = |value: &str| json!({"volumes": [{"name": "v", "secret": {"secretName": value}}]});
        assert_eq!(
            lines("Deployment", name("a"), name("b")),
            ["volumes[v].secret.secretName: \"b\" -> \"a\""]
        );
    }

    proptest! {
        #[test]
        fn no_value_of_a_secret_is_ever_shown(
            a in prop::collection::btree_map("[a-z.]{1,6}", "zq[0-9]{6,20}", 0..5),
            b in prop::collection::btree_map("[a-z.]{1,6}", "zq[0-9]{6,20}", 0..5),
        ) {
            let object = |data: &std::collections::BTreeMap<String, String>| {
                json!({"data": data, "stringData": data, "metadata": {"annotations": data}})
            };
            let shown = lines("Secret", object(&a), object(&b)).join("\n");
            prop_assert!(a.values().chain(b.values()).all(|value| !shown.contains(value.as_str())));
        }

        #[test]
        fn any_text_is_shown_short(text in any::<String>()) {
            let shown = value_text(&Value::String(text));
            prop_assert!(!shown.contains('\n') && shown.chars().count() < 20 * LONGEST);
        }
    }
}
