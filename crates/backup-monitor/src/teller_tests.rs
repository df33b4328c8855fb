use std::sync::Mutex;

use async_trait::async_trait;
use chrono::TimeDelta;

use super::*;
use crate::alert::Phase;

/// Keeps what it is told; fails, or hangs, as long as it should.
#[derive(Debug, Default)]
struct Double {
    told: Mutex<Vec<Message>>,
    fails: Mutex<bool>,
    hangs: bool,
    pings: bool,
}

#[async_trait]
impl Notifier for Double {
    fn takes(&self) -> Takes {
        if self.pings { Takes::Runs } else { Takes::Problems }
    }

    async fn send(&self, _: &Context, message: &Message) -> Result<()> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if *self.fails.lock().unwrap() {
            return Err(Error::new(ErrorKind::Unreachable, "tell", "the double"));
        }
        self.told.lock().unwrap().push(message.clone());
        Ok(())
    }
}

impl Double {
    /// The titles of all messages since the last time.
    fn heard(&self) -> Vec<String> {
        self.told.lock().unwrap().drain(..).map(|message| message.title()).collect()
    }
}

const LIMIT: Duration = Duration::from_secs(20);

fn teller(folder: &tempfile::TempDir, doubles: &[(&str, &Arc<Double>)]) -> Teller {
    let channel = |(name, double): &(&str, &Arc<Double>)| Channel {
        route: Route {
            name: (*name).to_owned(),
            severity: Severity::Warning,
            kinds: Vec::new(),
            jobs: Vec::new(),
        },
        notifier: Arc::clone(double) as Arc<dyn Notifier>,
    };
    Teller {
        name: "crm".to_owned(),
        host: "h1".to_owned(),
        channels: doubles.iter().map(channel).collect(),
        pace: Pace { repeat: TimeDelta::hours(24), per_hour: 20 },
        state: StateFile::new(folder.path()),
    }
}

fn seen(wrong: bool) -> Look {
    let problem = wrong.then(|| Problem::new(Kind::Backup, Severity::Critical, "backup full failed"));
    Look {
        observations: vec![Observation { fingerprint: "backup/full".to_owned(), problem }],
        ..Look::default()
    }
}

#[tokio::test]
async fn a_problem_is_told_once_and_its_end_once_across_processes() {
    let folder = tempfile::tempdir().unwrap();
    let ops = Arc::new(Double::default());
    for (wrong, expected) in [
        (true, &["CRITICAL: backup full failed"][..]),
        (true, &[]),
        (false, &["RESOLVED: backup full failed"]),
        (false, &[]),
    ] {
        let failed = teller(&folder, &[("ops", &ops)]).tell(&Context::new(), &seen(wrong), None, LIMIT).await;
        assert!(failed.is_empty());
        assert_eq!(ops.heard(), expected);
    }
}

#[tokio::test]
async fn a_notifier_that_fails_is_told_by_the_others_kept_and_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (ops, mail) = (Arc::new(Double::default()), Arc::new(Double::default()));
    *ops.fails.lock().unwrap() = true;
    let teller = teller(&folder, &[("ops", &ops), ("mail", &mail)]);
    let cx = Context::new();
    let failed = teller.tell(&cx, &seen(true), None, LIMIT).await;
    assert_eq!(failed.iter().map(|f| f.notifier.as_str()).collect::<Vec<_>>(), ["ops"]);
    let heard = mail.heard();
    assert_eq!(
        heard,
        ["CRITICAL: backup full failed", "WARNING: the notifier ops does not get its messages out",]
    );
    let records = teller.records();
    assert!(records[0].1.as_ref().unwrap().failing.is_some());
    assert!(records[1].1.as_ref().unwrap().failing.is_none());
    // Nothing new, but for the one who has not heard of it.
    *ops.fails.lock().unwrap() = false;
    assert!(teller.tell(&cx, &seen(true), None, LIMIT).await.is_empty());
    assert_eq!(ops.heard(), ["CRITICAL: backup full failed"]);
    assert_eq!(mail.heard(), ["RESOLVED: the notifier ops does not get its messages out"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_holds_nobody_up_for_longer_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (ops, mail) = (Arc::new(Double { hangs: true, ..Double::default() }), Arc::new(Double::default()));
    let teller = teller(&folder, &[("ops", &ops), ("mail", &mail)]);
    let begun = tokio::time::Instant::now();
    let failed = teller.tell(&Context::new(), &seen(true), None, LIMIT).await;
    assert_eq!((failed.len(), failed[0].error.kind()), (1, ErrorKind::TimedOut));
    assert_eq!(mail.heard().len(), 2);
    assert!(begun.elapsed() <= LIMIT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn pings_hear_every_run_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (ping, mail) = (Arc::new(Double { pings: true, ..Double::default() }), Arc::new(Double::default()));
    let teller = teller(&folder, &[("ping", &ping), ("mail", &mail)]);
    let signal = |phase| Signal {
        kind: Kind::Backup,
        job: "full".to_owned(),
        run: "r".to_owned(),
        phase,
        text: String::new(),
    };
    let cx = Context::new();
    for phase in [Phase::Started, Phase::Ended(0), Phase::Started, Phase::Ended(0)] {
        teller.tell(&cx, &Look::default(), Some(&signal(phase)), LIMIT).await;
    }
    teller.tell(&cx, &seen(true), None, LIMIT).await;
    let phases: Vec<_> = ping.told.lock().unwrap().iter().map(|m| m.signal.as_ref().unwrap().phase).collect();
    assert_eq!(phases, [Phase::Started, Phase::Ended(0), Phase::Started, Phase::Ended(0)]);
    assert_eq!(mail.heard(), ["CRITICAL: backup full failed"]);
}

#[tokio::test]
async fn a_test_goes_to_each_or_to_one_and_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (ops, mail) = (Arc::new(Double::default()), Arc::new(Double::default()));
    *ops.fails.lock().unwrap() = true;
    let teller = teller(&folder, &[("ops", &ops), ("mail", &mail)]);
    let cx = Context::new();
    let outcomes = teller.test(&cx, None, LIMIT).await.unwrap();
    assert_eq!(
        outcomes.iter().map(|(n, o)| (n.as_str(), o.is_ok())).collect::<Vec<_>>(),
        [("ops", false), ("mail", true)]
    );
    assert_eq!(teller.test(&cx, Some("mail"), LIMIT).await.unwrap().len(), 1);
    assert_eq!(teller.test(&cx, Some("mial"), LIMIT).await.unwrap_err().kind(), ErrorKind::Config);
    assert!(teller.records().iter().all(|(_, record)| record.is_none()));
}
