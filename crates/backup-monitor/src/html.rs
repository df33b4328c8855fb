//! A message as HTML, for mail: no pictures, no links, nothing from elsewhere.

use crate::{
    alert::{Item, Message, Severity, Standing},
    markup::Text,
};

/// The whole page.
pub(crate) fn page(message: &Message) -> String {
    let items: String = message.alerts.iter().map(item).collect();
    let held = message.held_line().map(|line| format!("<p>{}</p>", Text(&line))).unwrap_or_default();
    format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body style=\"font-family:sans-serif\">\n{items}{held}\
         <p style=\"color:#666\">{name} on {host}, {at}</p>\n</body></html>\n",
        title = Text(message.title()),
        name = Text(&message.name),
        host = Text(&message.host),
        at = message.at.format("%Y-%m-%d %H:%M:%S UTC"),
    )
}

fn item(item: &Item) -> String {
    let colour = match (item.standing, item.problem.severity) {
        (Standing::Resolved, _) => "#1a7f37",
        (_, Severity::Critical) => "#b00020",
        (_, Severity::Warning) => "#9a6700",
        (_, Severity::Info) => "#0550ae",
    };
    let lines: String = item.details().iter().map(|line| format!("<div>{}</div>\n", Text(line))).collect();
    format!(
        "<div style=\"border-left:4px solid {colour};padding:4px 12px;margin:0 0 12px\">\n\
         <strong style=\"color:{colour}\">{}</strong> <strong>{}</strong>\n{lines}</div>\n",
        item.word(),
        Text(&item.problem.title),
    )
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::alert::{Kind, Problem};

    #[test]
    fn what_a_source_says_is_text_and_never_markup() {
        let mut problem = Problem::new(Kind::Backup, Severity::Critical, "<script>\"&");
        problem.lines.push("<img src=x>".to_owned());
        let since = DateTime::UNIX_EPOCH;
        let item = Item { fingerprint: "x".to_owned(), standing: Standing::New, since, problem };
        let (name, host) = ("crm".to_owned(), "h1".to_owned());
        let page = page(&Message { name, host, at: since, alerts: vec![item], held: 0, signal: None });
        assert!(page.contains("&lt;script&gt;&quot;&amp;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }
}
