//! What a program says of its output: one JSON object on file descriptor 3, written before it ends.
//!
//! ```json
//! {"facts": {"rows": 1200}, "bytes": 52428800, "warnings": ["one table was locked"],
//!  "coverage": [{"what": "table logs", "why": "too large", "missing": false}],
//!  "position": {"lineage": "server-uuid", "at": 4711, "label": "binlog.000012:4711"}}
//! ```
//!
//! All of it is optional. `bytes` and `sha256` are held against what was read; `missing = true` makes the component partial.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::words::{Coverage, Error, ErrorKind, Position, Result};

/// More than this is no list of facts.
const MOST: u64 = 1 << 20;

/// What a program says of its output.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Enter the manifest as they are: `rows`, `keys`, `objects` and `entries` are counts that health compares.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// The length of the output.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// The SHA-256 of the output, in lower-case hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Where the backup stands in its source's history.
    #[serde(default)]
    pub position: Option<Position>,
    /// What was left out.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
    /// What should be looked at.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Told {
    /// Reads what was written; nothing is a value without entries.
    pub(super) fn read(file: &std::path::Path, program: &str) -> Result<Self> {
        let failed = |e| Error::io("read the facts of", program, e);
        let length = std::fs::metadata(file).map_err(failed)?.len();
        let wrong = |detail: String| {
            Error::new(ErrorKind::Failed, "understand the facts of", program)
                .detail(detail)
                .hint("one JSON object on file descriptor 3: docs/commands.md has the fields")
        };
        if length > MOST {
            return Err(wrong(format!("they are {length} bytes, more than a megabyte")));
        }
        let text = std::fs::read(file).map_err(failed)?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(&text)
            .map_err(|e| wrong("they are not what is expected".to_owned()).because(e))
    }
}
