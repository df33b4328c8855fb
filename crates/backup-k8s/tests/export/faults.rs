//! Bad days while the lists are read.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backup_core::{
    traits::{Context, Event, Observer},
    words::ComponentStatus,
};
use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, poll};
use serde_json::json;

use crate::lab::{Lab, section, shared, start};

/// Breaks something, once.
type Cut = Box<dyn FnOnce() + Send>;

/// Many config maps, put where the API server keeps them: a hundred times as fast as through it.
fn fill(cluster: &KubernetesCluster, namespace: &str, count: usize, bytes: usize) {
    let object = |number: usize| {
        let name = format!("c{number:05}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": name, "namespace": namespace, "uid": format!("00000000-0000-4000-8000-{number:012}"),
            "creationTimestamp": "2026-01-01T00:00:00Z"}, "data": {"text": "x".repeat(bytes)}});
        (format!("/registry/configmaps/{namespace}/{name}"), object.to_string())
    };
    cluster.etcd().put_many((0..count).map(object)).unwrap();
    poll("the API server to see them", Duration::from_secs(60), || {
        let seen = cluster
            .kubectl(&["get", "configmaps", "-n", namespace, "-o", "name"])
            .map_err(|e| e.to_string())?;
        if seen.lines().count() > count { Ok(()) } else { Err(seen.lines().count().to_string()) }
    })
    .unwrap();
}

/// Does something once, when the component's point is pinned and before anything is read.
struct WhenOpened(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl std::fmt::Debug for WhenOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WhenOpened")
    }
}

impl Observer for WhenOpened {
    fn event(&self, event: Event) {
        if matches!(event, Event::Opened { .. })
            && let Some(act) = self.0.lock().unwrap().take()
        {
            act();
        }
    }
}

fn when_opened(act: impl FnOnce() + Send + 'static) -> Context {
    Context::new().with_observer(Arc::new(WhenOpened(Mutex::new(Some(Box::new(act))))))
}

/// A connection to the API server that a test may cut: it calls `cut` when so many bytes have come from the server.
struct Wire {
    kubeconfig: PathBuf,
    connections: Arc<AtomicU64>,
}

impl Wire {
    fn to(cluster: &KubernetesCluster, after: u64, cut: impl FnOnce() + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        let kubeconfig = cluster.scratch().join(format!("wire-{port}.conf"));
        let own = text.replace(&cluster.api_server_port().to_string(), &port.to_string());
        std::fs::write(&kubeconfig, own).unwrap();
        let server = (Ipv4Addr::LOCALHOST, cluster.api_server_port());
        let (seen, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let cut: Arc<Mutex<Option<Cut>>> = Arc::new(Mutex::new(Some(Box::new(cut))));
        let counted = connections.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (to_server, from_server) = (upstream.try_clone().unwrap(), upstream);
                std::thread::spawn(move || pass_on(from_client, to_server, |_| {}));
                let (seen, cut) = (seen.clone(), cut.clone());
                std::thread::spawn(move || {
                    pass_on(from_server, to_client, |bytes| {
                        if seen.fetch_add(bytes, Ordering::Relaxed) + bytes >= after
                            && let Some(cut) = cut.lock().unwrap().take()
                        {
                            cut();
                        }
                    });
                });
            }
        });
        Self { kubeconfig, connections }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, count: impl Fn(u64)) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
        count(read as u64);
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_killed_in_mid_list_costs_no_object_and_gives_none_twice() {
    let cluster = start();
    cluster.create_namespace("shop").unwrap();
    fill(&cluster, "shop", 4000, 5000);
    let cluster = Arc::new(Mutex::new(cluster));
    let again = cluster.clone();
    let wire = {
        let guard = cluster.lock().unwrap();
        // In the third of eight pages.
        Wire::to(&guard, 6_000_000, move || {
            let mut cluster = again.lock().unwrap();
            cluster.kill_api_server();
            std::thread::spawn({
                let again = again.clone();
                move || again.lock().unwrap().start_api_server().unwrap()
            });
        })
    };
    let lab = Lab::new(json!({"kubeconfig": wire.kubeconfig, "namespace": "shop"})).await;
    let exported = lab.export().await;
    assert!(wire.connections.load(Ordering::Relaxed) > 1);
    assert_eq!(exported.record.status, ComponentStatus::Success, "{:?}", exported.missing());
    assert!(exported.record.warnings.is_empty(), "{:?}", exported.record.warnings);
    let names: Vec<_> = exported.names().into_iter().filter(|name| name.starts_with("ConfigMap c")).collect();
    assert_eq!(names.len(), 4000);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 4000);
    assert_eq!(exported.fact("ConfigMap"), 4001);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_falls_silent_is_asked_again() {
    let cluster = Arc::new(start());
    cluster.create_namespace("shop").unwrap();
    fill(&cluster, "shop", 1500, 5000);
    let paused = cluster.clone();
    let wire = Wire::to(&cluster, 4_000_000, move || {
        paused.pause_api_server().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(8));
            paused.resume_api_server().unwrap();
        });
    });
    let section = json!({"kubeconfig": wire.kubeconfig, "namespace": "shop", "request_timeout": 2});
    let exported = Lab::new(section).await.export().await;
    assert_eq!(exported.record.status, ComponentStatus::Success, "{:?}", exported.missing());
    assert_eq!(exported.fact("ConfigMap"), 1501);
    let unique: BTreeSet<_> = exported.names().into_iter().collect();
    assert_eq!(unique.iter().filter(|name| name.starts_with("ConfigMap c")).count(), 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_deleted_after_the_pin_is_still_there_and_one_that_is_made_is_not() {
    let cluster = shared();
    cluster.create_namespace("moving").unwrap();
    cluster.kubectl(&["create", "configmap", "going", "-n", "moving", "--from-literal=a=b"]).unwrap();
    let act = {
        let cluster = cluster.clone();
        move || {
            cluster.kubectl(&["delete", "configmap", "going", "-n", "moving"]).unwrap();
            cluster.kubectl(&["create", "configmap", "coming", "-n", "moving"]).unwrap();
        }
    };
    let exported = Lab::with(section(&cluster, "moving"), when_opened(act)).await.export().await;
    assert_eq!(exported.object("ConfigMap going")["data"]["a"], "b");
    assert!(!exported.names().contains(&"ConfigMap coming".to_owned()));
    assert_eq!(exported.record.status, ComponentStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_whose_version_was_compacted_are_read_at_their_own_and_that_is_said() {
    let cluster = Arc::new(start());
    cluster.create_namespace("shop").unwrap();
    cluster.kubectl(&["create", "configmap", "settings", "-n", "shop", "--from-literal=a=b"]).unwrap();
    let act = {
        let cluster = cluster.clone();
        move || {
            // What changes after the pin is what is then read: the API server's own memory is short.
            for number in 0..5 {
                cluster.kubectl(&["create", "configmap", &format!("n{number}"), "-n", "shop"]).unwrap();
            }
            let revision = cluster.etcd().revision().unwrap().to_string();
            cluster.etcd().etcdctl(&["compact", &revision]).unwrap();
        }
    };
    let exported = Lab::with(section(&cluster, "shop"), when_opened(act)).await.export().await;
    assert_eq!(exported.record.status, ComponentStatus::Success, "{:?}", exported.missing());
    assert!(exported.names().contains(&"ConfigMap settings".to_owned()));
    let pinned = exported.record.facts["resource_version"].as_str().unwrap();
    let kinds = exported.record.facts["kinds"].as_array().unwrap();
    let moved: Vec<_> = kinds.iter().filter(|kind| kind["resource_version"] != pinned).collect();
    assert!(!moved.is_empty(), "the compaction was noticed");
    for kind in moved {
        let plural = kind["plural"].as_str().unwrap();
        let said = exported
            .record
            .warnings
            .iter()
            .any(|line| line.starts_with(plural) && line.contains("compacted"));
        assert!(said, "{plural}: {:?}", exported.record.warnings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_compacted_in_mid_list_makes_that_list_begin_anew() {
    // Else the API server remembers for us what etcd has forgotten.
    let forgetful = vec!["--feature-gates=ListFromCacheSnapshot=false".to_owned()];
    let options = KubernetesOptions { api_server_args: forgetful, ..KubernetesOptions::default() };
    let cluster = Arc::new(KubernetesCluster::start(0, options).unwrap());
    cluster.create_namespace("shop").unwrap();
    fill(&cluster, "shop", 4000, 5000);
    let other = cluster.clone();
    let wire = Wire::to(&cluster, 6_000_000, move || {
        // The oldest goes, so that the next page's version is no more, and a new one comes.
        other.kubectl(&["delete", "configmap", "c00000", "-n", "shop"]).unwrap();
        other.kubectl(&["create", "configmap", "new", "-n", "shop"]).unwrap();
        let revision = other.etcd().revision().unwrap().to_string();
        other.etcd().etcdctl(&["compact", &revision]).unwrap();
    });
    let exported = Lab::new(json!({"kubeconfig": wire.kubeconfig, "namespace": "shop"})).await.export().await;
    assert_eq!(exported.record.status, ComponentStatus::Success, "{:?}", exported.missing());
    let names: Vec<_> = exported.names().into_iter().filter(|name| name.starts_with("ConfigMap ")).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "none is there twice");
    let anew = exported
        .record
        .warnings
        .iter()
        .any(|line| line.starts_with("configmaps in shop: read at resource version"));
    assert!(anew, "{:?}", exported.record.warnings);
    assert!(names.contains(&"ConfigMap new".to_owned()) && !names.contains(&"ConfigMap c00000".to_owned()));
    assert_eq!(names.len(), 4001);
}
