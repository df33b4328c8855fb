//! Files back into real pods, volume claims and nodes. Needs root.

mod files_support;

use std::{sync::Arc, time::Duration};

use backup_testkit::servers::{FastApi, Image, KubernetesCluster, poll};
use files_support::{Bench, EVERYTHING, claim, file_steps, pod, sh, shared, start};
use serde_json::{Value, json};

/// Names, modes, owners, link texts, times and digests of all below a folder.
fn contents(cluster: &KubernetesCluster, namespace: &str, pod: &str, folder: &str) -> String {
    let list = "cd \"$0\" && find . ! -name '.ha-backup-*' -exec stat -c '%A %u:%g %N' {} + | sort; \
                find . -type f -exec stat -c '%Y %n' {} + | sort; find . -type f -exec sha256sum {} + | sort";
    cluster.exec(namespace, pod, &["sh", "-c", list, folder]).unwrap()
}

fn set(namespace: &str, replicas: u32) -> String {
    let container = json!({"name": "main", "image": Image::Debian.reference()});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "set", "namespace": namespace},
        "spec": {
            "replicas": replicas, "serviceName": "set", "selector": {"matchLabels": {"app": "set"}},
            "podManagementPolicy": "Parallel",
            "template": {
                "metadata": {"labels": {"app": "set"}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_namespace_comes_back_with_the_files_of_every_replica() {
    let mut cluster = start(1);
    let app = FastApi { volumes: true, ..FastApi::default() };
    app.deploy(&mut cluster).unwrap();
    let state = json!({"state": {"path": "/app", "include": ["*.pkl", "*.json", "*.state"]}});
    let bench = Bench::new(&cluster, "fastapi", state).await;
    bench.backup().await.whole();
    let before: Vec<Value> = (0..3).map(|i| app.state(&cluster, i).unwrap()).collect();
    // Digests of all but what Python makes for itself.
    let digests = |cluster: &KubernetesCluster, i| {
        let contents = app.contents(cluster, i).unwrap();
        let lines = contents.lines().filter(|line| line.contains("  ./") && !line.contains("pycache"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let files: Vec<_> = (0..3).map(|i| digests(&cluster, i)).collect();
    assert_ne!(files[1], files[2]);
    cluster.kubectl(&["delete", "namespace", "fastapi", "--timeout=120s"]).unwrap();
    for i in 0..3 {
        let volume = cluster.scratch().join(format!("volumes/fastapi-data-{i}"));
        std::fs::remove_dir_all(&volume).unwrap();
        std::fs::create_dir(&volume).unwrap();
    }
    let plan = bench.plan(json!({})).await;
    let steps = file_steps(&plan);
    for i in 0..3 {
        let volume = format!("Volumes app-{i} -> app-{i}: / of volume claim fastapi/data-app-{i}");
        let live = format!("Live app-{i} -> app-{i}: /app in pod fastapi/app-{i}");
        assert!(steps.contains(&volume) && steps.contains(&live), "{steps:#?}");
    }
    let notes = &plan.components[0].plan.notes;
    assert!(notes.iter().any(|note| note.contains("must read them again")), "{notes:#?}");
    let outcome = bench.engine.restore(&bench.cx, &plan).await.unwrap();
    assert!(outcome.is_done(), "{outcome:#?}");
    app.wait_ready(&cluster).unwrap();
    for i in 0..3 {
        assert_eq!(app.reload(&cluster, i).unwrap(), before[i], "replica {i}");
        assert_eq!(digests(&cluster, i), files[i], "replica {i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_into_every_kind_of_container_and_what_was_there_is_kept_aside() {
    let cluster = shared();
    cluster.create_namespace("back").unwrap();
    let shares = json!({
        "containers": [
            {"name": "main", "image": Image::Distroless.reference(), "volumeMounts": [{"name": "t", "mountPath": "/t"}]},
            {"name": "writer", "image": Image::Debian.reference(), "volumeMounts": [{"name": "t", "mountPath": "/t"}]},
        ],
        "volumes": [{"name": "t", "emptyDir": {}}],
    });
    let pods = [
        ("debian", Image::Debian, json!({})),
        ("busybox", Image::Busybox, json!({})),
        ("no-tar", Image::NoTar, json!({})),
        ("distroless", Image::Distroless, shares),
    ];
    for (name, image, more) in &pods {
        cluster.apply(&pod("back", name, *image, more.clone())).unwrap();
        cluster.wait_pods("back", &format!("app={name}"), 1).unwrap();
    }
    let run = |pod: &str, script: &str| {
        let container = if pod == "distroless" { "writer" } else { "main" };
        cluster.kubectl(&["exec", "-n", "back", pod, "-c", container, "--", "sh", "-c", script]).unwrap()
    };
    let list = |pod: &str| {
        run(
            pod,
            "cd /t && find . ! -name . -name '.ha-backup-*' -prune -o -exec stat -c '%A %u:%g %N' {} + | sort; \
             find . -name '.ha-backup-*' -prune -o -type f -exec stat -c '%Y %n' {} + | sort; \
             find . -name '.ha-backup-*' -prune -o -type f -exec sha256sum {} + | sort",
        )
    };
    let mut before = Vec::new();
    for (name, ..) in &pods {
        assert_eq!(run(name, EVERYTHING), "made\n");
        if *name != "no-tar" {
            run(name, "ln /t/a.json /t/hard.json");
        }
        run(
            name,
            "head -c 12000000 /dev/urandom >/t/large.pkl; touch -d '2003-02-03 04:05:06' /t/sub /t/sub/deep",
        );
        before.push(list(name));
    }
    let bench = Bench::new(&cluster, "back", json!({"state": {"path": "/t"}})).await;
    bench.backup().await.whole();
    let harm = "cd /t; rm -r sub large.pkl out.json; echo changed >empty.state; echo mine >mine.json; rm a.json hard.json; mkdir a.json";
    for (name, ..) in &pods {
        run(name, &harm.replace("hard.json;", if *name == "no-tar" { ";" } else { "hard.json;" }));
    }

    // What exists stays, unless asked otherwise.
    let outcome = bench.restore(json!({"include": ["files"], "files": "skip"})).await.unwrap();
    assert!(outcome.is_done());
    for (name, ..) in &pods {
        let said = run(
            name,
            "cd /t; cat empty.state mine.json; ls -d a.json; wc -c <large.pkl; readlink sub/link.json; readlink out.json; ls -A | grep ha-backup || echo none",
        );
        assert_eq!(said, "changed\nmine\na.json\n12000000\na.json\n../../etc/passwd\nnone\n", "{name}");
    }

    let outcome = bench.restore(json!({"include": ["files"], "files": "update"})).await.unwrap();
    assert!(outcome.is_done());
    for ((name, ..), before) in pods.iter().zip(before) {
        let aside = run(
            name,
            "cd /t; rm mine.json; cd .ha-backup-before-*; cat empty.state; ls -d a.json; cd ..; rm -r .ha-backup-before-*",
        );
        assert_eq!(aside, "changed\na.json\n", "{name}");
        // GNU's and busybox's times of folders are whole; the top folder's has changed.
        let after = list(name);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&after), lines(&before), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_copy_get_the_files_of_their_number() {
    let cluster = shared();
    cluster.create_namespace("first").unwrap();
    cluster.apply(&set("first", 3)).unwrap();
    cluster.wait_pods("first", "app=set", 3).unwrap();
    for i in 0..3 {
        sh(&cluster, "first", &format!("set-{i}"), &format!("mkdir /app; echo replica {i} >/app/own.json"));
    }
    let bench = Bench::new(&cluster, "first", json!({"state": {}})).await;
    bench.backup().await.whole();
    let options = json!({"namespace": "first:second"});
    let plan = bench.plan(options).await;
    assert!(
        file_steps(&plan).contains(&"Live set-2 -> set-2: /app in pod second/set-2".to_owned()),
        "{:#?}",
        file_steps(&plan)
    );
    let outcome = bench.engine.restore(&bench.cx, &plan).await.unwrap();
    assert!(outcome.is_done(), "{outcome:#?}");
    for i in 0..3 {
        assert_eq!(
            sh(&cluster, "second", &format!("set-{i}"), "cat /app/own.json"),
            format!("replica {i}\n")
        );
        assert_eq!(sh(&cluster, "first", &format!("set-{i}"), "cat /app/own.json"), format!("replica {i}\n"));
    }

    // Fewer replicas than then: what has no place is said.
    cluster.kubectl(&["scale", "statefulset/set", "-n", "first", "--replicas=2"]).unwrap();
    poll("the third to go", Duration::from_secs(60), || {
        let pods =
            cluster.kubectl(&["get", "pods", "-n", "first", "-o", "name"]).map_err(|e| e.to_string())?;
        if pods.contains("set-2") { Err(pods) } else { Ok(()) }
    })
    .unwrap();
    let plan = bench.plan(json!({"include": ["files"]})).await;
    assert_eq!(file_steps(&plan).len(), 2, "{:#?}", file_steps(&plan));
    let notes = &plan.components[0].plan.notes;
    assert!(notes.iter().any(|note| note.contains("set-2") && note.contains("goes nowhere")), "{notes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_folders_of_nodes_are_filled_by_helpers() {
    let cluster = shared();
    cluster.create_namespace("volumes").unwrap();
    cluster.apply(&claim(&cluster, "volumes", "data", "ReadWriteOnce")).unwrap();
    let volume = cluster.scratch().join("claims/volumes-data");
    std::fs::create_dir_all(volume.join("avatars/old")).unwrap();
    std::fs::write(volume.join("avatars/a.png"), "picture").unwrap();
    std::fs::write(volume.join("avatars/old/b.png"), "old picture").unwrap();
    let attribute = |args: &[&str]| {
        let mut command = std::process::Command::new(args[0]);
        command.args(&args[1..]).arg(volume.join("avatars/a.png"));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    attribute(&["setfattr", "-n", "user.supabase.content-type", "-v", "image/png"]);
    let bench =
        Bench::new(&cluster, "volumes", json!({"storage": {"claim": "data", "path": "/avatars"}})).await;
    bench.backup().await.whole();
    std::fs::write(volume.join("avatars/a.png"), "spoilt").unwrap();
    std::fs::write(volume.join("avatars/new.png"), "new").unwrap();
    std::fs::remove_dir_all(volume.join("avatars/old")).unwrap();
    // A link where a folder was leads nowhere.
    let elsewhere = cluster.scratch().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, volume.join("avatars/old")).unwrap();
    let outcome = bench.restore(json!({"include": ["files"], "files": "replace"})).await.unwrap();
    assert!(outcome.is_done(), "{outcome:#?}");
    assert_eq!(std::fs::read_to_string(volume.join("avatars/a.png")).unwrap(), "picture");
    assert_eq!(std::fs::read_to_string(volume.join("avatars/old/b.png")).unwrap(), "old picture");
    assert!(attribute(&["getfattr", "-d"]).contains("user.supabase.content-type=\"image/png\""));
    assert!(!volume.join("avatars/new.png").exists());
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    let aside = std::fs::read_dir(volume.join("avatars")).unwrap().map(|entry| entry.unwrap().path());
    let aside =
        aside.filter(|path| path.to_string_lossy().contains(".ha-backup-before-")).collect::<Vec<_>>();
    assert_eq!(std::fs::read_to_string(aside[0].join("new.png")).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(aside[0].join("a.png")).unwrap(), "spoilt");
    // The folder itself turned into a link: refused.
    std::fs::rename(volume.join("avatars"), volume.join("real")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, volume.join("avatars")).unwrap();
    let error = bench.restore(json!({"include": ["files"], "files": "update"})).await.unwrap_err();
    assert!(error.chain().contains("symbolic link"), "{}", error.chain());
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);

    let folder = cluster.scratch().join("node-folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a"), "a").unwrap();
    let section = json!({"storage": {"node": cluster.node_names()[0], "path": folder}});
    let bench = Bench::new(&cluster, "volumes", section).await;
    bench.backup().await.whole();
    std::fs::remove_file(folder.join("a")).unwrap();
    assert!(bench.restore(json!({"include": ["files"]})).await.unwrap().is_done());
    assert_eq!(std::fs::read_to_string(folder.join("a")).unwrap(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_other_than_it_was_sent_never_reaches_its_place() {
    let cluster = shared();
    cluster.create_namespace("spoils").unwrap();
    cluster.apply(&pod("spoils", "spoils", Image::Debian, json!({}))).unwrap();
    cluster.wait_pods("spoils", "app=spoils", 1).unwrap();
    sh(
        &cluster,
        "spoils",
        "spoils",
        "mkdir /app; head -c 3000000 /dev/urandom >/app/a.pkl; echo b >/app/b.json",
    );
    let bench = Bench::new(&cluster, "spoils", json!({"state": {}})).await;
    bench.backup().await.whole();
    let lie = "rm /app/a.pkl; echo kept >/app/b.json; mv /usr/bin/tar /usr/bin/tar.real; printf '%s\\n' '#!/bin/sh' \
               'case $1 in --version) exec tar.real --version;; esac' 'tar.real \"$@\" && truncate -s 1000000 a.pkl; exit 0' \
               >/usr/bin/tar; chmod 755 /usr/bin/tar";
    sh(&cluster, "spoils", "spoils", lie);
    let error = bench.restore(json!({"include": ["files"], "files": "update"})).await.unwrap_err();
    assert!(error.chain().contains("1 files arrived other than they were sent: a.pkl"), "{}", error.chain());
    assert_eq!(sh(&cluster, "spoils", "spoils", "cd /app; ls; cat b.json"), "b.json\nkept\n");
    // When it is mended, the restore is done.
    sh(&cluster, "spoils", "spoils", "mv /usr/bin/tar.real /usr/bin/tar");
    assert!(bench.restore(json!({"include": ["files"], "files": "update"})).await.unwrap().is_done());
    assert_eq!(
        sh(&cluster, "spoils", "spoils", "cd /app; wc -c <a.pkl; cat b.json .ha-backup-before-*/b.json"),
        "3000000\nb\nkept\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_dies_while_files_are_sent_costs_nothing_but_time() {
    let mut cluster = start(1);
    cluster.create_namespace("api").unwrap();
    cluster.apply(&pod("api", "large", Image::Debian, json!({}))).unwrap();
    cluster.wait_pods("api", "app=large", 1).unwrap();
    sh(
        &cluster,
        "api",
        "large",
        "mkdir /app; head -c 200000000 /dev/zero | tr '\\0' x >/app/large.json; echo small >/app/small.json",
    );
    let before = sh(&cluster, "api", "large", "sha256sum /app/*.json");
    let bench = Bench::new(&cluster, "api", json!({"state": {}})).await;
    bench.backup().await.whole();
    sh(&cluster, "api", "large", "rm /app/*");
    let dies = tokio::task::spawn_blocking(move || {
        let look = "ls -d /app/.ha-backup-restore-*/large.json";
        poll("the file to come", Duration::from_secs(120), || {
            cluster.exec("api", "large", &["sh", "-c", look]).map_err(|e| e.to_string())
        })
        .unwrap();
        cluster.kill_api_server();
        cluster.start_api_server().unwrap();
        cluster
    });
    let outcome = bench.restore(json!({"include": ["files"]})).await.unwrap();
    let cluster = dies.await.unwrap();
    assert!(outcome.is_done());
    assert_eq!(sh(&cluster, "api", "large", "sha256sum /app/*.json"), before);
    assert_eq!(sh(&cluster, "api", "large", "ls -A /app"), "large.json\nsmall.json\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_come_back() {
    let cluster: Arc<KubernetesCluster> = shared();
    cluster.create_namespace("small").unwrap();
    cluster.apply(&pod("small", "small", Image::Debian, json!({}))).unwrap();
    cluster.wait_pods("small", "app=small", 1).unwrap();
    let make = "mkdir -p /app && cd /app && for d in $(seq 0 19); do mkdir d$d; done; \
                i=0; while [ $i -lt 20000 ]; do printf '%0500d' $i >d$((i % 20))/f$i.json; i=$((i + 1)); done; echo made";
    assert_eq!(sh(&cluster, "small", "small", make), "made\n");
    let before = contents(&cluster, "small", "small", "/app");
    let bench = Bench::new(&cluster, "small", json!({"state": {}})).await;
    bench.backup().await.whole();
    // Whole folders are gone, and others half empty.
    sh(&cluster, "small", "small", "cd /app; rm -r d0 d1 d2 d3 d4; rm d5/f*5.json d6/f1*");
    assert!(bench.restore(json!({"include": ["files"]})).await.unwrap().is_done());
    let after = contents(&cluster, "small", "small", "/app");
    assert!(before == after, "{} lines then, {} now", before.lines().count(), after.lines().count());
}
