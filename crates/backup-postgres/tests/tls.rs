//! TLS to a real server that takes nothing else.

mod support;

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use backup_core::{repository::Status, words::ComponentStatus};
use backup_testkit::servers::{Certificates, PostgresServer, Toolbox};
use serde_json::{Value, json};
use support::{Bench, direct};

/// A server that refuses connections without TLS, and the certificates.
fn encrypted() -> (PostgresServer, Certificates) {
    let server = PostgresServer::start(15).unwrap();
    let certificates =
        Certificates::create(&Toolbox::open().unwrap(), &server.scratch().join("tls")).unwrap();
    give(&certificates.server_cert, &server.data_dir().join("server.crt"));
    give(&certificates.server_key, &server.data_dir().join("server.key"));
    let rules = server.data_dir().join("pg_hba.conf");
    fs::write(&rules, "hostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    server.sql().run("postgres", "alter system set ssl = on").unwrap();
    server.sql().run("postgres", "select pg_reload_conf()").unwrap();
    support::wait_until("the server to speak TLS", || {
        let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        server.sql().run("postgres", query).is_ok_and(|answer| answer == "t")
    });
    (server, certificates)
}

/// Copies a file into the server's folder, for the server's user only.
fn give(from: &Path, to: &Path) {
    use std::os::unix::fs::{PermissionsExt, chown};
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
    let folder = fs::metadata(to.parent().unwrap()).unwrap();
    chown(to, Some(folder.uid()), Some(folder.gid())).unwrap();
}

fn config(server: &PostgresServer, mode: &str, ca: Option<&Path>) -> Value {
    let mut config = direct(server.sql());
    config["sslmode"] = mode.into();
    config["leader_wait_seconds"] = json!(0);
    if let Some(ca) = ca {
        config["ca"] = ca.display().to_string().into();
    }
    config
}

/// SQL and pg_dump go through TLS, checked as far as the mode says; a wrong authority and no TLS are refused.
#[tokio::test(flavor = "multi_thread")]
async fn each_mode_checks_what_it_says() {
    let (server, certificates) = encrypted();
    let ca = certificates.ca.as_path();
    for (mode, ca) in
        [("verify-full", Some(ca)), ("verify-ca", Some(ca)), ("require", None), ("prefer", None)]
    {
        let bench = Bench::new(config(&server, mode, ca)).await;
        let report = bench.backup().await.unwrap();
        assert_eq!(report.status, Status::Success, "{mode}: {report:?}");
        assert_eq!(bench.record().await.status, ComponentStatus::Success);
    }
    let other = Certificates::create(&Toolbox::open().unwrap(), &server.scratch().join("other")).unwrap();
    for mode in ["verify-full", "verify-ca", "require"] {
        let report = Bench::new(config(&server, mode, Some(&other.ca))).await.backup().await.unwrap();
        assert_eq!(report.status, Status::Failed, "{mode}");
        assert!(report.errors[0].contains("certificate"), "{mode}: {report:?}");
    }
    let report = Bench::new(config(&server, "disable", None)).await.backup().await.unwrap();
    assert!(report.errors[0].contains("no pg_hba.conf entry"), "{report:?}");
}
