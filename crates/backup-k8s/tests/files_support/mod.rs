//! What the tests of files in pods share.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use backup_core::{
    archive::{Entry, EntryKind, Reader},
    engine::{BackupRequest, Engine, RestoreOutcome, RestorePlan, RestoreRequest},
    stores::MemoryStore,
    traits::{ComponentFactory, Context, Deps, LocalPlace, Node},
    words::{ComponentRecord, ComponentStatus, Result as CoreResult},
};
use backup_k8s::KubernetesFactory;
use backup_testkit::servers::{Image, KubernetesCluster, KubernetesOptions, poll};
use serde_json::{Value, json};

/// A cluster of one node that the tests which run at the same time share; each has a namespace of its own.
pub(crate) fn shared() -> Arc<KubernetesCluster> {
    static SHARED: Mutex<Weak<KubernetesCluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(start(1));
    *shared = Arc::downgrade(&cluster);
    cluster
}

/// A cluster that has all images of these tests.
pub(crate) fn start(nodes: usize) -> KubernetesCluster {
    let mut cluster = KubernetesCluster::start(nodes, KubernetesOptions::default()).unwrap();
    for image in [Image::NoTar, Image::Distroless] {
        cluster.import_image(image).unwrap();
    }
    cluster
}

/// Polls with a deadline that no test should need.
pub(crate) fn eventually<T>(what: &str, check: impl FnMut() -> Result<T, String>) -> T {
    poll(what.to_owned(), Duration::from_secs(90), check).unwrap()
}

/// A pod `name` with the label `app=NAME`; `more` is merged into its spec.
pub(crate) fn pod(namespace: &str, name: &str, image: Image, more: Value) -> String {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": image.reference()}], "terminationGracePeriodSeconds": 0},
    });
    merge(&mut pod["spec"], more);
    format!("{pod}\n---\n")
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(more)) if into.len() == more.len() => {
            into.iter_mut().zip(more).for_each(|(into, more)| merge(into, more));
        }
        (into, more) => *into = more,
    }
}

/// A volume claim that is bound to a folder of the host.
pub(crate) fn claim(cluster: &KubernetesCluster, namespace: &str, name: &str, mode: &str) -> String {
    let volume = format!("{namespace}-{name}");
    let folder = cluster.scratch().join("claims").join(&volume);
    std::fs::create_dir_all(&folder).unwrap();
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": [mode], "storageClassName": "by-hand",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": folder},
            "claimRef": {"namespace": namespace, "name": name},
        },
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": [mode], "storageClassName": "by-hand", "resources": {"requests": {"storage": "1Gi"}}},
    });
    format!("{volume}\n---\n{claim}\n---\n")
}

/// Runs a script in a pod's first container.
pub(crate) fn sh(cluster: &KubernetesCluster, namespace: &str, pod: &str, script: &str) -> String {
    cluster.exec(namespace, pod, &["sh", "-c", script]).unwrap()
}

/// Makes one of everything below `/t`, as far as the image's programs can; `touch -d` gives times to the nanosecond.
pub(crate) const EVERYTHING: &str = r#"set -e
mkdir -p /t/sub/deep /t/empty "/t/with space" /t/node_modules; cd /t
printf hello >a.json; chmod 4751 a.json; chown 1000:1001 a.json; chmod 4751 a.json; touch -d '2001-02-03 04:05:06' a.json
: >empty.state
printf x >"$(printf 'line\nend.json')"
printf y >"$(printf 'uml\303\244ut \\n \t.pkl')"
printf z >"with space/q'uo\"te.json"
printf deep >sub/deep/"$(printf '%0180d' 7).json"
printf no >node_modules/not.json
printf no >other.txt
ln -s ../../etc/passwd out.json; ln -s a.json sub/link.json; ln -s 'odd
' dangling.json
chmod 700 sub/deep; touch -d '2002-02-03 04:05:06' sub/deep sub
echo made"#;

/// An engine over a store in memory with one component, `app`.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) cx: Context,
}

/// What a backup has.
pub(crate) struct Session {
    pub(crate) record: ComponentRecord,
    folder: tempfile::TempDir,
}

/// A member of an artifact.
pub(crate) struct Member {
    pub(crate) entry: Entry,
    pub(crate) content: Vec<u8>,
}

impl Bench {
    /// Of one namespace, with these sections.
    pub(crate) async fn new(cluster: &KubernetesCluster, namespace: &str, sections: Value) -> Self {
        let mut config = json!({
            "kubeconfig": cluster.kubeconfig(),
            "namespace": namespace,
            "request_timeout": 20,
            "helper_image": Image::Debian.reference(),
        });
        merge(&mut config, sections);
        let deps = Deps::new(Arc::new(LocalPlace));
        let component = KubernetesFactory.build("app", &Node::new(config), &deps).await.unwrap();
        let engine = Engine::builder("crm")
            .store("memory", Arc::new(MemoryStore::new()))
            .component("app", component)
            .build()
            .unwrap();
        let cx = Context::new();
        engine.init(&cx).await.unwrap();
        Self { engine, cx }
    }

    pub(crate) async fn backup(&self) -> Session {
        self.engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap();
        let entry = self.engine.session(&self.cx, "latest").await.unwrap();
        let record = entry.committed().unwrap().component("app").unwrap().clone();
        let folder = tempfile::tempdir().unwrap();
        self.engine.extract(&self.cx, "latest", Some("app"), folder.path()).await.unwrap();
        Session { record, folder }
    }
}

impl Bench {
    pub(crate) async fn plan(&self, options: Value) -> RestorePlan {
        let mut request = RestoreRequest::new("latest");
        request.options.insert("app".to_owned(), options);
        self.engine.plan_restore(&self.cx, &request).await.unwrap()
    }

    pub(crate) async fn restore(&self, options: Value) -> CoreResult<RestoreOutcome> {
        let plan = self.plan(options).await;
        self.engine.restore(&self.cx, &plan).await
    }
}

/// What a plan says of files: phase and subject of each step.
pub(crate) fn file_steps(plan: &RestorePlan) -> Vec<String> {
    let files = plan.steps.iter().map(|planned| &planned.step).filter(|step| step.id.starts_with("files "));
    files.map(|step| format!("{:?} {}", step.phase, step.subject)).collect()
}

impl Session {
    /// Fails unless all that should be there is.
    pub(crate) fn whole(self) -> Self {
        assert_eq!(self.record.status, ComponentStatus::Success, "{:#?}", self.record.coverage);
        self
    }

    /// What is missing, in one text.
    pub(crate) fn missing(&self) -> String {
        let missing = self.record.coverage.iter().filter(|coverage| coverage.missing);
        missing.map(|coverage| format!("{}: {}\n", coverage.what, coverage.why)).collect()
    }

    /// The members of an artifact by name.
    pub(crate) fn members(&self, suffix: &str) -> BTreeMap<String, Member> {
        let artifact = self.record.artifacts.iter().find(|a| a.suffix.as_deref() == Some(suffix));
        let artifact = artifact.unwrap_or_else(|| panic!("no {suffix}: {}", self.missing()));
        read(&self.folder.path().join("app").join(&artifact.name))
    }

    /// Where the plain artifact is.
    pub(crate) fn file(&self, suffix: &str) -> std::path::PathBuf {
        let artifact = self.record.artifacts.iter().find(|a| a.suffix.as_deref() == Some(suffix)).unwrap();
        self.folder.path().join("app").join(&artifact.name)
    }

    /// The fact of a pod's state.
    pub(crate) fn pod(&self, name: &str) -> &Value {
        let pods = self.record.facts["state"]["pods"].as_array().unwrap();
        pods.iter().find(|pod| pod["pod"] == name).unwrap_or_else(|| panic!("no {name} in {pods:#?}"))
    }
}

fn read(file: &Path) -> BTreeMap<String, Member> {
    let mut reader = Reader::new(std::io::BufReader::new(std::fs::File::open(file).unwrap()));
    let mut members = BTreeMap::new();
    while let Some(entry) = reader.next().unwrap() {
        let mut content = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = reader.read_content(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            content.extend_from_slice(&buffer[..read]);
        }
        let name = String::from_utf8(entry.path.clone()).unwrap();
        assert!(members.insert(name.clone(), Member { entry, content }).is_none(), "{name} stands twice");
    }
    reader.finish().unwrap();
    members
}

impl Member {
    pub(crate) fn is_file_of(&self, content: &[u8]) -> bool {
        self.entry.kind == EntryKind::File && self.content == content
    }
}

/// The names of the state that [`EVERYTHING`] makes, in the pod `pod`.
pub(crate) fn everything(pod: &str) -> Vec<String> {
    let long = format!("sub/deep/{:0180}.json", 7);
    let names = [
        "",
        "/a.json",
        "/dangling.json",
        "/empty.state",
        "/line\nend.json",
        "/out.json",
        "/sub",
        "/sub/deep",
        &format!("/{long}"),
        "/sub/link.json",
        "/uml\u{e4}ut \\n \t.pkl",
        "/with space",
        "/with space/q'uo\"te.json",
    ];
    let mut names: Vec<String> = names.iter().map(|name| format!("{pod}/t{name}")).collect();
    names.sort();
    names
}
