//! The `[[store]]` sections, apart from what belongs to their kinds.

use backup_core::{policy::RetentionRules, traits::Node, words::Result};
use serde_json::{Value, json};

use super::{
    PLAINTEXT, Section,
    model::{Keep, sections},
};

/// The key of a store's section that says whether every session must be there.
const REQUIRED: &str = "required";
/// The key of a store's section that says what is kept there.
const RETENTION: &str = "retention";
/// Keys of a store's section that are none of its kind's.
pub(crate) const COMMON: [&str; 3] = [PLAINTEXT, REQUIRED, RETENTION];

/// A store's section.
#[derive(Clone, Debug)]
pub(crate) struct StoreSection {
    pub(crate) section: Section,
    /// Whether a copy that is missing there is an error.
    pub(crate) required: bool,
    /// What is kept there, where it differs from what the jobs say.
    pub(crate) retention: Option<RetentionRules>,
}

/// Reads the stores; keys that its `retention` lacks take the rules of `common`.
///
/// # Errors
/// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
pub(super) fn read(root: &Node, common: RetentionRules) -> Result<Vec<StoreSection>> {
    let stores = sections(root, "store")?;
    if stores.is_empty() {
        return Err(root
            .error("store", "no store is configured")
            .hint("add [[store]] with kind = \"local\" and a path"));
    }
    stores.into_iter().map(|section| store(section, common)).collect()
}

fn store(section: Section, common: RetentionRules) -> Result<StoreSection> {
    let required = match section.node.get(REQUIRED) {
        None => true,
        Some(said) => said
            .value()
            .as_bool()
            .ok_or_else(|| section.node.error(REQUIRED, "this is neither true nor false"))?,
    };
    let retention = match section.node.get(RETENTION) {
        None => None,
        Some(rules) => Some(rules.parse::<Keep>()?.over(common)),
    };
    Ok(StoreSection { section, required, retention })
}

/// JSON Schema of the keys that a store of every kind has.
pub(super) fn common_schema() -> [(&'static str, Value); 3] {
    let periods = schemars::schema_for!(Keep).to_value()["properties"].clone();
    [
        (
            PLAINTEXT,
            json!({
                "type": "boolean",
                "description": "Says that a store elsewhere may hold backups in clear. Needed there while nothing is encrypted.",
            }),
        ),
        (
            REQUIRED,
            json!({
                "type": "boolean",
                "description": "Whether a copy that is missing here is an error (exit code 3) or a warning. Default: true.",
            }),
        ),
        (
            RETENTION,
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": periods,
                "description": "How many periods are kept here, whatever the jobs say; missing keys take those of [retention]. Default: as the jobs say.",
            }),
        ),
    ]
}
