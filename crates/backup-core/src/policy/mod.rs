//! Pure rules: which type a run takes, and which sessions go. No clock and no store: all that they know is handed in.

mod retention;
mod session_type;

pub use retention::{Candidate, Content, Decision, RetentionPolicy, RetentionRules, Verdict, decide};
pub use session_type::{ChosenType, PastSession, calendar_type, choose_type};
