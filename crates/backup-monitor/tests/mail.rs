//! Mail through a real server: plain, with STARTTLS, with TLS from the first byte, with and without a login.
#![cfg(feature = "mail")]

mod support;

use backup_core::words::ErrorKind;
use backup_testkit::servers::{Mail, MailServer, MailTls};
use serde_json::{Value, json};
use support::{built, failed, send};

/// The section of a notifier that sends to `server`.
fn section(server: &MailServer, tls: &str) -> Value {
    let mut section = json!({
        "to": ["ops@example.com", "Second <second@example.com>"],
        "from": "Backups <backup@example.com>",
        "server": "127.0.0.1",
        "port": server.port(),
        "tls": tls,
    });
    if let Some(files) = server.certificates() {
        section["ca"] = json!(files.ca);
    }
    section
}

fn with_login(mut section: Value, password: &str) -> Value {
    section["user"] = json!(MailServer::USER);
    section["password"] = json!(password);
    section
}

/// A header's value, unfolded.
fn header(mail: &Mail, name: &str) -> String {
    let head = mail.content.replace("\r\n", "\n").replace("\n ", " ");
    let head = head.split("\n\n").next().unwrap().to_owned();
    let prefix = format!("{name}: ");
    let line = head.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_has_its_headers_and_both_texts() {
    let server = MailServer::start(MailTls::None, false).unwrap();
    send("email", section(&server, "none"), &failed()).await.unwrap();
    let mail = &server.mails(1).unwrap()[0];
    assert_eq!((mail.from.as_str(), mail.tls, &mail.user), ("backup@example.com", false, &None));
    assert_eq!(mail.to, ["ops@example.com", "second@example.com"]);
    assert_eq!(
        header(mail, "Subject"),
        "[ha-backup crm] CRITICAL: backup full failed: <etcd> & \"postgres\""
    );
    assert_eq!(header(mail, "Date"), "Thu, 08 Jan 2026 02:10:00 +0000");
    assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
    let id = header(mail, "Message-ID");
    assert!(id.starts_with('<') && id.ends_with('>') && id.contains('@'), "{id}");
    assert!(header(mail, "Content-Type").starts_with("multipart/alternative"));
    let parts: Vec<&str> = ["text/plain; charset=utf-8", "text/html; charset=utf-8"].to_vec();
    let places: Vec<usize> = parts.iter().map(|part| mail.content.find(part).unwrap()).collect();
    assert!(places[0] < places[1], "the better one is the last");
    assert!(mail.content.contains("etcd: no leader"));
    assert!(mail.content.contains("&lt;etcd&gt;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_over_tls_only_and_a_wrong_one_is_said() {
    for (tls, name) in [(MailTls::Starttls, "starttls"), (MailTls::Implicit, "implicit")] {
        let server = MailServer::start(tls, true).unwrap();
        let good = with_login(section(&server, name), MailServer::PASSWORD);
        send("email", good, &failed()).await.unwrap();
        let mail = &server.mails(1).unwrap()[0];
        assert_eq!((mail.tls, mail.user.as_deref()), (true, Some(MailServer::USER)));
        let bad = with_login(section(&server, name), "hunter2-is-wrong");
        let error = send("email", bad, &failed()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!format!("{} {error:?}", error.chain()).contains("hunter2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_gets_nothing() {
    for (tls, name) in [(MailTls::Starttls, "starttls"), (MailTls::Implicit, "implicit")] {
        let server = MailServer::start(tls, true).unwrap();
        let mut section = with_login(section(&server, name), MailServer::PASSWORD);
        section.as_object_mut().unwrap().remove("ca");
        let error = send("email", section, &failed()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("ertificate"), "{error}");
        assert!(server.mails(0).unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn starttls_is_required_and_not_tried() {
    let server = MailServer::start(MailTls::None, false).unwrap();
    let error = send("email", section(&server, "starttls"), &failed()).await.unwrap_err();
    assert!(!error.to_string().is_empty());
    assert!(server.mails(0).unwrap().is_empty(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_now_is_tried_again_and_for_good_is_not() {
    let server = MailServer::start(MailTls::None, false).unwrap();
    server.refuse("451 4.7.1 greylisted, come back later", true).unwrap();
    send("email", section(&server, "none"), &failed()).await.unwrap();
    assert_eq!(server.mails(1).unwrap().len(), 1);
    server.refuse("550 5.7.1 we do not like you", false).unwrap();
    let begun = std::time::Instant::now();
    let error = send("email", section(&server, "none"), &failed()).await.unwrap_err();
    assert!(error.to_string().contains("550") && error.to_string().contains("we do not like you"), "{error}");
    assert!(begun.elapsed().as_millis() < 3000, "it was tried again");
    assert_eq!(server.mails(1).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_as_such() {
    let section = json!({ "to": "ops@example.com", "server": "127.0.0.1", "port": 1, "tls": "none" });
    let error = send("email", section, &failed()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

#[test]
fn sections_that_would_not_do_are_refused() {
    for (section, place) in [
        (json!({ "to": "nobody" }), "to"),
        (json!({ "to": [] }), "to"),
        (json!({ "to": ["a@b.c", "@"] }), "to.1"),
        (json!({ "to": "a@b.c", "from": "x" }), "from"),
        (json!({ "to": "a@b.c", "user": "u" }), "user"),
        (json!({ "to": "a@b.c", "password": "p" }), "password"),
        (
            json!({ "to": "a@b.c", "server": "mx.example.com", "tls": "none", "user": "u", "password": "p" }),
            "tls",
        ),
        (json!({ "to": "a@b.c", "sever": "mx" }), "sever"),
    ] {
        let error = built("email", section).unwrap_err();
        assert!(error.to_string().contains(&format!("read the configuration: {place}: ")), "{error}");
    }
}
