//! What each vendor gets, held against what its documentation says (the address stands at each notifier), and whose answers count.
#![cfg(feature = "http")]

mod support;

use backup_core::words::ErrorKind;
use backup_monitor::{Phase, Severity, Standing};
use backup_testkit::servers::{Receiver, Reply};
use serde_json::{Value, json};
use support::{built, failed, item, message, resolved, send, signal};

/// What a notifier of that kind sends; the server takes it.
async fn sent(
    kind: &str,
    section: Value,
    key: &str,
    answer: Reply,
    message: &backup_monitor::Message,
) -> Vec<Value> {
    let receiver = Receiver::start(answer).unwrap();
    let mut section = section;
    section[key] = json!(receiver.url(if key == "url" { "/hook" } else { "" }));
    send(kind, section, message).await.unwrap();
    let received = receiver.received();
    assert!(received.iter().all(|request| request.headers["content-type"] == "application/json"));
    assert!(received.iter().all(|request| request.headers["user-agent"].starts_with("ha-backup/")));
    received
        .iter()
        .map(|request| json!({ "method": request.method, "path": request.path, "body": request.json() }))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_a_text_and_a_coloured_attachment_for_each_alert() {
    let requests = sent("slack", json!({}), "url", Reply::answer(200, "ok"), &failed()).await;
    assert_eq!((&requests[0]["method"], &requests[0]["path"]), (&json!("POST"), &json!("/hook")));
    let body = &requests[0]["body"];
    // Slack's three control characters are escaped; nothing else is.
    let title = "backup full failed: &lt;etcd&gt; &amp; \"postgres\"";
    assert_eq!(body["text"], format!("[crm] CRITICAL: {title}"));
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["title"], format!("CRITICAL: {title}"));
    assert_eq!(attachment["text"], "etcd: no leader\npostgres: too many clients ✗\nhint: look at etcd");
    assert_eq!((&attachment["color"], &attachment["ts"]), (&json!("#d0021b"), &json!(1_767_838_200)));
    let body = &sent("slack", json!({}), "url", Reply::answer(200, "ok"), &resolved()).await[0]["body"];
    assert_eq!(body["attachments"][0]["color"], "#2eb886");
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_gets_embeds_within_its_limits_and_mentions_nobody() {
    let many = message(vec![item(Standing::New, Severity::Warning); 25]);
    let body = &sent("discord", json!({}), "url", Reply::answer(204, ""), &many).await[0]["body"];
    assert_eq!(body["embeds"].as_array().unwrap().len(), 10);
    assert!(body["content"].as_str().unwrap().contains("15 more are not shown"), "{body}");
    assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    let embed = &body["embeds"][0];
    assert_eq!(
        (&embed["color"], &embed["timestamp"]),
        (&json!(0xf5_a6_23), &json!("2026-01-08T02:10:00+00:00"))
    );
    let whole = |value: &Value| value.as_str().unwrap().chars().count();
    let embeds = body["embeds"].as_array().unwrap();
    assert!(
        embeds.iter().map(|embed| whole(&embed["title"]) + whole(&embed["description"])).sum::<usize>()
            <= 6000
    );
    assert!(whole(&body["content"]) <= 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_gets_one_adaptive_card() {
    let requests = sent("teams", json!({}), "url", Reply::answer(202, ""), &failed()).await;
    let body = &requests[0]["body"];
    assert_eq!(body["type"], "message");
    let card = &body["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    let content = &card["content"];
    assert_eq!((&content["type"], &content["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    assert_eq!(content["body"][0]["type"], "TextBlock");
    assert_eq!(
        (&content["body"][1]["type"], &content["body"][1]["style"]),
        (&json!("Container"), &json!("attention"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_stays_below_the_size_that_teams_takes() {
    let mut long = item(Standing::New, Severity::Warning);
    long.problem.lines = vec!["x".repeat(40); 500];
    let requests = sent("teams", json!({}), "url", Reply::answer(202, ""), &message(vec![long; 30])).await;
    assert!(requests[0]["body"].to_string().len() < 28_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_time_in_the_body_gets_it() {
    let receiver = Receiver::start(Reply::answer(200, "{\"ok\":true}")).unwrap();
    let busy = "{\"ok\":false,\"error_code\":429,\"parameters\":{\"retry_after\":2}}";
    receiver.next([Reply::answer(429, busy)]);
    let begun = std::time::Instant::now();
    let section = json!({ "server": receiver.url(""), "token": "123:abc-token", "chat": "1" });
    send("telegram", section, &failed()).await.unwrap();
    assert!(begun.elapsed().as_secs() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_gets_plain_text_of_at_most_4096_characters() {
    let section = json!({ "token": "123:abc-token", "chat": "-100200", "thread": 7 });
    let answer = Reply::answer(200, "{\"ok\":true,\"result\":{}}");
    let many = message(vec![item(Standing::New, Severity::Warning); 80]);
    let requests = sent("telegram", section, "server", answer, &many).await;
    assert_eq!(requests[0]["path"], "/bot123:abc-token/sendMessage");
    let body = &requests[0]["body"];
    assert_eq!((&body["chat_id"], &body["message_thread_id"]), (&json!("-100200"), &json!(7)));
    assert_eq!(body["text"].as_str().unwrap().chars().count(), 4096);
    assert!(body.get("parse_mode").is_none(), "nothing in a text can break a markup");
}

#[tokio::test(flavor = "multi_thread")]
async fn ntfy_gets_a_priority_and_a_tag() {
    let receiver = Receiver::start(Reply::answer(200, "{\"id\":\"x\",\"event\":\"message\"}")).unwrap();
    let section = json!({ "server": receiver.url(""), "topic": "backups-crm", "token": "tk_secret" });
    send("ntfy", section, &failed()).await.unwrap();
    let request = &receiver.received()[0];
    assert_eq!((request.path.as_str(), request.headers["authorization"].as_str()), ("/", "Bearer tk_secret"));
    let body = request.json();
    assert_eq!((&body["topic"], &body["priority"]), (&json!("backups-crm"), &json!(5)));
    assert_eq!(body["tags"], json!(["rotating_light"]));
    assert!(body["message"].as_str().unwrap().contains("etcd: no leader"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pagerduty_opens_an_incident_and_resolves_the_same() {
    let section = || json!({ "routing_key": "R0123456789" });
    let answer = || Reply::answer(202, "{\"status\":\"success\",\"message\":\"Event processed\"}");
    let requests = sent("pagerduty", section(), "server", answer(), &failed()).await;
    assert_eq!(requests[0]["path"], "/v2/enqueue");
    let event = &requests[0]["body"];
    assert_eq!((&event["routing_key"], &event["event_action"]), (&json!("R0123456789"), &json!("trigger")));
    let payload = &event["payload"];
    assert_eq!((&payload["severity"], &payload["source"]), (&json!("critical"), &json!("db1")));
    assert_eq!(payload["summary"], "[crm] backup full failed: <etcd> & \"postgres\"");
    assert_eq!(payload["timestamp"], "2026-01-08T02:10:00+00:00");
    let requests = sent("pagerduty", section(), "server", answer(), &resolved()).await;
    let end = &requests[0]["body"];
    assert_eq!((&end["event_action"], &end["dedup_key"]), (&json!("resolve"), &event["dedup_key"]));
    assert_eq!(event["dedup_key"], "ha-backup/crm/backup/full");
    // What is told once leaves nothing open.
    let note = message(vec![item(Standing::Note, Severity::Info)]);
    let actions: Vec<Value> = sent("pagerduty", section(), "server", answer(), &note)
        .await
        .iter()
        .map(|request| request["body"]["event_action"].clone())
        .collect();
    assert_eq!(actions, [json!("trigger"), json!("resolve")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_gets_labels_that_stay_and_an_end() {
    let section = || json!({ "labels": { "team": "ops" } });
    let requests = sent("alertmanager", section(), "url", Reply::answer(200, ""), &failed()).await;
    assert_eq!(requests[0]["path"], "/hook/api/v2/alerts");
    let alert = &requests[0]["body"][0];
    let labels = json!({
        "alertname": "HaBackup", "severity": "critical", "kind": "backup", "installation": "crm",
        "fingerprint": "backup/full", "job_name": "full", "team": "ops",
    });
    assert_eq!(alert["labels"], labels);
    assert_eq!(alert["startsAt"], "2026-01-08T02:00:00+00:00");
    assert_eq!(alert["endsAt"], "2026-01-10T02:10:00+00:00");
    let requests = sent("alertmanager", section(), "url", Reply::answer(200, ""), &resolved()).await;
    let ends = requests[0]["body"].as_array().unwrap();
    assert!(ends.iter().any(|end| end["labels"] == labels));
    assert!(ends.iter().all(|end| end["endsAt"] == "2026-01-08T02:10:00+00:00"), "{ends:?}");
    let taken =
        built("alertmanager", json!({ "url": "http://h", "labels": { "severity": "x" } })).unwrap_err();
    assert!(taken.to_string().contains("labels.severity"), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_everything_or_what_its_template_says() {
    let requests = sent("webhook", json!({}), "url", Reply::answer(200, "whatever"), &failed()).await;
    let body = &requests[0]["body"];
    assert_eq!(
        (&body["state"], &body["severity"], &body["name"]),
        (&json!("firing"), &json!("critical"), &json!("crm"))
    );
    assert_eq!(body["alerts"][0]["fingerprint"], "backup/full");
    assert_eq!(body["alerts"][0]["session"], "backup_20260108_020000");

    let receiver = Receiver::start(Reply::answer(200, "accepted")).unwrap();
    let section = json!({
        "url": receiver.url("/x"),
        "method": "put",
        "headers": { "Authorization": "Token abcdef" },
        "body": { "msg": "{severity} {title}", "deep": [{ "all": "{alerts}" }] },
        "expect": "accepted",
    });
    send("webhook", section, &failed()).await.unwrap();
    let request = &receiver.received()[0];
    assert_eq!((request.method.as_str(), request.headers["authorization"].as_str()), ("PUT", "Token abcdef"));
    let body = request.json();
    assert_eq!(body["msg"], "critical CRITICAL: backup full failed: <etcd> & \"postgres\"");
    assert_eq!(body["deep"][0]["all"][0]["job"], "full");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_say_begin_end_and_failure_of_the_same_run() {
    let receiver = Receiver::start(Reply::answer(200, "OK")).unwrap();
    let section = json!({ "url": receiver.url("/uuid-{job}") });
    for phase in [Phase::Started, Phase::Ended(0), Phase::Ended(3), Phase::Noted] {
        send("ping", section.clone(), &signal(phase)).await.unwrap();
    }
    let exact = json!({ "url": receiver.url("/uuid/"), "exit_status": true });
    send("ping", exact.clone(), &signal(Phase::Ended(3))).await.unwrap();
    // A test changes no state there.
    send("ping", exact, &message(vec![item(Standing::Note, Severity::Info)])).await.unwrap();
    let received = receiver.received();
    let rid = "?rid=7f2c9e0a-1b2c-4d3e-8f90-0123456789ab";
    let paths: Vec<&str> = received.iter().map(|request| request.path.as_str()).collect();
    let expected = ["/uuid-full/start", "/uuid-full", "/uuid-full/fail", "/uuid-full/log", "/uuid/3"];
    assert_eq!(paths[..5], expected.map(|path| format!("{path}{rid}")));
    assert_eq!(paths[5], "/uuid/log");
    assert!(received.iter().all(|request| request.method == "POST"));
    assert_eq!(received[2].body, "backup full ended");
}

/// Every kind with a section that has a secret in it, the key of its address, and an answer that it takes.
fn all() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        ("slack", json!({}), "url", "ok"),
        ("discord", json!({}), "url", "{\"id\":\"1\"}"),
        ("teams", json!({}), "url", ""),
        ("telegram", json!({ "token": "hunter2hunter2", "chat": "1" }), "server", "{\"ok\":true}"),
        ("ntfy", json!({ "topic": "hunter2hunter2" }), "server", "{\"event\":\"message\"}"),
        ("pagerduty", json!({ "routing_key": "hunter2hunter2" }), "server", "{\"status\":\"success\"}"),
        ("alertmanager", json!({}), "url", ""),
        ("webhook", json!({ "headers": { "X-Key": "hunter2hunter2" } }), "url", "{}"),
        ("ping", json!({}), "url", "OK"),
    ]
}

fn addressed(mut section: Value, key: &str, base: &str) -> Value {
    let path = if key == "url" { "/services/hunter2hunter2" } else { "" };
    section[key] = json!(format!("{base}{path}"));
    section["timeout"] = json!("1s");
    section
}

fn told(kind: &str) -> backup_monitor::Message {
    if kind == "ping" { signal(Phase::Ended(0)) } else { failed() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_garbage_is_no_success() {
    for (kind, section, key, good) in all() {
        let receiver = Receiver::start(Reply::answer(200, good)).unwrap();
        let section = addressed(section, key, &receiver.url(""));
        send(kind, section.clone(), &told(kind)).await.unwrap();
        // A webhook that says nothing of its answers takes each that is good by its status.
        if kind != "webhook" {
            receiver.usually(Reply::answer(200, "<html>Welcome to the login page</html>"));
            let error = send(kind, section, &told(kind)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Failed, "{kind}: {error}");
            assert!(error.to_string().contains("not as it should"), "{kind}: {error}");
            assert_eq!(receiver.received().len(), 2, "{kind}: trying again would not help");
        }
    }
    // The ping's server says so with 200.
    let receiver = Receiver::start(Reply::answer(200, "OK (not found)")).unwrap();
    let section = json!({ "url": receiver.url("/x") });
    assert!(send("ping", section, &signal(Phase::Started)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_and_no_debug_output_holds_an_address_or_a_key() {
    let echo = "not found: POST /services/hunter2hunter2 hunter2hunter2 by hunter2hunter2";
    for (kind, section, key, _) in all() {
        let receiver = Receiver::start(Reply::answer(404, echo)).unwrap();
        let refused = addressed(section.clone(), key, &receiver.url(""));
        let moved =
            Receiver::start(Reply::Answer(302, vec!["Location: /hunter2hunter2".to_owned()], String::new()));
        let moved = moved.unwrap();
        let redirected = addressed(section.clone(), key, &moved.url(""));
        let nobody = addressed(section.clone(), key, "http://127.0.0.1:1");
        for section in [refused, redirected, nobody] {
            let notifier = built(kind, section).unwrap();
            let error = notifier.send(&backup_core::traits::Context::new(), &told(kind)).await.unwrap_err();
            for text in [error.chain(), format!("{error:?} {:?} {notifier:?}", error.advice())] {
                assert!(!text.contains("hunter2"), "{kind}: {text}");
            }
            assert!(error.chain().contains("the notifier ops"), "{error}");
        }
    }
}
