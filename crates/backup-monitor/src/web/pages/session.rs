//! A page for each session.

use axum::{
    Extension,
    extract::{Path, State},
    http::Uri,
    response::Response,
};

use super::{
    super::{
        api::{code_of, find},
        auth::Caller,
        guard::Peer,
        router::Site,
    },
    frame::Page,
    look::with_code,
    session_parts as parts,
};
use crate::markup::Text;

pub(in super::super) async fn session(
    State(site): State<Site>,
    Extension(caller): Extension<Caller>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(id): Path<String>,
    uri: Uri,
) -> Response {
    let found = match find(&site, &caller, peer.ip().to_canonical(), &uri, &id).await {
        Ok(found) => found,
        Err(error) => {
            let hint = error.advice().map(|hint| format!("<p>{}</p>", with_code(hint))).unwrap_or_default();
            let main =
                format!("<p>{}</p>{hint}<p><a href=\"/sessions\">All sessions</a></p>", Text(error.chain()));
            let page = Page { code: code_of(&error), ..Page::new("No such session", main) };
            return page.answer(&site, &caller, "");
        }
    };
    let (session, now) = (&found.session, site.cx.now());
    let id = session.entry.id;
    let report = site.installation.engine().report(id).await.ok();
    let by_hand = report.map(|report| report.by_hand).unwrap_or_default();
    let stores: Vec<&str> =
        site.installation.engine().stores().iter().map(|settings| settings.name.as_str()).collect();
    let mut main = parts::summary(session, found.pin.as_ref(), now);
    main.push_str(&parts::problems(&session.entry));
    main.push_str(&parts::components(&session.entry));
    main.push_str(&parts::copies(session, &stores, now));
    main.push_str(&parts::proofs(session, now));
    main.push_str(&parts::commands(&session.entry, &by_hand));
    Page::new(&id.to_string(), main).answer(&site, &caller, "")
}
