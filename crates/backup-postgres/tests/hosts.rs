//! A place that stands for several hosts: the leader is found among them, and its programs run beside it.

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use backup_core::{
    engine::RestoreOutcome,
    stores::MemoryStore,
    traits::{Command, Connection, Hosts, LocalPlace, Node, Place, Process, Severity},
    words::{ComponentStatus, Error, ErrorKind, Result},
};
use backup_postgres::PostgresComponent;
use backup_testkit::servers::{PostgresServer, SampleData, Sql};
use serde_json::{Value, json};
use support::Bench;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// The ports that every host has, and those that are behind them on this one.
const POSTGRES: u16 = 5432;
const PATRONI: u16 = 8008;

/// Hosts that are in truth this one. What connects to `localhost` on one of them must have been run there.
#[derive(Clone, Debug, Default)]
struct Several {
    hosts: BTreeMap<String, BTreeMap<u16, u16>>,
}

#[derive(Debug)]
struct One {
    name: String,
    ports: BTreeMap<u16, u16>,
}

impl Several {
    fn host(mut self, name: &str, ports: impl IntoIterator<Item = (u16, u16)>) -> Self {
        self.hosts.insert(name.to_owned(), ports.into_iter().collect());
        self
    }

    async fn bench(&self, sql: &Sql) -> Bench {
        let config = json!({
            "user": sql.user,
            "password": sql.password,
            "bin_folders": [sql.tools.bin],
            "leader_wait_seconds": 2,
        });
        let component =
            PostgresComponent::new("postgres", &Node::new(config), Arc::new(self.clone())).unwrap();
        Bench::with(Arc::new(MemoryStore::new()), Arc::new(component)).await
    }
}

#[async_trait]
impl Place for Several {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        panic!("{} is run nowhere in particular", command.program)
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        self.on(host).await?.connect(host, port).await
    }

    fn name(&self) -> String {
        "the hosts".to_owned()
    }

    fn hosts(&self) -> Option<&dyn Hosts> {
        Some(self)
    }
}

#[async_trait]
impl Hosts for Several {
    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.hosts.keys().cloned().collect())
    }

    async fn on(&self, host: &str) -> Result<Arc<dyn Place>> {
        let ports = self.hosts.get(host).cloned();
        let ports = ports.ok_or_else(|| Error::new(ErrorKind::Unreachable, "find", host))?;
        Ok(Arc::new(One { name: host.to_owned(), ports }))
    }
}

#[async_trait]
impl Place for One {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        let mut here = command.clone();
        for argument in &mut here.arguments {
            assert!(!argument.contains("pass word"), "{argument}");
            if argument.starts_with("--dbname=") {
                assert!(argument.contains("host='localhost' port='5432'"), "{argument}");
                let port = format!("port='{}'", self.ports[&POSTGRES]);
                *argument = argument.replace("localhost", "127.0.0.1").replace("port='5432'", &port);
            }
        }
        LocalPlace.run(&here).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        assert_eq!(host, self.name);
        // Nobody listens behind port 1.
        LocalPlace.connect("127.0.0.1", self.ports.get(&port).copied().unwrap_or(1)).await
    }

    fn name(&self) -> String {
        format!("host {}", self.name)
    }
}

/// Answers every request as Patroni does, with this leader; its port.
async fn patroni(leader: Option<&str>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let member = |name: &str| json!({"name": name, "role": "leader", "state": "running", "host": name, "port": POSTGRES});
    let body = json!({"members": leader.map(member).into_iter().collect::<Vec<Value>>()});
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn sample() -> PostgresServer {
    let server = PostgresServer::start(15).unwrap();
    SampleData::default().load(server.sql()).unwrap();
    server
}

async fn restored(bench: &Bench) -> Result<RestoreOutcome> {
    bench.restore(json!({"database": "crm"})).await
}

/// Of two servers that both take writes, the one is read and restored into that Patroni names on any host that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_leader_that_patroni_names_is_read_and_restored_into_on_its_own_host() {
    let (old, leader) = (PostgresServer::start(15).unwrap(), sample());
    let sql = leader.sql();
    let place = Several::default()
        .host("pg-0", [(POSTGRES, old.port())])
        .host("pg-1", [(POSTGRES, leader.port()), (PATRONI, patroni(Some("pg-1")).await)]);
    let bench = place.bench(sql).await;
    bench.backup().await.unwrap();
    let record = bench.record().await;
    assert_eq!(record.status, ComponentStatus::Success, "{record:?}");
    assert_eq!(record.facts["leader"], "host pg-1");
    let before = sql.row_counts("crm").unwrap();
    sql.run("crm", "truncate crm.companies cascade").unwrap();
    let plan = bench.plan(json!({"database": "crm"})).await.unwrap();
    let shown: Vec<&str> = plan.steps.iter().map(|planned| planned.step.subject.as_str()).collect();
    assert!(shown.iter().all(|subject| subject.ends_with(" on host pg-1")), "{shown:?}");
    restored(&bench).await.unwrap();
    assert_eq!(sql.row_counts("crm").unwrap(), before);
    let checked = bench.engine.check(&bench.cx).await;
    let findings: Vec<_> = checked.checked.iter().flat_map(|checked| &checked.findings).collect();
    assert!(findings.iter().any(|finding| finding.subject == "leader host pg-1"), "{findings:?}");
}

/// Where nobody listens on Patroni's port of any host, the one server that takes writes leads; of two, none does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_patroni_the_only_server_that_takes_writes_leads() {
    let server = sample();
    let sql = server.sql();
    let place = Several::default().host("pg-0", []).host("pg-1", [(POSTGRES, server.port())]);
    let bench = place.bench(sql).await;
    bench.backup().await.unwrap();
    let record = bench.record().await;
    assert_eq!((record.status, record.warnings.len()), (ComponentStatus::Success, 0), "{record:?}");
    restored(&bench).await.unwrap();
    let checked = bench.engine.check(&bench.cx).await;
    let findings = checked.checked.iter().flat_map(|checked| &checked.findings);
    let bad: Vec<_> = findings.filter(|finding| finding.severity != Severity::Ok).collect();
    assert!(bad.is_empty(), "{bad:?}");

    let other = PostgresServer::start(15).unwrap();
    let place = place.host("pg-2", [(POSTGRES, other.port())]);
    let report = place.bench(sql).await.backup().await.unwrap();
    assert!(report.errors[0].contains("both host pg-2 and host pg-1 take writes"), "{report:?}");
}

/// Where Patroni is there and does not answer, the only primary is read, with a warning, and not written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_patroni_that_does_not_answer_is_not_taken_for_none() {
    let server = sample();
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            drop(silent.accept().await);
        }
    });
    let place = Several::default().host("pg-0", [(POSTGRES, server.port()), (PATRONI, port)]);
    let bench = place.bench(server.sql()).await;
    bench.backup().await.unwrap();
    let record = bench.record().await;
    assert!(record.warnings[0].contains("Patroni could not say who leads"), "{record:?}");
    let refused = tokio::time::timeout(Duration::from_secs(60), restored(&bench)).await.unwrap();
    assert!(refused.unwrap_err().to_string().contains("no member of Patroni answers"));
}
