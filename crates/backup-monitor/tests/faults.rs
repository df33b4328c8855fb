//! Servers that fail, hang, ask for time, cut connections and send elsewhere.
#![cfg(feature = "http")]

mod support;

use backup_core::words::ErrorKind;
use backup_testkit::servers::{ObjectServer, Objects, Receiver, Reply};
use serde_json::{Value, json};
use support::{failed, send};

fn webhook(receiver: &Receiver) -> Value {
    json!({ "url": receiver.url("/hook"), "timeout": "1s" })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_until_it_is_taken() {
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    receiver.next([Reply::answer(503, ""), Reply::Close, Reply::Hang]);
    send("webhook", webhook(&receiver), &failed()).await.unwrap();
    let received = receiver.received();
    assert_eq!(received.len(), 4);
    assert!(received.iter().all(|request| request.body == received[0].body));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_time_gets_it() {
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    receiver.next([Reply::Answer(429, vec!["Retry-After: 2".to_owned()], String::new())]);
    let begun = std::time::Instant::now();
    send("webhook", webhook(&receiver), &failed()).await.unwrap();
    assert!(begun.elapsed().as_secs() >= 2);
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_tried_once_and_said() {
    for (status, kind) in [(400, ErrorKind::Failed), (401, ErrorKind::Denied), (404, ErrorKind::NotFound)] {
        let receiver = Receiver::start(Reply::answer(status, "{\"error\":\"no_team\"}")).unwrap();
        let error = send("webhook", webhook(&receiver), &failed()).await.unwrap_err();
        assert_eq!((error.kind(), receiver.received().len()), (kind, 1));
        assert!(error.to_string().contains("no_team"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_is_a_time_out() {
    let receiver = Receiver::start(Reply::Hang).unwrap();
    let error = send("webhook", webhook(&receiver), &failed()).await.unwrap_err();
    assert_eq!((error.kind(), receiver.received().len()), (ErrorKind::TimedOut, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_to_no_other_host_and_never_becomes_another_method() {
    let other = Receiver::start(Reply::answer(200, "")).unwrap();
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    for status in [301, 302, 303, 307, 308] {
        receiver.next([Reply::Answer(
            status,
            vec![format!("Location: {}", other.url("/hook"))],
            String::new(),
        )]);
        let error = send("webhook", webhook(&receiver), &failed()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    assert_eq!(other.received(), []);
    // On the same host a redirect that keeps the method is followed, another is not.
    receiver.take();
    receiver.next([Reply::Answer(308, vec!["Location: /moved".to_owned()], String::new())]);
    send("webhook", webhook(&receiver), &failed()).await.unwrap();
    let received = receiver.take();
    assert_eq!((received[1].method.as_str(), received[1].path.as_str()), ("POST", "/moved"));
    assert_eq!(received[1].body, received[0].body);
    receiver.next([Reply::Answer(302, vec!["Location: /moved".to_owned()], String::new())]);
    assert!(send("webhook", webhook(&receiver), &failed()).await.is_err());
    assert_eq!(receiver.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_not_read_to_its_end() {
    let receiver = Receiver::start(Reply::answer(500, "x".repeat(8 << 20))).unwrap();
    let error = send("webhook", webhook(&receiver), &failed()).await.unwrap_err();
    assert!(error.chain().len() < 600, "{}", error.chain().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_an_authority_of_ones_own_is_trusted_with_ca_alone() {
    // Any server with TLS will do: it refuses what it does not know, and that is an answer.
    let server = ObjectServer::start_tls(Objects::VersityGw).unwrap();
    let ca = server.certificates().unwrap().ca.clone();
    let url = format!("{}/hook", server.endpoint());
    let error = send("webhook", json!({ "url": url, "ca": ca }), &failed()).await.unwrap_err();
    assert!(error.to_string().contains("it answered 4"), "{error}");
    let error = send("webhook", json!({ "url": url }), &failed()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("certificate"), "{error}");
}
