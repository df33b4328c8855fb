//! Files out of real pods, volume claims and nodes. Needs root.

mod files_support;

use std::{sync::Arc, time::Duration};

use backup_core::{archive::EntryKind, words::ComponentStatus};
use backup_testkit::servers::{FastApi, Image, KubernetesCluster, poll};
use files_support::{Bench, EVERYTHING, claim, eventually, everything, pod, sh, shared, start};
use serde_json::{Value, json};

/// A cluster with a namespace of these pods, which run.
fn run(namespace: &str, pods: &[(&str, Image, Value)]) -> Arc<KubernetesCluster> {
    let cluster = shared();
    cluster.create_namespace(namespace).unwrap();
    for (name, image, more) in pods {
        cluster.apply(&pod(namespace, name, *image, more.clone())).unwrap();
        cluster.wait_pods(namespace, &format!("app={name}"), 1).unwrap();
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn every_image_gives_its_files_in_the_way_that_it_can() {
    let cluster = shared();
    let folder = cluster.scratch().join("distroless");
    std::fs::create_dir_all(&folder).unwrap();
    let host = json!({
        "containers": [{"volumeMounts": [{"name": "t", "mountPath": "/t"}]}],
        "volumes": [{"name": "t", "hostPath": {"path": folder}}],
    });
    run(
        "images",
        &[
            ("debian", Image::Debian, json!({})),
            ("busybox", Image::Busybox, json!({})),
            ("no-tar", Image::NoTar, json!({})),
            ("distroless", Image::Distroless, host.clone()),
            // It shares the folder of the one that can't make files.
            ("writer", Image::Debian, host),
        ],
    );
    for pod in ["debian", "busybox", "no-tar", "writer"] {
        assert_eq!(sh(&cluster, "images", pod, EVERYTHING), "made\n");
    }
    for pod in ["debian", "writer"] {
        sh(
            &cluster,
            "images",
            pod,
            "setfattr -n user.supabase.cache-control -v max-age=3600 /t/a.json; ln /t/a.json /t/hard.json",
        );
    }
    let bench = Bench::new(&cluster, "images", json!({"state": {"path": "/t"}})).await;
    let session = bench.backup().await.whole();
    let members = session.members("state");
    for (pod, method, attributes) in [
        ("debian", "tar", true),
        ("busybox", "plain tar", false),
        ("no-tar", "cat", false),
        ("distroless", "tar in an ephemeral container", true),
    ] {
        let facts = session.pod(pod);
        assert_eq!(facts["method"], method);
        let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
        names.retain(|name| name.starts_with(&format!("{pod}/")) && !name.ends_with("/hard.json"));
        assert_eq!(names, everything(pod), "{pod}");
        let member = |name: &str| &members[&format!("{pod}/t/{name}")];
        // Of two names of one file, either may come first.
        let file = if member("a.json").entry.kind == EntryKind::File { "a.json" } else { "hard.json" };
        let entry = &member(file).entry;
        assert!(member(file).is_file_of(b"hello"), "{pod}");
        assert_eq!((entry.mode, entry.uid, entry.gid), (0o4751, 1000, 1001), "{pod}");
        assert_eq!(entry.modified.seconds, 981_173_106, "{pod}");
        let has: Vec<_> = entry.attributes.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let expected = [(&b"user.supabase.cache-control"[..], &b"max-age=3600"[..])];
        assert_eq!(has, if attributes { &expected[..] } else { &[] }, "{pod}");
        assert!(member("empty.state").is_file_of(b""));
        assert!(member("line\nend.json").is_file_of(b"x"));
        assert_eq!(member("out.json").entry.link, b"../../etc/passwd");
        assert_eq!(member("dangling.json").entry.link, b"odd\n");
        assert_eq!(member("sub/deep").entry.mode, 0o700);
        assert_eq!(member("sub/deep").entry.modified.seconds, 1_012_709_106);
        let said =
            session.record.coverage.iter().any(|c| c.what.contains("attributes") && c.what.ends_with(pod));
        assert_eq!(said, !attributes, "{pod}: what can't be kept is said");
    }
    assert_eq!(session.pod("debian")["files"], 7);
    assert_eq!(session.pod("debian")["links"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_their_volumes_are_kept_apart() {
    let mut cluster = start(1);
    let app = FastApi { volumes: true, ..FastApi::default() };
    app.deploy(&mut cluster).unwrap();
    let state = json!({"state": {"path": "/app", "selector": FastApi::SELECTOR}});
    let bench = Bench::new(&cluster, "fastapi", state).await;
    let session = bench.backup().await.whole();
    let members = session.members("state");
    for i in 0..3 {
        for file in ["models/model.pkl", "settings.json", "data/session.state"] {
            let path = format!("app-{i}/app/{file}");
            let digest = sh(&cluster, "fastapi", &format!("app-{i}"), &format!("sha256sum </app/{file}"));
            let member = members.get(&path).unwrap_or_else(|| panic!("no {path}"));
            assert_eq!(sha256(&member.content), digest.split(' ').next().unwrap(), "{path}");
        }
        let facts = session.pod(&format!("app-{i}"));
        assert_eq!(facts["owner"], json!({"kind": "StatefulSet", "name": "app"}));
        assert_eq!(facts["ordinal"], i);
        let roots = facts["roots"].as_array().unwrap();
        assert_eq!((&roots[0]["path"], &roots[0]["on"]), (&json!("/app"), &json!("container")));
        assert_eq!(roots[1]["claim"], format!("data-app-{i}"));
        assert_eq!(roots[1]["files"], 1);
    }
    assert!(!members.keys().any(|name| name.ends_with(".py")), "{:?}", members.keys());
    assert_ne!(members["app-0/app/settings.json"].content, members["app-1/app/settings.json"].content);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_come_whole() {
    let cluster = run("many", &[("many", Image::Debian, json!({}))]);
    let make = "mkdir -p /app && cd /app && for d in $(seq 0 19); do mkdir d$d; done; \
                i=0; while [ $i -lt 20000 ]; do printf '%0500d' $i >d$((i % 20))/f$i.json; i=$((i + 1)); done; echo made";
    assert_eq!(sh(&cluster, "many", "many", make), "made\n");
    let bench = Bench::new(&cluster, "many", json!({"state": {}})).await;
    let session = bench.backup().await.whole();
    assert_eq!(session.pod("many")["files"], 20_000);
    assert_eq!(session.pod("many")["bytes"], 10_000_000);
    let members = session.members("state");
    for i in [0, 7, 19_999] {
        let expected = format!("{i:0500}");
        assert!(members[&format!("many/app/d{}/f{i}.json", i % 20)].is_file_of(expected.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_holds_still_is_kept_and_named() {
    let write = "mkdir -p /app; echo calm >/app/calm.json; while :; do printf x >>/app/hot.json; done";
    let writes = json!({"containers": [{"command": ["sh", "-c", write]}]});
    let cluster = run("hot", &[("hot", Image::Debian, writes), ("calm", Image::Debian, json!({}))]);
    sh(&cluster, "hot", "calm", "mkdir /app; echo calm >/app/calm.json");
    let bench = Bench::new(&cluster, "hot", json!({"state": {}})).await;
    let session = bench.backup().await.whole();
    let warning = session.record.warnings.iter().find(|warning| warning.contains("pod hot/hot"));
    let warning = warning.unwrap_or_else(|| panic!("{:?}", session.record.warnings));
    assert!(warning.contains("app/hot.json") && !warning.contains("calm.json"), "{warning}");
    let members = session.members("state");
    assert!(members.contains_key("hot/app/hot.json"));
    for pod in ["hot", "calm"] {
        assert!(members[&format!("{pod}/app/calm.json")].is_file_of(b"calm\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_that_lies_about_its_end_is_found_out_and_the_other_pods_are_kept() {
    let cluster = run("lies", &[("liar", Image::Debian, json!({})), ("honest", Image::Debian, json!({}))]);
    for pod in ["liar", "honest"] {
        sh(
            &cluster,
            "lies",
            pod,
            "mkdir /app; for i in 1 2 3 4 5 6 7 8 9; do printf '%05000d' $i >/app/$i.json; done",
        );
    }
    // Half of the bytes, then success.
    let lie = "mv /usr/bin/tar /usr/bin/tar.real; printf '%s\\n' '#!/bin/sh' 'case $1 in --version) exec tar.real --version;; esac' \
               'tar.real \"$@\" | head -c 20000' 'exit 0' >/usr/bin/tar; chmod 755 /usr/bin/tar; tar --version | head -n 1";
    assert!(sh(&cluster, "lies", "liar", lie).contains("GNU tar"));
    let bench = Bench::new(&cluster, "lies", json!({"state": {}})).await;
    let session = bench.backup().await;
    assert_eq!(session.record.status, ComponentStatus::Partial);
    let missing = session.missing();
    assert!(missing.contains("pod lies/liar") && missing.contains("exited with 0"), "{missing}");
    let members = session.members("state");
    assert!(members.keys().all(|name| name.starts_with("honest/")), "{:?}", members.keys());
    assert_eq!(members.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_missing_and_named() {
    let volume = json!({
        "initContainers": [{
            "name": "first", "image": Image::Debian.reference(), "volumeMounts": [{"name": "v", "mountPath": "/app"}],
            "command": ["sh", "-c", "cd /app; echo a >open.json; echo b >locked.json; chmod 600 locked.json; mkdir -m 700 locked; echo c >locked/c.json"],
        }],
        "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/app"}], "securityContext": {"runAsUser": 1000}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    });
    let cluster =
        run("rights", &[("user", Image::Debian, volume.clone()), ("busybox", Image::Busybox, volume)]);
    let bench = Bench::new(&cluster, "rights", json!({"state": {}})).await;
    let session = bench.backup().await;
    assert_eq!(session.record.status, ComponentStatus::Partial);
    let missing = session.missing();
    for pod in ["user", "busybox"] {
        assert!(
            missing.contains(&format!("pod rights/{pod}: app/locked.json: could not be read")),
            "{missing}"
        );
        assert!(missing.contains(&format!("pod rights/{pod}: folders: find: ")), "{missing}");
    }
    let members = session.members("state");
    assert!(members["user/app/open.json"].is_file_of(b"a\n"));
    assert!(!members.keys().any(|name| name.contains("locked.json")), "{:?}", members.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_read_by_a_helper_where_it_is_attached_and_the_helper_goes() {
    let cluster = start(2);
    cluster.create_namespace("claims").unwrap();
    let node = cluster.node_names()[1].clone();
    cluster.apply(&claim(&cluster, "claims", "data", "ReadWriteOnce")).unwrap();
    let user = json!({
        "nodeName": node,
        "containers": [{"volumeMounts": [{"name": "t", "mountPath": "/t"}]}],
        "volumes": [{"name": "t", "persistentVolumeClaim": {"claimName": "data"}}],
    });
    cluster.apply(&pod("claims", "user", Image::Busybox, user)).unwrap();
    cluster.wait_pods("claims", "app=user", 1).unwrap();
    sh(&cluster, "claims", "user", EVERYTHING);
    let volume = cluster.scratch().join("claims/claims-data");
    let set = std::process::Command::new("setfattr")
        .args(["-n", "user.supabase.content-type", "-v", "image/png"])
        .arg(volume.join("other.txt"))
        .status()
        .unwrap();
    assert!(set.success());
    leave_helpers(&cluster, "claims");
    let storage =
        json!({"storage": {"claim": "data", "exclude": ["node_modules"]}, "exclude": {"kinds": ["Pod"]}});
    let bench = Bench::new(&cluster, "claims", storage).await;
    let session = bench.backup().await.whole();
    let members = session.members("storage");
    assert!(members["data/other.txt"].is_file_of(b"no"));
    assert_eq!(members["data/other.txt"].entry.attributes[0].1, b"image/png");
    assert!(members.contains_key("data/empty") && !members.contains_key("data/node_modules"));
    assert_eq!(members["data/a.json"].entry.mode, 0o4751);
    let facts = &session.record.facts["storage"];
    assert_eq!(facts["method"], "tar in a helper pod");
    assert_eq!(facts["from"], json!({"kind": "claim", "claim": "data"}));
    let events =
        cluster.kubectl(&["get", "events", "-n", "claims", "--field-selector", "reason=Scheduled"]).unwrap();
    let helper = events
        .lines()
        .find(|line| {
            line.contains("ha-backup-helper-") && !line.contains("-dead") && !line.contains("-elsewhere")
        })
        .unwrap_or_else(|| panic!("{events}"));
    assert!(helper.contains(&node), "{helper}");
    eventually("helpers of this and of dead runs to be gone", || {
        let pods =
            cluster.kubectl(&["get", "pods", "-n", "claims", "-o", "name"]).map_err(|e| e.to_string())?;
        let mut left: Vec<&str> = pods.lines().filter(|pod| pod.contains("helper")).collect();
        left.sort_unstable();
        if left == ["pod/ha-backup-helper-elsewhere"] { Ok(()) } else { Err(pods) }
    });
}

/// Helpers of a run that died here, and of one that may live elsewhere.
fn leave_helpers(cluster: &KubernetesCluster, namespace: &str) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap().trim().to_owned();
    let here = json!({
        "host": read("/proc/sys/kernel/hostname"),
        "boot_id": read("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": std::fs::read_link("/proc/self/ns/pid").unwrap(),
        "pid": u32::MAX,
        "start": 1,
    });
    let mut elsewhere = here.clone();
    elsewhere["host"] = json!("another");
    for (name, owner) in [("ha-backup-helper-dead", here), ("ha-backup-helper-elsewhere", elsewhere)] {
        let mut left: Value =
            serde_json::from_str(pod(namespace, name, Image::Busybox, json!({})).trim_end_matches("\n---\n"))
                .unwrap();
        left["metadata"]["labels"]["ha-backup/helper"] = json!("files");
        left["metadata"]["annotations"] = json!({"ha-backup/owner": owner.to_string()});
        cluster.apply(&left.to_string()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_node_is_read_by_a_helper() {
    let cluster = shared();
    cluster.create_namespace("nodes").unwrap();
    let folder = cluster.scratch().join("on-node");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("sub/file"), "on the node").unwrap();
    std::os::unix::fs::symlink("/etc", folder.join("etc")).unwrap();
    let section =
        |path: &std::path::Path| json!({"storage": {"node": cluster.node_names()[0], "path": path}});
    let bench = Bench::new(&cluster, "nodes", section(&folder)).await;
    let session = bench.backup().await.whole();
    let members = session.members("storage");
    assert!(members["on-node/sub/file"].is_file_of(b"on the node"));
    assert_eq!(members["on-node/etc"].entry.link, b"/etc");
    assert!(!members.keys().any(|name| name.starts_with("on-node/etc/")));

    let bench = Bench::new(&cluster, "nodes", section(&folder.join("nowhere"))).await;
    let session = bench.backup().await;
    assert!(session.missing().contains("nowhere"), "{}", session.missing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_pod_without_gnu_tar_keeps_its_attributes() {
    let cluster = run("whole", &[("app", Image::Busybox, json!({}))]);
    sh(&cluster, "whole", "app", EVERYTHING);
    let storage = json!({"storage": {"path": "/t", "selector": "app=app", "exclude": ["*.state"]}});
    let bench = Bench::new(&cluster, "whole", storage).await;
    let session = bench.backup().await.whole();
    let members = session.members("storage");
    assert_eq!(session.record.facts["storage"]["method"], "tar in an ephemeral container");
    assert_eq!(session.record.facts["storage"]["attributes"], true);
    assert!(members["t/other.txt"].is_file_of(b"no") && members.contains_key("t/empty"));
    assert!(!members.contains_key("t/empty.state"));
    // GNU tar takes the plain artifact as it is.
    let folder = tempfile::tempdir().unwrap();
    let tar = std::process::Command::new("tar")
        .args(["--xattrs", "-xpf"])
        .arg(session.file("storage"))
        .arg("-C")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(tar.success());
    assert_eq!(std::fs::read(folder.path().join("t/a.json")).unwrap(), b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_without_the_folder_or_without_life_are_told_apart() {
    let cluster = run("few", &[("none", Image::Debian, json!({})), ("some", Image::Debian, json!({}))]);
    sh(&cluster, "few", "some", "mkdir /app; echo a >/app/a.json");
    let crash = json!({"containers": [{"command": ["sh", "-c", "exit 1"]}]});
    cluster.apply(&pod("few", "crashes", Image::Debian, crash)).unwrap();
    let done = json!({"containers": [{"command": ["true"]}], "restartPolicy": "Never"});
    cluster.apply(&pod("few", "done", Image::Debian, done)).unwrap();
    eventually("a pod to end and another to crash", || {
        let pod = |name| cluster.json(&["get", "pod", name, "-n", "few"]).map_err(|e| e.to_string());
        let (crashes, done) = (pod("crashes")?["status"].take(), pod("done")?["status"].take());
        let crashed = crashes["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff";
        if crashed && done["phase"] == "Succeeded" { Ok(()) } else { Err(format!("{crashes} {done}")) }
    });
    let bench = Bench::new(&cluster, "few", json!({"state": {}})).await;
    let session = bench.backup().await;
    let why = |pod: &str| {
        let what = format!("state of pod few/{pod}");
        let said = session.record.coverage.iter().find(|c| c.what == what);
        said.map(|coverage| (coverage.missing, coverage.why.clone())).unwrap_or_default()
    };
    assert_eq!(why("none"), (false, "it has no such folder".to_owned()));
    assert_eq!(why("done"), (false, "it has ended".to_owned()));
    // It runs for a moment now and then.
    let (missing, crashes) = why("crashes");
    assert!(
        missing && (crashes.contains("does not run") || crashes.contains("container not found")),
        "{crashes}"
    );
    assert_eq!(session.members("state").len(), 2);

    let bench = Bench::new(&cluster, "few", json!({"state": {"selector": "app=none"}})).await;
    let session = bench.backup().await;
    assert!(session.missing().contains("there is no folder /app"), "{}", session.missing());
    let bench = Bench::new(&cluster, "few", json!({"state": {"selector": "app=nobody"}})).await;
    assert!(bench.backup().await.missing().contains("no pod with app=nobody"));
}

/// Backs up while something else is done, which begins by waiting for tar.
async fn meanwhile<T: Send + 'static>(
    bench: &Bench,
    other: impl FnOnce() -> T + Send + 'static,
) -> (files_support::Session, T) {
    let other = tokio::task::spawn_blocking(other);
    let session = bench.backup().await;
    (session, other.await.unwrap())
}

/// Polls until tar runs in a pod.
fn tar_runs(kubectl: impl Fn() -> std::process::Command, namespace: &str, name: &str) {
    let look = "for c in /proc/[0-9]*/comm; do read n <$c; [ $n = tar ] && exit 0; done; exit 1";
    poll("tar to run", Duration::from_secs(60), || {
        let found = kubectl().args(["exec", "-n", namespace, name, "--", "sh", "-c", look]).output();
        match found {
            Ok(output) if output.status.success() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
}

const LARGE: &str = "mkdir /app; head -c 400000000 /dev/zero >/app/large.json; echo small >/app/small.json";

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_while_it_is_read_is_missing_and_the_rest_is_kept() {
    let cluster = run("deleted", &[("goes", Image::Debian, json!({})), ("stays", Image::Debian, json!({}))]);
    sh(&cluster, "deleted", "goes", LARGE);
    sh(&cluster, "deleted", "stays", "mkdir /app; echo small >/app/small.json");
    let bench = Bench::new(&cluster, "deleted", json!({"state": {}})).await;
    let (session, ()) = meanwhile(&bench, move || {
        tar_runs(|| cluster.kubectl_command(), "deleted", "goes");
        cluster.kubectl(&["delete", "pod", "goes", "-n", "deleted", "--grace-period=0", "--force"]).unwrap();
    })
    .await;
    assert_eq!(session.record.status, ComponentStatus::Partial);
    let missing = session.missing();
    assert!(missing.contains("state of pod deleted/goes"), "{missing}");
    let members = session.members("state");
    assert!(members["stays/app/small.json"].is_file_of(b"small\n"));
    assert!(members.keys().all(|name| name.starts_with("stays/")), "{:?}", members.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_replaced_while_it_is_read_gives_its_successors_files() {
    let mut cluster = start(1);
    let app = FastApi { replicas: 1, volumes: true, ..FastApi::default() };
    app.deploy(&mut cluster).unwrap();
    sh(&cluster, "fastapi", "app-0", "head -c 400000000 /dev/zero >/app/data/large.state");
    let bench = Bench::new(&cluster, "fastapi", json!({"state": {}})).await;
    let (session, _cluster) = meanwhile(&bench, move || {
        tar_runs(|| cluster.kubectl_command(), "fastapi", "app-0");
        cluster.kubectl(&["delete", "pod", "app-0", "-n", "fastapi", "--grace-period=0", "--force"]).unwrap();
        cluster
    })
    .await;
    let session = session.whole();
    assert!(
        session.record.warnings.iter().any(|w| w.contains("its successor was read")),
        "{:?}",
        session.record.warnings
    );
    assert_eq!(session.members("state")["app-0/app/data/large.state"].entry.size, 400_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_dies_while_files_are_read_costs_nothing_but_time() {
    let mut cluster = start(1);
    cluster.create_namespace("api").unwrap();
    cluster.apply(&pod("api", "large", Image::Debian, json!({}))).unwrap();
    cluster.wait_pods("api", "app=large", 1).unwrap();
    sh(&cluster, "api", "large", LARGE);
    let bench = Bench::new(&cluster, "api", json!({"state": {}})).await;
    let (session, _cluster) = meanwhile(&bench, move || {
        tar_runs(|| cluster.kubectl_command(), "api", "large");
        cluster.kill_api_server();
        cluster.start_api_server().unwrap();
        cluster
    })
    .await;
    let session = session.whole();
    let members = session.members("state");
    assert!(members["large/app/small.json"].is_file_of(b"small\n"));
    assert!(members["large/app/large.json"].content.iter().all(|byte| *byte == 0));
    assert_eq!(members["large/app/large.json"].content.len(), 400_000_000);
}

/// Where the Vault's root key lives in Supabase's own image: a file of the database's pod.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_in_a_pods_file_is_taken_or_missed() {
    let cluster = run("vault", &[("db", Image::Debian, json!({}))]);
    sh(&cluster, "vault", "db", "mkdir /keys; printf key >/keys/pgsodium_root.key; echo more >/keys/other");
    let key = json!({"root_key": {"path": "/keys/pgsodium_root.key", "selector": "app=db"}});
    let bench = Bench::new(&cluster, "vault", key).await;
    let session = bench.backup().await.whole();
    assert_eq!(session.record.facts["root_key"], json!(["/keys/pgsodium_root.key in the artifact `state`"]));
    let members = session.members("state");
    assert!(members["db/keys/pgsodium_root.key"].is_file_of(b"key"));
    assert!(!members.contains_key("db/keys/other"));
    sh(&cluster, "vault", "db", "rm /keys/pgsodium_root.key");
    let session = bench.backup().await;
    assert_eq!(session.record.status, ComponentStatus::Partial);
    assert!(
        session.missing().contains("root key of the Vault: /keys/pgsodium_root.key"),
        "{}",
        session.missing()
    );
}
