//! `cargo xtask demo --full`: applications in a real Kubernetes are lost and brought back.

use super::{
    build,
    console::{proved, title},
    product::Product,
};
use crate::{Outcome, setup};
use backup_testkit::servers::{
    FastApi, KubernetesCluster, KubernetesOptions, PatroniPods, Result, Scratch, SupabaseLike, Toolbox,
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, fs, time::Instant};

/// Where Patroni runs: beside the applications, and not lost with them.
const DATABASE: &str = "database";

pub(super) fn run() -> Outcome {
    let started = Instant::now();
    title("What the demonstration needs");
    setup()?;
    title("Building ha-backup");
    let program = build(&Toolbox::open()?, "etcd,postgres,kubernetes")?;

    title(
        "Starting Kubernetes with three nodes, and on it Supabase-like and FastAPI applications and Patroni",
    );
    let apps = Applications::start()?;
    let before = Contents::read(&apps)?;
    println!("they hold {before}");
    let scratch = Scratch::new()?;
    let product = Product::new(program, &scratch, apps.patroni.password())?;
    let config = product.write("crm.toml", &apps.config(&product))?;

    title("Backing up");
    for args in
        [&["init"][..], &["check"], &["backup"], &["list"], &["verify", "latest", "--level", "content"]]
    {
        product.run(&config, args)?;
    }
    product.run(&config, &["show", "latest"])?;
    proved(
        "one recovery point of two applications and their database is committed and was read as what it is",
    );

    title("A bad day: both namespaces are deleted with their volumes, and the database is damaged");
    apps.destroy()?;

    title("What a restore would do");
    product.run(&config, &["restore", "latest", "all", "--plan"])?;
    title("Restoring everything");
    product.run(&config, &["restore", "latest", "all", "--yes"])?;
    apps.read_files_again()?;

    title("Comparing");
    before.same_as(&Contents::read(&apps)?)?;
    proved(&format!("the cluster holds what was backed up: {before}"));

    title("Stopping everything");
    drop((apps, product, scratch));
    println!("done in {} s", started.elapsed().as_secs());
    Ok(())
}

struct Applications {
    supabase: SupabaseLike,
    fastapi: FastApi,
    patroni: PatroniPods,
    cluster: KubernetesCluster,
}

impl Applications {
    fn start() -> Result<Self> {
        let mut cluster = KubernetesCluster::start(3, KubernetesOptions::default())?;
        let (supabase, fastapi) = (SupabaseLike::default(), FastApi::default());
        supabase.deploy(&cluster)?;
        fastapi.deploy(&mut cluster)?;
        cluster.create_namespace(DATABASE)?;
        let patroni = PatroniPods::start(&mut cluster, DATABASE, "crm")?;
        let apps = Self { supabase, fastapi, patroni, cluster };
        apps.psql("postgres", "create database crm")?;
        apps.psql(
            "crm",
            "create table contacts as select i as id, md5(i::text) as name from generate_series(1, 20000) i",
        )?;
        println!("the API server is at {}", apps.cluster.api_server_url());
        Ok(apps)
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let leader = self.patroni.wait_leader(&self.cluster)?;
        self.patroni.psql(&self.cluster, &leader, database, sql)
    }

    fn config(&self, product: &Product) -> String {
        let kubeconfig = self.cluster.kubeconfig();
        format!(
            "name = \"crm\"\n\n[[store]]\nkind = \"local\"\npath = {:?}\n\n\
             [[component]]\nkind = \"supabase\"\nkubeconfig = {kubeconfig:?}\nhelper_image = \"localhost/debian:1\"\n\n\
             [[component]]\nkind = \"fastapi\"\nkubeconfig = {kubeconfig:?}\nhelper_image = \"localhost/debian:1\"\n\n\
             [[component]]\nkind = \"postgres\"\n\
             via = {{ kubeconfig = {kubeconfig:?}, namespace = \"{DATABASE}\", selector = \"{}\" }}\n\
             patroni_port = {}\nport = {}\nuser = \"postgres\"\npassword = {{ env = \"{}\" }}\n",
            product.store(),
            self.patroni.selector(),
            self.patroni.rest,
            self.patroni.postgres,
            Product::PASSWORD,
        )
    }

    fn destroy(&self) -> Result<()> {
        let (supabase, fastapi) = (self.supabase.namespace.as_str(), self.fastapi.namespace.as_str());
        self.cluster.kubectl(&["delete", "namespace", supabase, fastapi, "--timeout=120s"])?;
        println!("deleted the namespaces {supabase} and {fastapi}");
        self.cluster.kubectl(&["delete", "pv", &format!("{supabase}-storage")])?;
        self.cluster.kubectl(&["delete", "crd", SupabaseLike::CRDS[0]])?;
        let folder = self.supabase.volume(&self.cluster);
        fs::remove_dir_all(&folder)?;
        println!("deleted the volume, its files, and the definition of a custom resource");
        self.psql("crm", "drop table contacts")?;
        println!("dropped a table of the database");
        Ok(())
    }

    /// The state files were put into running containers: the applications have to be told.
    fn read_files_again(&self) -> Result<()> {
        self.supabase.wait_ready(&self.cluster)?;
        self.fastapi.wait_ready(&self.cluster)?;
        (0..self.fastapi.replicas).try_for_each(|i| self.fastapi.reload(&self.cluster, i).map(drop))
    }
}

/// What there is, read by kubectl and in the pods, and not by the product.
struct Contents {
    /// Kind, namespace and name of each object that somebody made, with what it says.
    objects: BTreeMap<String, Value>,
    files: String,
    states: Vec<Value>,
    rows: String,
}

/// Kinds whose content is compared, as kubectl names them.
const KINDS: &str = "configmaps,secrets,services,serviceaccounts,persistentvolumeclaims,deployments.apps,statefulsets.apps,\
     cronjobs.batch,ingresses.networking.k8s.io,networkpolicies.networking.k8s.io,poddisruptionbudgets.policy,\
     resourcequotas,roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,\
     horizontalpodautoscalers.autoscaling,buckets.storage.supabase.example";

impl Contents {
    fn read(apps: &Applications) -> Result<Self> {
        let mut objects = BTreeMap::new();
        for namespace in [&apps.supabase.namespace, &apps.fastapi.namespace] {
            let list = apps.cluster.json(&["get", KINDS, "-n", namespace])?;
            for item in list["items"].as_array().into_iter().flatten() {
                let (kind, name) = (&item["kind"], &item["metadata"]["name"]);
                let key =
                    format!("{} {namespace}/{}", kind.as_str().unwrap_or(""), name.as_str().unwrap_or(""));
                objects.insert(key, told(item));
            }
        }
        let states = (0..apps.fastapi.replicas).map(|i| apps.fastapi.state(&apps.cluster, i));
        Ok(Self {
            objects,
            files: apps.supabase.contents(&apps.cluster)?,
            states: states.collect::<Result<_>>()?,
            rows: apps
                .psql("crm", "select count(*), md5(string_agg(name, ',' order by id)) from contacts")?,
        })
    }

    fn same_as(&self, other: &Self) -> std::result::Result<(), String> {
        let keys = self.objects.keys().chain(other.objects.keys());
        let differs: Vec<_> = keys.filter(|key| self.objects.get(*key) != other.objects.get(*key)).collect();
        if !differs.is_empty() {
            return Err(format!("objects differ: {differs:?}"));
        }
        for (what, before, after) in [
            ("files", &self.files, &other.files),
            ("rows", &self.rows, &other.rows),
            ("states", &format!("{:?}", self.states), &format!("{:?}", other.states)),
        ] {
            if before != after {
                return Err(format!("{what} differ:\n{before}\nagainst\n{after}"));
            }
        }
        Ok(())
    }
}

/// What somebody said of an object, without what the servers add.
fn told(item: &Value) -> Value {
    let own = ["data", "binaryData", "type", "rules", "subjects", "roleRef"];
    let mut told: BTreeMap<&str, Value> = own.iter().map(|key| (*key, item[*key].clone())).collect();
    told.insert("labels", item["metadata"]["labels"].clone());
    if item["kind"] == "Bucket" {
        told.insert("spec", item["spec"].clone());
    }
    if item["type"] == "kubernetes.io/service-account-token" {
        told.remove("data");
    }
    serde_json::to_value(told).unwrap_or_default()
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.lines().filter(|line| line.starts_with("f ")).count();
        let rows = self.rows.split('|').next().unwrap_or_default();
        let (objects, replicas) = (self.objects.len(), self.states.len());
        write!(
            f,
            "{objects} objects, {files} files with attributes, {replicas} replicas with states, {rows} rows"
        )
    }
}
