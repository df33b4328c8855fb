//! Logging in with the token.

use axum::{
    Extension, Form,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    super::{auth::Refused, guard::Peer, router::Site},
    frame::outside,
};
use crate::markup::Text;

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Wanted {
    next: String,
}

/// What the form sends.
#[derive(Deserialize)]
pub(in super::super) struct Sent {
    token: String,
    #[serde(default)]
    next: String,
}

pub(in super::super) async fn login(State(site): State<Site>, Query(wanted): Query<Wanted>) -> Response {
    if site.settings.token.is_none() {
        return Redirect::to("/").into_response();
    }
    form(StatusCode::OK, &wanted.next, "")
}

pub(in super::super) async fn log_in(
    State(site): State<Site>,
    Extension(Peer(peer)): Extension<Peer>,
    Form(sent): Form<Sent>,
) -> Response {
    let from = peer.ip().to_canonical();
    if let Err(refused) = site.auth.try_token(sent.token.trim(), from) {
        site.note("login", "/login", refused.words(), "unknown", from);
        return match refused {
            Refused::Wait(wait) => {
                let text = format!("Too many tries. Try again in {} s.", wait.as_secs() + 1);
                form(StatusCode::TOO_MANY_REQUESTS, &sent.next, &text)
            }
            _ => form(StatusCode::UNAUTHORIZED, &sent.next, "This is not the token."),
        };
    }
    match site.auth.log_in() {
        Ok(cookie) => {
            site.note("login", "/login", "good", "token", from);
            ([(header::SET_COOKIE, cookie)], Redirect::to(inside(&sent.next))).into_response()
        }
        Err(error) => form(StatusCode::INTERNAL_SERVER_ERROR, &sent.next, &error.chain()),
    }
}

pub(in super::super) async fn log_out(
    State(site): State<Site>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let cookie = site.auth.log_out(&headers);
    site.note("logout", "/logout", "good", "token", peer.ip().to_canonical());
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// A path of ours, and no other site's.
fn inside(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if ours { next } else { "/" }
}

fn form(code: StatusCode, next: &str, problem: &str) -> Response {
    let problem = match problem {
        "" => String::new(),
        text => format!("<p class=\"bad\" role=\"alert\">{}</p>", Text(text)),
    };
    let main = format!(
        "{problem}<form class=\"login\" method=\"post\" action=\"/login\">\
         <input type=\"hidden\" name=\"next\" value=\"{}\">\
         <label for=\"token\">Token</label>\
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus>\
         <button>Log in</button></form>\
         <p class=\"note\">The token is the one of <code>[dashboard]</code> in the configuration.</p>",
        Text(inside(next)),
    );
    outside(code, "Log in", main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_to_another_site() {
        for bad in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb", "evil"] {
            assert_eq!(inside(bad), "/", "{bad}");
        }
        assert_eq!(inside("/sessions?type=daily"), "/sessions?type=daily");
    }
}
