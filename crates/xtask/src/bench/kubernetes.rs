//! `cargo xtask bench --kubernetes`: objects and files of a real cluster, beside kubectl.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, Scratch};

use super::{Measured, Outcome, measure};

/// As many as in the report of Velero's users (its issue 6845).
const SECRETS: usize = 31_000;
const FILES: usize = 20_000;
/// The namespace of the Secrets.
const MANY: &str = "many";
/// The pod with the files.
const POD: &str = "files-0";

/// Measures with the release build of the product at `program`; each case once, ours and kubectl's one after the other.
pub(super) fn run(program: &Path) -> Outcome<()> {
    let cluster = KubernetesCluster::start(1, KubernetesOptions::default())?;
    let bench = Bench { program: program.to_owned(), cluster, scratch: Scratch::new()? };
    bench.objects()?;
    bench.files()
}

struct Bench {
    program: PathBuf,
    cluster: KubernetesCluster,
    scratch: Scratch,
}

impl Bench {
    fn objects(&self) -> Outcome<()> {
        println!("making {SECRETS} Secrets");
        let manifest = self.scratch.path().join("secrets.yaml");
        fs::write(&manifest, secrets())?;
        self.cluster.create_namespace(MANY)?;
        let kubectl = self.kubectl();
        let apply = format!("{kubectl} apply -f {} > /dev/null", manifest.display());
        let theirs = measure(&apply, &[])?;
        let folder = self.configure("objects", &format!("namespace = \"{MANY}\"\n"))?;
        let idle = measure(&self.ha_backup(&folder, "list"), &[])?;
        let export = measure(&self.ha_backup(&folder, "backup"), &[])?;
        let get = format!("{kubectl} get secrets -n {MANY} -o yaml > {}/get.yaml", folder.display());
        let get = measure(&get, &[])?;
        print("export of the Secrets / kubectl get -o yaml (goal 0.5, and 20 s)", &export, &get, &idle);
        measure(&format!("{kubectl} delete namespace {MANY} --timeout=600s > /dev/null"), &[])?;
        let restore = measure(&self.ha_backup(&folder, "restore latest kubernetes --yes"), &[])?;
        print("restore of the Secrets / kubectl apply (goal 0.3, and 120 s)", &restore, &theirs, &idle);
        let count = format!("test $({kubectl} get secrets -n {MANY} -o name | wc -l) = {SECRETS}");
        measure(&count, &[]).map(drop)
    }

    fn files(&self) -> Outcome<()> {
        println!("making {FILES} files in a pod");
        self.cluster.create_namespace("files")?;
        self.cluster.apply(include_str!("files.yaml"))?;
        self.cluster.wait_pods("files", "app=files", 1)?;
        let make = "mkdir /app && cd /app && for i in $(seq 1 FILES); do echo content of $i > $i.json; done";
        self.cluster.exec("files", POD, &["bash", "-c", &make.replace("FILES", &FILES.to_string())])?;
        let folder = self.configure("files", "namespace = \"files\"\nstate = { path = \"/app\" }\n")?;
        let idle = measure(&self.ha_backup(&folder, "list"), &[])?;
        let ours = measure(&self.ha_backup(&folder, "backup"), &[])?;
        let tar =
            format!("{} exec -n files {POD} -- tar cf - /app > {}/app.tar", self.kubectl(), folder.display());
        let theirs = measure(&tar, &[])?;
        print("files of the pod / kubectl exec -- tar cf - (goal 1.11)", &ours, &theirs, &idle);
        Ok(())
    }

    /// A configuration with one component, and its repository.
    fn configure(&self, name: &str, section: &str) -> Outcome<PathBuf> {
        let folder = self.scratch.path().join(name);
        fs::create_dir_all(&folder)?;
        let text = format!(
            "name = \"bench\"\n[[store]]\nkind = \"local\"\npath = {:?}\n[[component]]\nkind = \"kubernetes\"\nkubeconfig = {:?}\n{section}",
            folder.join("store"),
            self.cluster.kubeconfig(),
        );
        fs::write(folder.join("ha-backup.toml"), text)?;
        measure(&self.ha_backup(&folder, "init"), &[])?;
        Ok(folder)
    }

    fn ha_backup(&self, folder: &Path, command: &str) -> String {
        format!("{} --config {}/ha-backup.toml -q {command}", self.program.display(), folder.display())
    }

    fn kubectl(&self) -> String {
        let program = self.cluster.tools().program("kubectl");
        format!("{} --kubeconfig {}", program.display(), self.cluster.kubeconfig().display())
    }
}

fn print(title: &str, ours: &Measured, theirs: &Measured, idle: &Measured) {
    println!(
        "{title}\n  ours {:.2} s, theirs {:.2} s, ratio {:.3}; our memory above an idle command's {:.1} MiB, theirs at its peak {:.1} MiB",
        ours.wall,
        theirs.wall,
        ours.wall / theirs.wall,
        ours.peak_mib - idle.peak_mib,
        theirs.peak_mib
    );
}

fn secrets() -> String {
    let mut text = String::new();
    for i in 0..SECRETS {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: secret-{i}, namespace: {MANY}, labels: {{batch: \"{}\"}}}}\n\
             stringData: {{user: \"user-{i}\", password: \"{:0>64}\"}}\n",
            i % 100,
            i * 7919
        );
    }
    text
}
