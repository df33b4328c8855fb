//! The harness's Kubernetes with nodes: pods really run. Needs root.

use backup_testkit::servers::{Image, KubernetesCluster, KubernetesOptions, Result, poll};
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
