//! The harness's Kubernetes with nodes: pods really run. Needs root.

use backup_testkit::servers::{
    FastApi, Image, KubernetesCluster, KubernetesOptions, PatroniPods, Result, SampleData, Sql, SupabaseLike,
    Toolbox, poll,
};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A pod that uses its image's command.
fn pod(name: &str, image: Image) -> String {
    let metadata = json!({"name": name, "namespace": "try", "labels": {"app": "try"}});
    let container = json!({"name": "main", "image": image.reference()});
    let spec = json!({"containers": [container], "terminationGracePeriodSeconds": 1});
    format!("{}\n---\n", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

#[test]
fn pods_run_on_every_image_and_programs_run_in_them() -> Result<()> {
    let mut cluster = KubernetesCluster::start(1, KubernetesOptions::default())?;
    cluster.create_namespace("try")?;
    let all = [
        ("busybox", Image::Busybox),
        ("debian", Image::Debian),
        ("no-tar", Image::NoTar),
        ("distroless", Image::Distroless),
        ("fastapi", Image::FastApi),
    ];
    for (name, image) in all {
        cluster.import_image(image)?;
        cluster.apply(&pod(name, image))?;
    }
    assert_eq!(
        cluster.wait_pods("try", "app=try", 5)?,
        ["busybox", "debian", "distroless", "fastapi", "no-tar"]
    );
    let sh = |pod: &str, script: &str| cluster.exec("try", pod, &["sh", "-c", script]);
    assert_eq!(sh("busybox", "echo $((6 * 7))")?, "42\n");
    let attributes = "cd /root && touch a && setfattr -n user.x -v y a && tar --version && getfattr -d a";
    let debian = sh("debian", attributes)?;
    assert!(debian.contains("GNU tar") && debian.contains("user.x=\"y\""), "{debian}");
    assert!(sh("no-tar", "tar --help || busybox tar --help").is_err());
    assert_eq!(sh("no-tar", "find /etc -name passwd")?, "/etc/passwd\n");
    assert!(sh("no-tar", "sha256sum /etc/passwd && cat /etc/passwd")?.contains("root:x:0"));
    assert!(sh("distroless", "true").is_err());
    Ok(())
}

/// How often the one pod in `try` was started again.
fn restarts(cluster: &KubernetesCluster) -> Result<u64> {
    let pods = cluster.json(&["get", "pods", "-n", "try"])?;
    Ok(pods["items"][0]["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default())
}

#[test]
fn pods_outlive_the_api_server_and_come_back_with_their_node() -> Result<()> {
    let mut cluster = KubernetesCluster::start(2, KubernetesOptions::default())?;
    cluster.create_namespace("try")?;
    cluster.apply(&pod("tools", Image::Debian))?;
    cluster.wait_pods("try", "app=try", 1)?;
    cluster.exec("try", "tools", &["touch", "/root/before"])?;
    cluster.kill_api_server();
    cluster.start_api_server()?;
    assert_eq!(cluster.exec("try", "tools", &["ls", "/root"])?, "before\n");
    let place = cluster.json(&["get", "pod", "tools", "-n", "try"])?["spec"]["nodeName"].clone();
    let node = cluster.node_names().iter().position(|n| place == *n).expect("it runs on a node");
    assert_eq!(restarts(&cluster)?, 0);
    cluster.kill_node(node);
    assert!(cluster.exec("try", "tools", &["true"]).is_err(), "its node is dead");
    cluster.start_node(node)?;
    poll("the pod to be started again", Duration::from_secs(90), || match restarts(&cluster) {
        Ok(1) => cluster.exec("try", "tools", &["true"]).map(drop).map_err(|e| e.to_string()),
        other => Err(format!("restarts: {other:?}")),
    })
}

/// Started again, in a process of its own, by the test below: only then is it told to hold.
#[test]
#[ignore = "a helper: holds a cluster until it is killed"]
fn hold_a_cluster() -> Result<()> {
    let cluster = KubernetesCluster::start(1, KubernetesOptions::default())?;
    cluster.create_namespace("try")?;
    cluster.apply(&pod("tools", Image::Debian))?;
    cluster.wait_pods("try", "app=try", 1)?;
    println!("\nholding {}", cluster.scratch().display());
    println!("held");
    loop {
        std::thread::park();
    }
}

/// What would stay behind is looked for in the kernel's own lists, not asked of the harness.
#[test]
fn nothing_stays_when_the_owner_is_killed() -> Result<()> {
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "hold_a_cluster", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(owner.stdout.take().expect("it is piped"));
    let lines = output.lines().map_while(|l| l.ok()).take_while(|l| l != "held");
    let folder =
        lines.filter_map(|l| l.strip_prefix("holding ").map(PathBuf::from)).last().expect("it holds one");
    let name =
        folder.file_name().and_then(|n| n.to_str()).expect("the scratch folder's name is text").to_owned();
    let before = left(&name);
    assert!(before.processes >= 2 && before.mounts > 10 && before.groups > 3, "a pod runs: {before:?}");
    owner.kill()?;
    owner.wait()?;
    poll("the guard to clean up", Duration::from_secs(30), || match (folder.exists(), left(&name)) {
        (false, Left { processes: 0, mounts: 0, groups: 0 }) => Ok(()),
        (there, left) => Err(format!("folder is there: {there}, {left:?}")),
    })
}

/// What the kernel knows that has a scratch folder's name in it.
#[derive(Debug)]
struct Left {
    /// Processes in the cluster's control groups.
    processes: usize,
    /// Mounts, in any process's view.
    mounts: usize,
    groups: usize,
}

fn left(name: &str) -> Left {
    let processes = fs::read_dir("/proc").expect("/proc is there").filter_map(|e| e.ok());
    let (mut in_groups, mut mounts) = (0, 0);
    for process in processes.map(|e| e.path()) {
        let lines = |file: &str| {
            let text = fs::read_to_string(process.join(file)).unwrap_or_default();
            text.lines().filter(|l| l.contains(name)).count()
        };
        in_groups += usize::from(lines("cgroup") > 0);
        mounts += lines("mountinfo");
    }
    let groups =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(|e| e.ok()).map(|e| e.path());
    let has_our_name = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().contains(name));
    let below = groups.flat_map(|g| {
        let inner = fs::read_dir(&g).into_iter().flatten().filter_map(|e| e.ok()).map(|e| e.path());
        inner.chain([g]).collect::<Vec<_>>()
    });
    Left { processes: in_groups, mounts, groups: below.filter(has_our_name).count() }
}

/// A connection that is forwarded to a pod's port arrives at that pod, though all of them are on one host.
fn assert_forwarded_to_its_own(cluster: &KubernetesCluster, pods: &PatroniPods, pod: &str) -> Result<()> {
    let forward = ["port-forward", "-n", &pods.namespace, pod, &format!(":{}", pods.postgres)];
    let mut forward = cluster.kubectl_command().args(forward).stdout(Stdio::piped()).spawn()?;
    // Held open: kubectl says more later.
    let mut output = BufReader::new(forward.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line)?;
    let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let sql = Sql {
        tools: Toolbox::open()?.postgres(15)?,
        port: port.expect("it says its port"),
        user: "postgres".to_owned(),
        password: pods.password().to_owned(),
    };
    let address = cluster.json(&["get", "pod", pod, "-n", &pods.namespace])?["status"]["podIP"].clone();
    assert_eq!(sql.run("postgres", "select host(inet_server_addr())")?, address, "{pod}");
    forward.kill()?;
    forward.wait()?;
    Ok(())
}

#[test]
fn patroni_in_pods_fails_over() -> Result<()> {
    let mut cluster = KubernetesCluster::start(3, KubernetesOptions::default())?;
    let pods = PatroniPods::start(&mut cluster, "database", "crm")?;
    let first = pods.wait_leader(&cluster)?;
    pods.psql(&cluster, &first, "postgres", &SampleData { rows: 200 }.script())?;
    pods.wait_ready(&cluster)?;
    for i in 0..pods.members {
        assert_forwarded_to_its_own(&cluster, &pods, &format!("crm-{i}"))?;
    }
    pods.kill(&cluster, &first)?;
    let second = pods.wait_leader(&cluster)?;
    assert_ne!(first, second, "a killed member comes back as a replica");
    assert_eq!(pods.psql(&cluster, &second, "crm", "select count(*) from crm.contacts")?, "200");
    pods.wait_ready(&cluster)?;
    Ok(())
}

#[test]
fn an_application_like_supabase_has_files_with_attributes_on_its_volume() -> Result<()> {
    let cluster = KubernetesCluster::start(1, KubernetesOptions::default())?;
    let supabase = SupabaseLike::default();
    supabase.deploy(&cluster)?;
    let contents = supabase.contents(&cluster)?;
    for part in
        ["user.supabase.content-type=\"image/png\"", "Größe 1.txt/7f6e5d4c-2", "640 1000:1001", "2024-02-29"]
    {
        assert!(contents.contains(part), "{part} is not in {contents}");
    }
    let volume = supabase.volume(&cluster).join("stub/stub/documents/numbers.csv/12345678-1");
    assert_eq!(fs::metadata(volume)?.len(), 1_988_895, "it is a folder of the host");
    cluster.kubectl(&["delete", "pod", SupabaseLike::POD, "-n", "supabase"])?;
    supabase.wait_ready(&cluster)?;
    assert_eq!(supabase.contents(&cluster)?, contents, "volumes outlive pods");
    Ok(())
}

#[test]
fn fastapi_keeps_different_files_in_each_replica() -> Result<()> {
    let mut cluster = KubernetesCluster::start(1, KubernetesOptions::default())?;
    let plain = FastApi::default();
    let other = FastApi { namespace: "other".to_owned(), replicas: 2, volumes: true };
    plain.deploy(&mut cluster)?;
    other.deploy(&mut cluster)?;
    let state = plain.state(&cluster, 2)?;
    assert_eq!((&state["replica"], &state["count"]), (&json!("app-2"), &json!(12)));
    let files = plain.contents(&cluster, 2)?;
    assert!(["model.pkl", "settings.json", "session.state"].iter().all(|f| files.contains(f)), "{files}");
    let write = "printf 'session 99\\n' > /app/data/session.state";
    cluster.exec("fastapi", "app-1", &["sh", "-c", write])?;
    assert_eq!(plain.state(&cluster, 1)?["count"], 11, "it doesn't look by itself");
    assert_eq!(plain.reload(&cluster, 1)?["count"], 99);
    // A new container has the files of its volume, and nothing of those of its own layer.
    for (app, count) in [(&plain, 0), (&other, 11)] {
        cluster.kubectl(&["delete", "pod", "app-1", "-n", &app.namespace])?;
        app.wait_ready(&cluster)?;
        assert_eq!(app.state(&cluster, 1)?["count"], count, "{}", app.namespace);
    }
    Ok(())
}
