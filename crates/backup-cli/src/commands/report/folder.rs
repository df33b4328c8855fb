//! Reports in a folder, as the scripts left them: `unified_backup_YYYYMMDD_HHMMSS.json` and `backup_summary_...txt`.

use std::path::Path;

use backup_core::{
    engine::Report,
    words::{Error, ErrorKind, Result},
};

use crate::private_file;

/// Writes a session's report and summary into `folder`, which is made where it is missing.
///
/// # Errors
/// When one of them cannot be written; the backup is good all the same.
pub(crate) fn write_beside(folder: &Path, report: &Report) -> Result<()> {
    let stamp = report.session_id.stamp();
    let json = serde_json::to_vec_pretty(report).map_err(|e| {
        Error::new(ErrorKind::Internal, "write the report of", report.session_id.to_string()).because(e)
    })?;
    write(&folder.join(format!("unified_backup_{stamp}.json")), &json)?;
    write(&folder.join(format!("backup_summary_{stamp}.txt")), report.summary().as_bytes())
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    private_file::create(file, content).map_err(|e| {
        Error::io("write the report", file.display().to_string(), e)
            .hint("[report] folder must be one that may be written to; the report is in the store too")
    })
}
