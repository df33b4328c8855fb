//! The user's own questions, and what the answers should be.

use backup_core::{
    policy::{Ladder, Rung, Wrong},
    words::Result,
};
use serde::Deserialize;

use crate::connect::{Leader, Session};

/// The words for an answer that has a row and is not null.
const NOT_EMPTY: &str = "not empty";

/// A question to the restored copy, asked in a transaction that only reads.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrillQuery {
    /// The database.
    pub(crate) database: String,
    /// One query; the first column of its first row is the answer.
    pub(crate) sql: String,
    /// What the answer should be: a value, `{ min = 1, max = 10 }`, or "not empty".
    pub(crate) expect: Expect,
}

/// What an answer should be.
#[derive(Clone, Debug, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum Expect {
    /// This number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// This text; "not empty": anything but nothing.
    Text(String),
    /// A number from `min` to `max`.
    Range(Range),
}

/// A number from `min` to `max`; a missing end is open.
#[derive(Clone, Debug, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    /// The least.
    pub(crate) min: Option<f64>,
    /// The most.
    pub(crate) max: Option<f64>,
}

impl Expect {
    /// What is wrong with an answer; none for no row, or null.
    fn wrong(&self, answer: Option<&str>) -> Option<String> {
        let Some(answer) = answer else { return Some("no row, or null".to_owned()) };
        let number = answer.trim().parse::<f64>().ok();
        let (right, wanted) = match self {
            Self::Text(text) if text == NOT_EMPTY => (!answer.is_empty(), NOT_EMPTY.to_owned()),
            Self::Text(text) => (answer == text, text.clone()),
            Self::Flag(flag) => (answer == if *flag { "t" } else { "f" }, flag.to_string()),
            Self::Number(wanted) => (number == Some(*wanted), wanted.to_string()),
            Self::Range(Range { min, max }) => {
                let within = |n: f64| min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max);
                let end = |end: &Option<f64>| end.map_or("any".to_owned(), |end| end.to_string());
                (number.is_some_and(within), format!("{} to {}", end(min), end(max)))
            }
        };
        (!right).then(|| format!("{} and not {wanted}", short(answer)))
    }
}

/// An answer as it may stand in a report.
fn short(answer: &str) -> String {
    const LONGEST: usize = 60;
    let mut text: String =
        answer.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if answer.chars().count() > LONGEST {
        text.push_str("...");
    }
    text
}

/// Asks all of them.
pub(super) async fn ask(leader: &Leader, queries: &[DrillQuery], ladder: &mut Ladder) -> Result<()> {
    if queries.is_empty() {
        ladder.not_run(Rung::Smoke, "the section asks nothing: drill = { queries = [...] }");
        return Ok(());
    }
    let mut wrong = Vec::new();
    for query in queries {
        let answer = async { one(&leader.connect(&query.database).await?, &query.sql).await };
        let found = match answer.await {
            Ok(answer) => query.expect.wrong(answer.as_deref()),
            Err(error) => Some(error.to_string()),
        };
        wrong.extend(
            found.map(|found| Wrong::new(format!("{}: {}", query.database, short(&query.sql)), found)),
        );
    }
    ladder.judge(
        Rung::Smoke,
        format!("{} questions of the section answered as expected", queries.len()),
        wrong,
    );
    Ok(())
}

async fn one(session: &Session, sql: &str) -> Result<Option<String>> {
    session.batch("RESET search_path; SET statement_timeout = '10min'; BEGIN READ ONLY").await?;
    session.first(sql).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn expect(value: serde_json::Value) -> Expect {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_answer_is_held_against_a_value_a_range_or_nothing() {
        let cases = [
            (json!(7), "7", true),
            (json!(7), "8", false),
            (json!(7), "seven", false),
            (json!(true), "t", true),
            (json!("x"), "x", true),
            (json!("not empty"), "0", true),
            (json!("not empty"), "", false),
            (json!({ "min": 1 }), "1", true),
            (json!({ "min": 1, "max": 2 }), "3", false),
            (json!({ "max": 2 }), "many", false),
        ];
        for (wanted, answer, right) in cases {
            assert_eq!(expect(wanted.clone()).wrong(Some(answer)).is_none(), right, "{wanted} {answer}");
            assert!(expect(wanted).wrong(None).is_some());
        }
        assert!(serde_json::from_value::<Expect>(json!({ "least": 1 })).is_err());
    }

    proptest! {
        #[test]
        fn a_range_takes_what_lies_in_it(min in -1000i64..1000, length in 0i64..1000, n in -3000i64..3000) {
            let range = expect(json!({ "min": min, "max": min + length }));
            let within = (min..=min + length).contains(&n);
            prop_assert_eq!(range.wrong(Some(&n.to_string())).is_none(), within);
        }
    }
}
