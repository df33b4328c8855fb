//! Nothing leaves in clear by accident.

use backup_core::{pipeline::Recipient, words::Result};

use super::Section;

/// The key of a store's section that says that the store may hold backups in clear.
pub(crate) const PLAINTEXT: &str = "plaintext";

/// Fails for a remote store whose backups nobody encrypts, unless its section says that this is meant.
///
/// # Errors
/// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
pub(crate) fn check_plaintext(section: &Section, remote: bool, recipients: &[Recipient]) -> Result<()> {
    let meant = match section.node.get(PLAINTEXT) {
        None => false,
        Some(said) => said
            .value()
            .as_bool()
            .ok_or_else(|| section.node.error(PLAINTEXT, "this is neither true nor false"))?,
    };
    if meant || !remote || !recipients.is_empty() {
        return Ok(());
    }
    Err(section
        .node
        .error("", "backups would leave this host in clear: passwords and keys among them")
        .hint("set recipients in [encryption]; or, if clear is meant, say plaintext = true in this section"))
}

#[cfg(test)]
mod tests {
    use backup_core::{traits::Node, words::ErrorKind};
    use serde_json::{Value, json};

    use super::*;

    fn checked(section: Value, remote: bool, recipients: &[&str]) -> Result<()> {
        let section = Section { kind: "s3".into(), name: "s3".into(), node: Node::new(section) };
        let recipients: Vec<Recipient> = recipients.iter().map(|key| key.parse().unwrap()).collect();
        check_plaintext(&section, remote, &recipients)
    }

    #[test]
    fn only_a_remote_store_without_recipients_must_say_that_it_is_plain() {
        assert!(checked(json!({}), false, &[]).is_ok());
        assert!(checked(json!({"plaintext": true}), true, &[]).is_ok());
        for section in [json!({}), json!({"plaintext": false}), json!({"plaintext": "true"})] {
            let error = checked(section.clone(), true, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{section}");
        }
        assert!(checked(json!({}), true, &[]).unwrap_err().advice().unwrap().contains("plaintext = true"));
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn a_remote_store_of_encrypted_backups_needs_no_word() {
        let key = "age1tn54dekdy5u6efr257msx83qmewnh6x3lw0wqravs2waknjftgas5ezm0z";
        assert!(checked(json!({}), true, &[key]).is_ok());
        assert!(checked(json!({"plaintext": false}), true, &[key]).is_ok());
    }
}
