//! What an installation did, or would do.

use backup_core::words::Result;
use serde::Serialize;

use super::App;

/// A file and what it holds.
#[derive(Debug, Serialize)]
pub(super) struct Text {
    pub(super) path: String,
    pub(super) text: String,
}

/// What was done, or would be.
#[derive(Debug, Default, Serialize)]
pub(super) struct Done {
    pub(super) dry_run: bool,
    /// What was written, or would be.
    pub(super) written: Vec<Text>,
    pub(super) unchanged: Vec<String>,
    pub(super) removed: Vec<String>,
    /// What else to know or do.
    pub(super) notes: Vec<String>,
    /// True when `written` is the result itself: nothing was changed anywhere.
    #[serde(skip)]
    pub(super) printed: bool,
}

impl Done {
    pub(super) fn new(dry_run: bool) -> Self {
        Self { dry_run, ..Self::default() }
    }

    /// Prints it: texts on a dry run, else what happened to which file. Notes go to standard error.
    pub(super) fn say(&self, app: &App) -> Result<()> {
        app.answer(self, || self.text())?;
        for note in &self.notes {
            app.output.note(&format!("note: {note}"));
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        if self.printed {
            return self.written.iter().map(|text| text.text.as_str()).collect::<Vec<_>>().join("---\n");
        }
        let removed = if self.dry_run { "would remove" } else { "removed" };
        for text in &self.written {
            match self.dry_run {
                true => lines.push(format!("# {}\n{}", text.path, text.text)),
                false => lines.push(format!("wrote {}", text.path)),
            }
        }
        lines.extend(self.unchanged.iter().map(|path| format!("unchanged: {path}")));
        lines.extend(self.removed.iter().map(|path| format!("{removed} {path}")));
        if lines.is_empty() {
            lines.push("there was nothing to remove".to_owned());
        }
        lines.join("\n")
    }
}
