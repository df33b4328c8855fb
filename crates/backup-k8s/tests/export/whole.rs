//! All is there, and comes back by hand.

use std::{collections::BTreeSet, time::Duration};

use backup_core::words::ComponentStatus;
use backup_testkit::servers::{KubernetesCluster, SupabaseLike, poll};
use serde_json::{Value, json};

use crate::lab::{Exported, Lab, name, section, shared, start};

/// What `kubectl get all,secrets,configmaps` has.
const SHORT: &str = "all,secrets,configmaps";

/// Kinds that nothing of the sample is of.
fn more(namespace: &str, port: u16) -> String {
    include_str!("more.yaml").replace("NAMESPACE", namespace).replace("NODEPORT", &port.to_string())
}

/// A whole application, after its controllers did their work.
fn deploy(cluster: &KubernetesCluster, namespace: &str, port: u16) {
    let sample = SupabaseLike { namespace: namespace.to_owned() };
    sample.deploy(cluster).unwrap();
    cluster.apply(include_str!("gadgets.yaml")).unwrap();
    cluster
        .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/gadgets.example.com"])
        .unwrap();
    cluster.apply(&more(namespace, port)).unwrap();
    settled(cluster, namespace);
}

/// Waits until controllers have made what they make.
fn settled(cluster: &KubernetesCluster, namespace: &str) {
    let phase = |kind: &str, name: &str| {
        cluster
            .kubectl(&["get", kind, name, "-n", namespace, "-o", "jsonpath={.status.phase}"])
            .unwrap_or_default()
    };
    let count =
        |what: &str| cluster.kubectl(&["get", what, "-n", namespace, "-o", "name"]).unwrap().lines().count();
    poll("the controllers", Duration::from_secs(60), || {
        let seen =
            (phase("pvc", "data-storage-0"), phase("pvc", "old"), count("pods"), count("endpointslices"));
        let done = (seen.0.as_str(), seen.1.as_str()) == ("Bound", "Bound") && seen.2 >= 4 && seen.3 >= 3;
        if done { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_kubectl_misses_is_exported() {
    let cluster = shared();
    deploy(&cluster, "whole", 30111);
    cluster.create_namespace("elsewhere").unwrap();
    cluster.kubectl(&["create", "secret", "generic", "not-ours", "-n", "elsewhere"]).unwrap();
    let lab = Lab::new(section(&cluster, "whole")).await;
    let exported = lab.export().await;
    assert_eq!(exported.record.status, ComponentStatus::Success, "{:?}", exported.record.coverage);
    let names: BTreeSet<String> = exported.names().into_iter().collect();
    assert_eq!(
        names.len(),
        exported.objects.iter().map(|o| o["metadata"]["uid"].as_str()).collect::<BTreeSet<_>>().len()
    );
    for wanted in include_str!("expected.txt").lines() {
        assert!(names.contains(wanted), "{wanted} is not among {names:#?}");
    }
    let mut short = cluster.json(&["get", SHORT, "-n", "whole"]).unwrap();
    for object in short["items"].as_array_mut().unwrap() {
        assert!(names.contains(&name(object)), "{object}");
    }
    assert!(!names.contains("Secret not-ours"));
    assert!(!names.iter().any(|name| name.starts_with("Event ") || name.starts_with("Node ")), "{names:?}");
    let in_order = exported.objects.iter().map(|object| object["kind"].as_str().unwrap()).collect::<Vec<_>>();
    let at = |kind: &str| in_order.iter().position(|own| *own == kind).unwrap();
    assert!(at("CustomResourceDefinition") < at("Namespace") && at("Namespace") < at("PersistentVolume"));
    assert!(at("PersistentVolume") < at("PersistentVolumeClaim") && at("Secret") < at("StatefulSet"));
    assert_eq!(in_order.last(), Some(&"ValidatingWebhookConfiguration"));
    all_at_one_version(&exported);
}

/// The manifest says what each kind was read at, and the parts are the kinds.
fn all_at_one_version(exported: &Exported) {
    let facts = &exported.record.facts;
    let kinds = facts["kinds"].as_array().unwrap();
    assert!(kinds.len() > 40, "kinds without objects are named as well");
    for kind in kinds {
        assert_eq!(kind["resource_version"], facts["resource_version"], "{kind}");
    }
    let position = exported.record.point.as_ref().unwrap().position.as_ref().unwrap();
    assert_eq!(position.at.to_string(), facts["resource_version"].as_str().unwrap());
    assert!(facts["server"].as_str().unwrap().starts_with("v1."));
    let objects = exported
        .record
        .artifacts
        .iter()
        .find(|artifact| artifact.suffix.as_deref() == Some("objects"))
        .unwrap();
    assert!(objects.part("secrets").is_some() && objects.part("gadgets.example.com").is_some());
    let events = exported.record.coverage.iter().find(|line| line.what == "events").unwrap();
    assert!(!events.missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_brings_all_of_it_into_an_empty_cluster() {
    let cluster = shared();
    deploy(&cluster, "byhand", 30222);
    let first = Lab::new(section(&cluster, "byhand")).await.export().await;
    let count = |kind: &str| first.config.matches(&format!("\nkind: {kind}\n")).count();
    assert_eq!(
        (count("ReplicaSet"), count("EndpointSlice"), count("Pod")),
        (0, 1, 1),
        "only what nobody makes anew"
    );
    let empty = start();
    empty.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &first.crds).unwrap();
    empty
        .kubectl_with_input(&["wait", "--for=condition=Established", "--timeout=60s", "-f", "-"], &first.crds)
        .unwrap();
    let applied = empty.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &first.config).unwrap();
    assert_eq!(applied.lines().count(), first.documents().len(), "{applied}");
    settled(&empty, "byhand");
    let second = Lab::new(section(&empty, "byhand")).await.export().await;
    let sorted = |exported: &Exported| -> BTreeSet<String> {
        exported.documents().into_iter().map(str::to_owned).collect()
    };
    let (before, after) = (sorted(&first), sorted(&second));
    let lost: Vec<_> = before.difference(&after).collect();
    let new: Vec<_> = after.difference(&before).collect();
    assert!(lost.is_empty() && new.is_empty(), "lost: {lost:#?}\nnew: {new:#?}");
    assert_eq!(
        first.crds.lines().skip(1).collect::<Vec<_>>(),
        second.crds.lines().skip(1).collect::<Vec<_>>()
    );
}

/// Texts that mean something else to some YAML parser, bytes that are no text, and all planes of Unicode.
#[tokio::test(flavor = "multi_thread")]
async fn any_text_and_any_bytes_come_back_by_hand() {
    let cluster = shared();
    cluster.create_namespace("texts").unwrap();
    let texts = [
        "yes",
        "NO",
        "on",
        "null",
        "~",
        "1e3",
        "012",
        "0x1F",
        "1_000",
        "2001-01-01",
        "12:30:45",
        ".5",
        "-",
        "- a",
        "a: b",
        "a #b",
        "",
        " ",
        "\n",
        "\n\n",
        "a\n",
        "a\nb",
        "a\nb\n\n",
        " a\nb\n",
        "a \nb",
        "\ta\n\tb\n",
        "a\r\nb\r\n",
        "ü😀\u{2028}\u{FEFF}",
        "{{ .Values.x }}",
        "%YAML 1.1",
        "---\na: b\n---\n",
        "...\n",
        "'\"\\\\",
        "\u{1}",
        "<<",
        "=",
        "!!binary",
        "&a *b",
        "line\n  indented\n\n\n  again\n",
        "|",
        ">-\n",
        "\u{A0}nbsp",
        "e3",
        "y",
        "n",
        "Y",
        "true\n",
    ];
    let data: serde_json::Map<String, Value> =
        texts.iter().enumerate().map(|(number, text)| (format!("t{number}"), json!(text))).collect();
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts", "namespace": "texts",
        "annotations": {"a": "yes", "b": "1e3", "c": "a\nb\n"}, "labels": {"yes": "on", "n": "y", "x": "012"}}, "data": data});
    cluster.apply(&config_map.to_string()).unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    let encoded = openssl_base64(&bytes);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bytes", "namespace": "texts"},
        "data": {"all": encoded, "empty": ""}});
    cluster.apply(&secret.to_string()).unwrap();
    let fragile = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fragile", "namespace": "texts"},
        "data": {"nel": "a\u{85}b"}});
    cluster.kubectl_with_input(&["create", "-f", "-"], &fragile.to_string()).unwrap();
    let exported = Lab::new(section(&cluster, "texts")).await.export().await;
    assert!(exported.record.warnings[0].ends_with("ConfigMap fragile"), "{:?}", exported.record.warnings);
    assert_eq!(exported.object("ConfigMap fragile")["data"], fragile["data"]);
    assert_eq!(exported.object("ConfigMap texts")["data"], config_map["data"]);
    cluster.kubectl(&["delete", "namespace", "texts", "--timeout=60s"]).unwrap();
    cluster.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &exported.config).unwrap();
    let back = cluster.json(&["get", "configmap", "texts", "-n", "texts"]).unwrap();
    assert_eq!(back["data"], config_map["data"]);
    for place in ["labels", "annotations"] {
        for (key, value) in config_map["metadata"][place].as_object().unwrap() {
            assert_eq!(&back["metadata"][place][key], value, "{place} {key}");
        }
    }
    assert_eq!(cluster.json(&["get", "secret", "bytes", "-n", "texts"]).unwrap()["data"], secret["data"]);
}

/// Base64 of any bytes.
fn openssl_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(number >> (18 - 6 * at) & 63) as usize]);
            text.push(if at <= three.len() { digit } else { '=' });
        }
    }
    text
}
