//! The frame of a page that needs nothing from elsewhere: no script, no font, no picture that is not in it.

/// Follows the reader's choice of light or dark; on paper it is light.
const STYLE: &str = "
:root{color-scheme:light dark;--back:#fff;--text:#1f2328;--dim:#59636e;--line:#d1d9e0;--plot:#0969da;--good:#1a7f37;--bad:#c5221f;--fair:#8a5a00}
@media (prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6edf3;--dim:#9198a1;--line:#3d444d;--plot:#58a6ff;--good:#4cc160;--bad:#ff7b72;--fair:#d9a53a}}
@media print{:root{--back:#fff;--text:#000;--dim:#444;--line:#bbb}}
*{box-sizing:border-box}
body{background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;margin:0}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid var(--line);padding:.25rem 1rem .25rem 0;text-align:left;white-space:nowrap}th{color:var(--dim);font-weight:600}
.number{text-align:right}.good{color:var(--good)}.fair{color:var(--fair)}.bad{color:var(--bad);font-weight:600}
figure{margin:1rem 0}figcaption{font-weight:600}
svg{display:block;height:auto;max-width:44rem;width:100%}
svg text{fill:var(--dim);font-size:12px}svg .grid{stroke:var(--line)}svg .line{fill:none;stroke:var(--plot);stroke-width:2}svg circle{fill:var(--plot)}
summary{color:var(--dim);cursor:pointer}footer{color:var(--dim);margin-top:2rem}
";

/// A page with this body.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n",
        title = escape(title),
    )
}

/// A list of names and values.
pub(super) fn list(items: &[(&str, String)]) -> String {
    let item =
        |(name, value): &(&str, String)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
    format!("<dl>\n{}</dl>\n", items.iter().map(item).collect::<String>())
}

/// A cell: its text, and how it is shown.
pub(super) struct Cell {
    text: String,
    class: &'static str,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), class: "" }
    }

    pub(super) fn number(text: impl Into<String>) -> Self {
        Self { text: text.into(), class: "number" }
    }

    /// A status, in its colour; the word says it too.
    pub(super) fn status(word: &str) -> Self {
        let class = match word {
            "SUCCESS" | "passed" | "kept" => "good",
            "PARTIAL" | "RUNNING" | "UNKNOWN" | "not run" => "fair",
            "" => "",
            _ => "bad",
        };
        Self { text: word.to_owned(), class }
    }
}

/// A table; the first cell of a row is its heading.
pub(super) fn table(caption: &str, headings: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let headings: String =
        headings.iter().map(|heading| format!("<th scope=\"col\">{}</th>", escape(heading))).collect();
    let row = |cells: Vec<Cell>| {
        let cell = |(index, cell): (usize, &Cell)| {
            let class =
                if cell.class.is_empty() { String::new() } else { format!(" class=\"{}\"", cell.class) };
            let text = escape(&cell.text);
            match index {
                0 => format!("<th scope=\"row\"{class}>{text}</th>"),
                _ => format!("<td{class}>{text}</td>"),
            }
        };
        format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
    };
    let rows: String = rows.map(row).collect();
    // What scrolls must be reachable with the keyboard.
    format!(
        "<h2>{caption}</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table>\n\
         <thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n",
        caption = escape(caption),
    )
}

/// A heading and lines; nothing when there are none.
pub(super) fn lines(heading: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!("<h2>{}</h2>\n<ul>\n{items}</ul>\n", escape(heading))
}

/// `text` as it may stand in HTML, in attributes too.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
