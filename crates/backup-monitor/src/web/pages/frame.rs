//! What all pages have around them.

use std::fmt::Write;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::super::{auth::Caller, router::Site};
use crate::markup::Text;

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' \
                    height='16' rx='3' fill='%230b57a4'/%3E%3Cpath d='M4 8.5l3 3 5-7' fill='none' stroke='white' \
                    stroke-width='2'/%3E%3C/svg%3E";

/// A page of the dashboard. `main` is HTML.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) code: StatusCode,
    pub(super) title: &'a str,
    pub(super) main: String,
    /// HTML below it: how old it is.
    pub(super) foot: String,
    /// Asked for again after so many seconds; 0 for not by itself.
    pub(super) again: u8,
}

impl<'a> Page<'a> {
    pub(super) fn new(title: &'a str, main: String) -> Self {
        Self { code: StatusCode::OK, title, main, foot: String::new(), again: 0 }
    }

    /// As an answer, for whoever is let in.
    pub(super) fn answer(&self, site: &Site, caller: &Caller, here: &str) -> Response {
        let name = site.installation.engine().name();
        let mut head = format!(
            "<header><p class=\"brand\"><a href=\"/\">{}</a> <span>backups</span></p>\
             <nav aria-label=\"Main\"><ul>",
            Text(name)
        );
        for (path, text) in [("/", "Status"), ("/sessions", "Sessions")] {
            let current = if path == here { " aria-current=\"page\"" } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(head, "<li><a href=\"{path}\"{current}>{text}</a></li>");
        }
        head.push_str("</ul></nav>");
        if *caller == Caller::LoggedIn {
            head.push_str("<form method=\"post\" action=\"/logout\"><button>Log out</button></form>");
        }
        head.push_str("</header>");
        let title = format!("{} - {name} backups", self.title);
        self.html(&title, &head)
    }

    fn html(&self, title: &str, head: &str) -> Response {
        let again = match self.again {
            0 => String::new(),
            seconds => format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">"),
        };
        let foot = match self.foot.as_str() {
            "" => String::new(),
            foot => format!("<footer>{foot}</footer>"),
        };
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">{again}<title>{}</title>\
             <link rel=\"icon\" href=\"{ICON}\"><link rel=\"stylesheet\" href=\"/assets/dashboard.css\">\
             <script src=\"/assets/dashboard.js\" defer></script></head>\n\
             <body><a class=\"skip\" href=\"#main\">Skip to content</a>{head}\n\
             <main id=\"main\" tabindex=\"-1\"><h1>{}</h1>\n{}</main>{foot}</body></html>\n",
            Text(title),
            Text(self.title),
            self.main,
        );
        (self.code, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
    }
}

/// A page for somebody who need not be let in: it shows nothing of the installation.
pub(super) fn outside(code: StatusCode, title: &str, main: String) -> Response {
    Page { code, ..Page::new(title, main) }.html(title, "")
}

/// A page that says what is wrong.
pub(in super::super) fn problem(code: StatusCode, title: &str, text: &str) -> Response {
    outside(code, title, format!("<p>{}</p><p><a href=\"/\">To the status</a></p>", Text(text)))
}

/// A value inside a query string.
pub(in super::super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
