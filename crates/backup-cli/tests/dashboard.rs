//! `serve` of the built binary, over real connections: what it shows, and to whom.

mod support;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Bench,
    web::{Answer, Served, ask, begin, get},
};

const TOKEN: &str = "marked-secret-0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(120);

/// With a session of two components, of which one failed with a name that is markup.
fn hostile() -> (Bench, String) {
    let bench = Bench::with_files();
    bench.config(&format!(
        "[[component]]\nkind = \"files\"\nname = \"gone\"\npath = {:?}\n[log]\nfolder = {:?}\n",
        bench.path("<script>alert(1)</script>\"'&"),
        bench.path("log"),
    ));
    bench.run(&["init"]).exits(0);
    let ran = bench.run(&["backup", "--json"]).exits(3);
    let id = ran.message("backup_ended")["session_id"].as_str().unwrap().to_owned();
    (bench, id)
}

#[track_caller]
fn is_guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    assert!(!answer.header("cache-control").is_empty());
}

#[test]
fn the_pages_show_what_there_is_and_no_text_of_others_is_markup() {
    let (bench, id) = hostile();
    let served = Served::start(&bench);
    let session = format!("/sessions/{id}");
    for (path, expected) in [
        ("/", vec!["Something is wrong", "component gone age", "Recent sessions", &id, "Next runs", "<svg"]),
        ("/sessions", vec!["1 session found", &id, "gone <span class=\"bad\">(failed)</span>"]),
        (
            &session,
            vec!["PARTIAL", "ha-backup restore", "web_backup_", "Copies", "neither verified nor drilled"],
        ),
    ] {
        let answer = served.get(path).is(200);
        is_guarded(&answer);
        for text in expected {
            assert!(answer.body.contains(text), "{path} does not say {text}: {}", answer.body);
        }
        assert!(!answer.body.contains("<script>"), "{path}: {}", answer.body);
        assert!(!answer.body.contains(" style="), "the policy would drop it: {path}");
    }
    assert!(served.get(&session).body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    let asked = served.get("/sessions?text=%22%3E%3Cscript%3Ex&job=%3Cb%3E").is(200);
    assert!(asked.body.contains("value=\"&quot;&gt;&lt;script&gt;x\""), "{}", asked.body);
    assert!(!asked.body.contains("<script>"));
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn prometheus_is_told_what_the_metrics_command_prints() {
    let (bench, _) = hostile();
    let served = Served::start(&bench);
    let answer = served.get("/metrics").is(200);
    is_guarded(&answer);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"), "{answer:?}");
    let names = |text: &str| -> std::collections::BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        lines.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    };
    let printed = bench.run(&["metrics"]).exits(0).stdout;
    assert!(names(&printed).len() > 10, "{printed}");
    assert_eq!(names(&answer.body), names(&printed));
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn filters_narrow_the_list() {
    let (bench, id) = hostile();
    let served = Served::start(&bench);
    let found = |query: &str| served.get(&format!("/api/sessions?{query}")).is(200).json()["found"].clone();
    for one in
        ["", "status=PARTIAL", "component=web", "job=full", &format!("text={}", &id[7..]), "text=WEB&page=7"]
    {
        assert_eq!(found(one), 1, "{one}");
    }
    for none in ["status=SUCCESS", "component=we", "job=other", "text=nothing", "status=PARTIAL&job=x"] {
        assert_eq!(found(none), 0, "{none}");
    }
}

/// What the command prints, as it stands.
#[track_caller]
fn printed(bench: &Bench, args: &[&str]) -> Value {
    serde_json::from_slice(&bench.command(args).output().unwrap().stdout).unwrap()
}

#[test]
fn the_documents_are_those_of_the_command_line() {
    let (bench, id) = hostile();
    let served = Served::start(&bench);
    let listed = served.get("/api/sessions").is(200).json();
    let list = printed(&bench, &["list", "--json"]);
    assert_eq!((&listed["sessions"], &listed["away"]), (&list["sessions"], &list["away"]));
    let shown = served.get(&format!("/api/sessions/{id}")).is(200).json();
    assert_eq!(shown, printed(&bench, &["show", "--json", &id]));
    // Ages and free bytes change from one moment to the next.
    let still = |mut status: Value| {
        for aging in ["jobs", "components"] {
            for one in status[aging].as_array_mut().unwrap() {
                one["age_seconds"].take();
            }
        }
        status["free_bytes"].take();
        status["stores"][0]["free_bytes"].take();
        status
    };
    let status = served.get("/api/status").is(200).json();
    assert_eq!(still(status), still(printed(&bench, &["status", "--json"])));
}

#[test]
fn what_is_not_there_is_said_so() {
    let (bench, _) = hostile();
    let served = Served::start(&bench);
    for path in ["/nothing", "/sessions/backup_20200101_000000", "/sessions/%0Ax", "/api/sessions/x"] {
        is_guarded(&served.get(path).is(404));
    }
    assert_eq!(served.get("/healthz").is(200).body, "ok\n");
    let page = served.get("/sessions/latest%3Cscript%3E").is(404);
    assert!(!page.body.contains("<script>"), "{}", page.body);
    for path in ["/assets/dashboard.css", "/assets/dashboard.js", "/healthz", "/login"] {
        is_guarded(&served.get(path));
    }
}

#[test]
fn a_foreign_name_and_a_foreign_form_are_turned_away() {
    let (bench, _) = hostile();
    let served = Served::start(&bench);
    let port = served.address.port();
    for ours in
        ["localhost".to_owned(), format!("LOCALHOST:{port}"), format!("[::1]:{port}"), "127.0.0.1".into()]
    {
        get(served.address, "/", &[("Host", &ours)]).is(200);
    }
    for foreign in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "10.0.0.1", ""] {
        let answer = get(served.address, "/api/status", &[("Host", foreign)]).is(421);
        is_guarded(&answer);
        assert!(!answer.body.contains("crm"), "{}", answer.body);
    }
    let cross = [("Origin", "http://evil.example")];
    is_guarded(&ask(served.address, "POST", "/logout", &cross, "").is(403));
    let fetched = [("Sec-Fetch-Site", "cross-site")];
    ask(served.address, "POST", "/logout", &fetched, "").is(403);
}

/// Behind a token, with a log.
fn behind_a_token() -> Bench {
    let bench = Bench::with_files();
    bench.write("token", &format!("{TOKEN}\n"));
    bench.config(&format!(
        "[dashboard]\ntoken = {{ file = {:?} }}\n[log]\nfolder = {:?}\n",
        bench.path("token"),
        bench.path("log"),
    ));
    bench
}

#[test]
fn the_token_lets_in_by_header_and_by_login_and_all_is_noted() {
    let bench = behind_a_token();
    let id = bench.first_session();
    let served = Served::start(&bench);
    let at = served.address;
    assert_eq!(
        served.get("/sessions?type=daily").is(303).header("location"),
        "/login?next=%2Fsessions%3Ftype%3Ddaily"
    );
    assert_eq!(served.get("/api/status").is(401).header("www-authenticate"), "Bearer");
    served.get("/events").is(401);
    served.get("/healthz").is(200);
    let bearer = format!("Bearer {TOKEN}");
    get(at, "/api/status", &[("Authorization", &bearer)]).is(200);

    let form = format!("token={TOKEN}&next=%2Fsessions%2F{id}");
    let login = ask(at, "POST", "/login", &[("Origin", &format!("http://{at}"))], &form).is(303);
    assert_eq!(login.header("location"), format!("/sessions/{id}"));
    let cookie = login.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let page = get(at, &format!("/sessions/{id}"), &[("Cookie", cookie)]).is(200);
    assert!(page.body.contains("Log out"));
    ask(at, "POST", "/logout", &[("Cookie", cookie)], "").is(303);
    get(at, "/", &[("Cookie", cookie)]).is(303);

    let wrong = get(at, "/api/status", &[("Authorization", "Bearer wrong")]).is(401);
    is_guarded(&wrong);
    // Whoever was wrong waits, even with the right one: tries are no cheaper for that.
    let waits = get(at, "/api/status", &[("Authorization", &bearer)]).is(429);
    assert!(!waits.header("retry-after").is_empty());

    let audit = std::fs::read_to_string(bench.path("log/audit.log")).unwrap();
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let noted = |action: &str, on: &str, outcome: &str| {
        let is = |line: &&Value| line["action"] == action && line["on"] == on && line["outcome"] == outcome;
        lines.iter().find(is).unwrap_or_else(|| panic!("no {action} {on} {outcome} in {audit}"))
    };
    noted("login", "/login", "good");
    noted("login", "/api/status", "refused: wrong token");
    noted("login", "/api/status", "refused: too many tries");
    noted("logout", "/logout", "good");
    let view = noted("view", &format!("/sessions/{id}"), "good");
    assert_eq!((&view["user"], &view["from"]), (&"token".into(), &"127.0.0.1".into()));
    assert!(!audit.contains(TOKEN), "{audit}");
    assert!(!page.body.contains(TOKEN));
}

#[test]
fn only_the_trusted_proxy_may_say_who_is_there() {
    for (proxies, code) in [("127.0.0.1", 200), ("10.9.9.9", 401)] {
        let bench = Bench::with_files();
        bench.config(&format!(
            "[dashboard]\ntrusted_header = \"X-Forwarded-User\"\ntrusted_proxies = [{proxies:?}]\n"
        ));
        bench.run(&["init"]).exits(0);
        let served = Served::start(&bench);
        get(served.address, "/", &[("X-Forwarded-User", "ada")]).is(code);
        get(served.address, "/", &[("X-Forwarded-User", "ada"), ("X-Forwarded-User", "root")]).is(401);
        get(served.address, "/", &[]).is(401);
    }
}

#[test]
fn an_address_that_strangers_reach_is_refused() {
    let bench = Bench::with_files();
    let ran = bench.run(&["serve", "--listen", "0.0.0.0:0"]).exits(2);
    assert!(ran.stderr.contains("neither TLS nor authentication"), "{}", ran.stderr);
    for section in [
        "listen = \"0.0.0.0:8080\"",
        "listen = \"[::]:8080\"\ntoken = { env = \"T\" }",
        "listen = \"0.0.0.0:1\"\ntls = { cert = \"a\", key = \"b\" }",
        "trusted_header = \"X-User\"",
        "trusted_header = \"X User\"\ntrusted_proxies = [\"10.0.0.1\"]",
    ] {
        bench.config(&format!("[dashboard]\n{section}\n"));
        let ran = bench.run(&["status"]).exits(2);
        assert!(ran.stderr.contains("dashboard"), "{section}: {}", ran.stderr);
    }
    bench.config("[dashboard]\ntoken = \"hunter2\"\n");
    let ran = bench.run(&["serve"]).exits(2);
    assert!(ran.stderr.contains("too short") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    bench.config("");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let ran = bench.run(&["serve", "--listen", &listen]).exits(1);
    assert!(ran.stderr.contains("something else listens there"), "{}", ran.stderr);
}

/// The daemon, until it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(bench: &Bench) -> Daemon {
    Daemon(bench.command(&["daemon"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Waits until `is` says so.
#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn log_of(bench: &Bench) -> String {
    std::fs::read_to_string(bench.path("log/unified-backup.log")).unwrap_or_default()
}

/// Jobs that were due every day of the last years, in a repository that is as old.
fn old_installation(more: &str) -> Bench {
    let bench = Bench::with_files();
    let log = format!("[log]\nfolder = {:?}\n", bench.path("log"));
    bench.config(&format!("{log}{more}\n[[job]]\nname = \"full\"\nschedule = \"0 2 * * *\"\n"));
    bench.run(&["init"]).exits(0);
    let file = "store/repository.json";
    let mut identity: Value = serde_json::from_slice(&std::fs::read(bench.path(file)).unwrap()).unwrap();
    identity["created"] = "2020-01-01T00:00:00Z".into();
    bench.write(file, &identity.to_string());
    bench
}

#[test]
fn the_daemon_shows_what_runs_as_it_goes() {
    let wait = "[hooks]\nbefore = [[\"sh\", \"-c\", \"until [ -e go ]; do sleep 0.05; done\"]]\n";
    let bench = old_installation(&format!("[dashboard]\nlisten = \"127.0.0.1:0\"\n{wait}"));
    let _daemon = daemon(&bench);
    let mut address = None;
    wait_until("the dashboard", || {
        let log = log_of(&bench);
        let open = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        address = open
            .filter(|line| line["message"] == "the dashboard is open")
            .find_map(|line| line["address"].as_str()?.parse().ok());
        address.is_some()
    });
    let address = address.unwrap();
    let runs = || get(address, "/", &[]).is(200).body.contains("<h3>full: begins</h3>");
    wait_until("the run on the page", runs);

    let mut lines = BufReader::new(begin(address, "GET", "/events", &[], "")).lines().map_while(Result::ok);
    let mut said = |wanted: &dyn Fn(&str) -> bool| {
        let line = lines.find(|line| line.starts_with("data: [") && wanted(line));
        line.expect("the stream goes on")
    };
    said(&|line| line.contains("\"job\":\"full\"") && line.contains("begins"));
    bench.write("go", "");
    said(&|line| line == "data: []");
    wait_until("the session", || get(address, "/sessions", &[]).body.contains("SUCCESS</span>"));
}

#[test]
fn a_dashboard_that_cannot_be_shown_keeps_no_job_from_running() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bench = old_installation(&format!("[dashboard]\nlisten = \"{}\"\n", taken.local_addr().unwrap()));
    let _daemon = daemon(&bench);
    wait_until("the error", || log_of(&bench).contains("the dashboard cannot be shown"));
    wait_until("the run", || bench.run(&["list", "--json"]).stdout.contains("\"SUCCESS\""));
}

/// The folders of `count` more sessions, each an hour before the one after it, made from the newest.
fn multiply(bench: &Bench, id: &str, count: i64) {
    let folder = bench.path("store/sessions");
    let manifest = std::fs::read_to_string(folder.join(id).join("manifest.json")).unwrap();
    let newest = chrono::NaiveDateTime::parse_from_str(id, "backup_%Y%m%d_%H%M%S").unwrap();
    for hours in 1..=count {
        let other = (newest - chrono::TimeDelta::hours(hours)).format("backup_%Y%m%d_%H%M%S").to_string();
        std::fs::create_dir(folder.join(&other)).unwrap();
        let text = manifest.replace(&id[7..], &other[7..]);
        std::fs::write(folder.join(&other).join("manifest.json"), text).unwrap();
    }
}

#[test]
fn ten_thousand_sessions_are_shown_a_page_at_a_time() {
    let bench = Bench::with_files();
    let id = bench.first_session();
    multiply(&bench, &id, 9_999);
    let served = Served::start(&bench);
    wait_until("the first look", || served.get("/sessions").code == 200);
    let begun = Instant::now();
    let first = served.get("/sessions").is(200);
    println!("first page: {:?}, {} B", begun.elapsed(), first.body.len());
    assert!(first.body.contains("10000 sessions found") && first.body.contains("Page 1 of 200"));
    assert!(first.body.len() < 100_000, "{} B", first.body.len());
    assert_eq!(first.body.matches("<th scope=\"row\">").count(), 50);
    let last = served.get("/sessions?page=200").is(200);
    assert!(last.body.contains("Page 200 of 200") && !last.body.contains(&id));
    let status = served.get("/").is(200);
    println!("status: {} B", status.body.len());
    assert!(status.body.len() < 100_000, "{} B", status.body.len());
    assert_eq!(served.get("/api/sessions").json()["sessions"].as_array().unwrap().len(), 50);
}
