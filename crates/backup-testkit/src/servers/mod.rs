//! Real etcd, Patroni, PostgreSQL, Kubernetes, object stores and mail on loopback, for tests.
//!
//! ```no_run
//! use backup_testkit::servers::*;
//!
//! # fn main() -> Result<()> {
//! let mut etcd = EtcdCluster::start(3, Etcd::V35, EtcdOptions::default())?;
//! etcd.put_many(etcd_keys(1000))?;
//! let endpoints = etcd.endpoints(); // ["http://127.0.0.1:12345", ...]
//! etcd.kill(etcd.leader()?); // SIGKILL
//! # let _ = endpoints;
//!
//! let mut patroni = PatroniCluster::start(3, &etcd, PatroniOptions::default())?;
//! SampleData::default().load(&patroni.leader_sql()?)?;
//! patroni.switchover()?;
//! let killed = patroni.kill_leader()?; // Patroni and its PostgreSQL
//! let next = patroni.wait_leader()?; // about 20 seconds later
//! assert_ne!(killed, next);
//! let urls = patroni.rest_urls(); // for the product's `patroni = [...]`
//! # let _ = urls;
//!
//! // A restored etcd: fix names, ports and folders, restore into them, start.
//! let mut copy = EtcdCluster::prepare(3, Etcd::V36, EtcdOptions::default())?;
//! let (folder, peers) = (copy.data_dir(0).to_owned(), copy.initial_cluster());
//! # let _ = (folder, peers);
//! copy.start_all()?;
//! assert_eq!(copy.count("")?, etcd.count("")?);
//!
//! // A fresh server for a restore by hand.
//! let fresh = PostgresServer::start(17)?;
//! fresh.sql().run("postgres", "select 1")?;
//!
//! // Kubernetes; with 0 nodes it needs no root and runs no pods.
//! let mut kubernetes = KubernetesCluster::start(1, KubernetesOptions::default())?;
//! kubernetes.create_namespace("crm")?;
//! kubernetes.kubectl(&["run", "tools", "-n", "crm", "--image", &Image::Debian.reference()])?;
//! kubernetes.wait_pods("crm", "run=tools", 1)?;
//! kubernetes.exec("crm", "tools", &["tar", "--version"])?;
//! kubernetes.kill_api_server();
//! kubernetes.start_api_server()?;
//! let kubeconfig = kubernetes.kubeconfig(); // for the product's `kubeconfig = ...`
//! # let _ = kubeconfig;
//!
//! // An object store, and a proxy in front of it behind which half of all requests fail.
//! let store = ObjectServer::start(Objects::SeaweedFs)?;
//! store.make_bucket("backups")?;
//! let proxy = FaultyProxy::start(store.port(), 7)?;
//! proxy.fail(500);
//! let endpoint = store.endpoint_at(proxy.port());
//! # let _ = endpoint;
//!
//! // Whoever is told something: a mail server, and one for HTTP that first fails.
//! let mail = MailServer::start(MailTls::Starttls, true)?;
//! let first = mail.mails(1)?; // waits for it
//! let receiver = Receiver::start(Reply::answer(200, "ok"))?;
//! receiver.next([Reply::answer(503, ""), Reply::Hang]);
//! let requests = receiver.wait(3)?;
//! # let _ = (first, requests);
//! # Ok(())
//! # }
//! ```
//!
//! * Everything is synchronous: call it from `tokio::task::spawn_blocking`, or start the servers before the
//!   runtime. (A call blocks its thread; with a runtime of several threads that is harmless in a test.)
//! * Nothing is installed here. A missing server is an [`Error`] that names the mend, `cargo xtask setup`
//!   ([`install`]); a test returns it and so fails.
//! * What is started is stopped: when the value is dropped, on panic, on Ctrl-C and on kill -9 of the test
//!   ([`Scratch`]). `HA_BACKUP_KEEP=1` keeps the folders, for a look at logs.
//! * Nodes of Kubernetes need root. They live in namespaces of their own, and go with all pods, mounts and
//!   control groups.
//! * Ports are below 32768 and reserved for as long as the value lives ([`Port`]); any number of test
//!   processes may run at once.
//! * Every wait is a poll with a deadline, and its error has the tail of the server's log.
//! * As root, PostgreSQL and Patroni run as `postgres` (else `nobody`); etcd runs as ourselves, so that
//!   data folders can be restored into place.

mod error;
mod etcd;
mod faulty;
mod http;
mod kubernetes;
mod mail;
mod objects;
mod patroni;
mod ports;
mod postgres;
mod process;
mod receiver;
mod sample;
mod scratch;
mod setup;
mod tls;
mod toolbox;
mod user;
mod wait;

pub use error::{Error, Result};
pub use etcd::{EtcdCluster, EtcdOptions};
pub use faulty::FaultyProxy;
pub use kubernetes::{
    FastApi, Image, KubernetesCluster, KubernetesOptions, KubernetesTools, PatroniPods, SupabaseLike,
};
pub use mail::{Mail, MailServer, MailTls};
pub use objects::{ObjectServer, Objects, ObjectsTools};
pub use patroni::{PatroniCluster, PatroniOptions};
pub use ports::Port;
pub use postgres::{PostgresServer, Sql};
pub use receiver::{Received, Receiver, Reply};
pub use sample::{SampleData, etcd_keys};
pub use scratch::Scratch;
pub use setup::install;
pub use tls::Certificates;
pub use toolbox::{Etcd, EtcdTools, POSTGRES_MAJORS, Patroni, PostgresTools, Protoc, Tool, Toolbox};
pub use user::{User, is_root};
pub use wait::poll;
