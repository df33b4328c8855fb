//! `deploy/kubernetes`, as it is shipped, in a real cluster: a backup and a restore by Jobs with the rights of the service account
//! there. Needs root.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use backup_testkit::servers::{FastApi, Image, KubernetesCluster, KubernetesOptions, SupabaseLike, poll};
use serde_json::{Value, json};

/// Those of `deploy/kubernetes/cronjob.yaml`.
const NAMESPACE: &str = "ha-backup";
const IMAGE: &str = "image: registry.example/ha-backup\n";
const REPLICAS: usize = 3;
/// For a Job.
const LIMIT: Duration = Duration::from_secs(240);

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The volume for the claim in `cronjob.yaml`; the folder behind it.
fn volume(cluster: &KubernetesCluster) -> PathBuf {
    let folder = cluster.scratch().join("backups");
    fs::create_dir_all(&folder).unwrap();
    // A folder of the host is not given to the pod's group, as other volumes are.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "backups"},
        "spec": {
            "capacity": {"storage": "50Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": NAMESPACE, "name": "ha-backup"},
            "hostPath": {"path": folder},
        },
    });
    cluster.apply(&volume.to_string()).unwrap();
    folder
}

/// `cronjob.yaml` with an image of these nodes, the program from a folder of the host in it, and, as no service network runs here,
/// the API server's own address.
fn cron_job(cluster: &KubernetesCluster) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_ha-backup"));
    let folder = cluster.scratch().join("program");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(program, folder.join("ha-backup")).unwrap();
    let text = shipped("cronjob.yaml");
    assert!(text.contains(IMAGE));
    let container = format!(
        "image: {}\n              command: [/program/ha-backup]\n              env:\n                - {{ name: KUBERNETES_SERVICE_HOST, value: \"127.0.0.1\" }}\n                - {{ name: KUBERNETES_SERVICE_PORT, value: \"{}\" }}\n",
        Image::Debian.reference(),
        cluster.api_server_port(),
    );
    let helper = format!("kind = \"supabase\"\n    helper_image = {:?}\n", Image::Debian.reference());
    let mount = "volumeMounts:\n";
    let volumes = "          volumes:\n";
    text.replace(IMAGE, &container)
        .replace("kind = \"supabase\"\n", &helper)
        .replace(mount, &format!("{mount}                - {{ name: program, mountPath: /program, readOnly: true }}\n"))
        .replace(
            volumes,
            &format!(
                "          hostNetwork: true\n{volumes}            - {{ name: program, hostPath: {{ path: {:?} }} }}\n",
                folder.display().to_string()
            ),
        )
}

/// Runs the CronJob's pod once, with other arguments if there are any; what it printed.
fn run(cluster: &KubernetesCluster, name: &str, arguments: &[&str]) -> String {
    let create = ["create", "job", "--from=cronjob/ha-backup", name, "-n", NAMESPACE, "--dry-run=client"];
    let mut job: Value = cluster.json(&create).unwrap();
    if !arguments.is_empty() {
        let configured = ["--config", "/etc/ha-backup/config.toml"];
        job["spec"]["template"]["spec"]["containers"][0]["args"] =
            json!([&configured[..], arguments].concat());
    }
    cluster.apply(&job.to_string()).unwrap();
    let job = format!("job/{name}");
    let ended = poll(&job, LIMIT, || {
        let status =
            cluster.json(&["get", &job, "-n", NAMESPACE]).map_err(|error| error.to_string())?["status"]
                .take();
        let ended = |how: &str| status[how].as_u64().is_some_and(|pods| pods > 0);
        if ended("succeeded") || ended("failed") { Ok(ended("succeeded")) } else { Err(status.to_string()) }
    });
    let logs = cluster.kubectl(&["logs", "-n", NAMESPACE, &job]).unwrap_or_else(|error| error.to_string());
    assert!(ended.unwrap_or_else(|error| panic!("{error}\n{logs}")), "{name} failed: {logs}");
    logs
}

/// What an administrator adds when `check` has named a right.
fn grant(rule: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: ha-backup-more}}\nrules:\n  - {rule}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: ha-backup-more}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ha-backup-more}}\n\
         subjects: [{{kind: ServiceAccount, name: ha-backup, namespace: {NAMESPACE}}}]\n"
    )
}

#[test]
fn both_applications_are_backed_up_and_restored_from_inside_with_the_rights_that_are_shipped() {
    let mut cluster = KubernetesCluster::start(2, KubernetesOptions::default()).unwrap();
    let supabase = SupabaseLike { namespace: "supabase".to_owned() };
    supabase.deploy(&cluster).unwrap();
    let fastapi = FastApi { namespace: "fastapi".to_owned(), replicas: REPLICAS, volumes: false };
    fastapi.deploy(&mut cluster).unwrap();
    let root_key = supabase.root_key(&cluster).unwrap();
    let stored = supabase.contents(&cluster).unwrap();

    cluster.create_namespace(NAMESPACE).unwrap();
    cluster.apply(&shipped("backup-rbac.yaml")).unwrap();
    cluster.apply(&shipped("files-rbac.yaml")).unwrap();
    let backups = volume(&cluster);
    cluster.apply(&cron_job(&cluster)).unwrap();

    run(&cluster, "init", &["init"]);
    let checked = run(&cluster, "check", &["check"]);
    // Custom kinds of the cluster at large are the one thing that no list which is shipped can name: the check does.
    let rule = r#"{apiGroups: ["supabase.example"], resources: ["tenants"], verbs: ["get", "list"]}"#;
    assert!(checked.contains("0 errors, 2 warnings") && checked.matches(rule).count() == 2, "{checked}");
    cluster.apply(&grant(rule)).unwrap();
    let checked = run(&cluster, "check-again", &["check"]);
    assert!(checked.contains("0 errors, 0 warnings") || !checked.contains("warning"), "{checked}");
    let logs = run(&cluster, "first", &[]);
    assert!(logs.contains("SUCCESS"), "{logs}");
    assert!(backups.join("repository.json").is_file());
    run(&cluster, "verify", &["verify", "latest", "--level", "content"]);

    for namespace in ["supabase", "fastapi"] {
        cluster.kubectl(&["delete", "namespace", namespace, "--timeout=120s"]).unwrap();
    }
    cluster.apply(&shipped("restore-rbac.yaml")).unwrap();
    let restored = run(&cluster, "restore", &["restore", "latest", "all", "--yes"]);
    assert!(restored.contains("restored"), "{restored}");
    supabase.wait_ready(&cluster).unwrap();
    fastapi.wait_ready(&cluster).unwrap();
    assert_eq!(supabase.root_key(&cluster).unwrap(), root_key);
    assert_eq!(supabase.contents(&cluster).unwrap(), stored);
    for i in 0..REPLICAS {
        assert_eq!(fastapi.reload(&cluster, i).unwrap()["count"], json!(10 + i), "replica {i}");
    }
}
