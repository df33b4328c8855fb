//! Pods as a place, on a real Kubernetes: nothing that is lost on the way is taken for an end. Needs root.

use std::{sync::Arc, time::Duration};

use backup_core::{
    traits::{Command, Connection, Exit, Node, Place, Process},
    words::{Error, ErrorKind, Retry, Secret},
};
use backup_k8s::Via;
use backup_testkit::servers::{Image, KubernetesCluster, KubernetesOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Long for one program on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// A secret that shows whether it is quoted right everywhere.
const SECRET: &str = "s3cr3t $(id) 'of' \"a\\npod` =ü";

/// A cluster of one node with a pod for each of the images, called as they are.
fn cluster(images: &[Image]) -> KubernetesCluster {
    let mut cluster = KubernetesCluster::start(1, KubernetesOptions::default()).unwrap();
    cluster.create_namespace("try").unwrap();
    for image in images {
        cluster.import_image(*image).unwrap();
        let labels = json!({"app": "try", "image": image.to_string()});
        let metadata = json!({"name": image.to_string(), "namespace": "try", "labels": labels});
        let container = json!({"name": "main", "image": image.reference()});
        let spec = json!({"containers": [container], "terminationGracePeriodSeconds": 1});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        cluster.apply(&pod.to_string()).unwrap();
    }
    cluster.wait_pods("try", "app=try", images.len()).unwrap();
    cluster
}

fn via(cluster: &KubernetesCluster, selector: &str) -> Arc<dyn Place> {
    let via = json!({"namespace": "try", "selector": selector, "kubeconfig": cluster.kubeconfig()});
    Via::read(&Node::new(via)).unwrap().place()
}

async fn pod(cluster: &KubernetesCluster, image: Image) -> Arc<dyn Place> {
    via(cluster, "app=try").hosts().unwrap().on(&image.to_string()).await.unwrap()
}

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

async fn says(place: &dyn Place, script: &str) -> String {
    String::from_utf8(place.output(&sh(script)).await.unwrap()).unwrap()
}

/// Writes as long as anybody takes it, as a load does; whether all was taken, and how the program ended.
async fn fed(process: &mut dyn Process, bytes: usize) -> (bool, Exit) {
    let mut input = process.stdin().unwrap();
    let writing = async {
        for _ in 0..bytes / 4096 {
            input.write_all(&[7; 4096]).await?;
        }
        input.shutdown().await
    };
    let written = tokio::time::timeout(SOON, writing).await.unwrap();
    drop(input);
    (written.is_ok(), tokio::time::timeout(SOON, process.wait()).await.unwrap().unwrap())
}

/// Whether a program runs in the pod whose command line ends with `text`.
async fn runs(place: &dyn Place, text: &str) -> bool {
    let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null";
    let text = format!("{text} ");
    says(place, script).await.lines().any(|line| line.ends_with(&text))
}

async fn until_gone(place: &dyn Place, text: &str) {
    let gone = async {
        while runs(place, text).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap_or_else(|_| panic!("{text} still runs"));
}

/// Each of these came out wrong in some of the tries with an exec alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_run_with_their_whole_input_and_their_own_end() {
    let cluster = cluster(&[Image::Debian, Image::Busybox]);
    for image in [Image::Debian, Image::Busybox] {
        let place = pod(&cluster, image).await;
        assert_eq!(place.name(), format!("pod try/{image}"));
        let failed = place.output(&sh("echo out; echo why >&2; exit 3")).await.unwrap_err();
        assert_eq!(failed.to_string(), "run: sh: exit code 3: why");
        for missing in ["no-such-program", "/usr/bin/no-such-program"] {
            for command in [Command::new(missing), Command::new(missing).with_input()] {
                let error = place.run(&command).await.map(drop).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            }
        }
        // The program closes its standard output at once, at which containerd would close its input.
        for _ in 0..3 {
            let mut process = place.run(&sh("exec cat >/tmp/whole").with_input()).await.unwrap();
            let (whole, exit) = fed(&mut *process, 10 << 20).await;
            assert!(whole && exit.success(), "{exit:?}");
            assert_eq!(says(&*place, "wc -c </tmp/whole").await.trim(), (10 << 20).to_string());
        }
        // What a program leaves unread neither hides its end nor holds it up.
        for _ in 0..10 {
            let mut process = place.run(&sh("echo no >&2; exit 9").with_input()).await.unwrap();
            let (_, exit) = fed(&mut *process, 64 << 20).await;
            assert_eq!((exit.code, exit.stderr.as_str()), (Some(9), "no\n"));
        }
        let bytes = place.output(&sh("head -c 10485760 /dev/zero")).await.unwrap();
        assert!(bytes.len() == 10 << 20 && bytes.iter().all(|byte| *byte == 0));
    }
}

/// Neither are secrets seen on a command line, nor does a vanished client leave a program behind: a pg_dump whose output nobody
/// reads would hold its locks for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn secrets_are_not_on_command_lines_and_nothing_runs_on_without_us() {
    let cluster = cluster(&[Image::Debian]);
    let place = pod(&cluster, Image::Debian).await;
    let show = sh("printf %s \"$PASSWORD|$PLAIN\"; cat /proc/[0-9]*/cmdline >&2; exit 1")
        .secret("PASSWORD", Secret::new(SECRET))
        .env("PLAIN", "a b");
    let mut process = place.run(&show).await.unwrap();
    let mut said = String::new();
    process.stdout().unwrap().read_to_string(&mut said).await.unwrap();
    let exit = process.wait().await.unwrap();
    assert_eq!(said, format!("{SECRET}|a b"));
    assert!(exit.stderr.contains("PASSWORD|") && !exit.stderr.contains("s3cr3t"), "{}", exit.stderr);
    let split = Command::new("true").secret("PASSWORD", Secret::new("two\nlines"));
    let error = place.run(&split).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("PASSWORD") && !error.chain().contains("two"), "{error:?}");

    let silent = place.run(&Command::new("sleep").arg("4242")).await.unwrap();
    let mut full = place.run(&Command::new("yes").arg("4343")).await.unwrap();
    full.stdout().unwrap().read_exact(&mut [0; 100_000]).await.unwrap();
    let reader = place.run(&Command::new("cat").arg("-").with_input()).await.unwrap();
    for text in ["sleep 4242", "yes 4343", "cat -"] {
        assert!(runs(&*place, text).await, "{text}");
    }
    drop((silent, full, reader));
    for text in ["sleep 4242", "yes 4343", "cat -"] {
        until_gone(&*place, text).await;
    }
}

/// An API server, a pod or a shell that is gone leaves an error, whatever the output looks like.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_lost_is_an_error_and_no_end() {
    let mut cluster = cluster(&[Image::Debian, Image::Busybox, Image::Distroless]);
    let place = pod(&cluster, Image::Debian).await;
    let error = pod(&cluster, Image::Distroless).await.output(&Command::new("/sleep").arg("0")).await;
    assert!(error.unwrap_err().to_string().contains("sh"), "there is no shell, and so no proof");
    let everybody = via(&cluster, "app=try");
    let error = everybody.run(&Command::new("true")).await.map(drop).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("3 pods"), "{error}");
    via(&cluster, "image=debian").output(&Command::new("true")).await.unwrap();
    let error = via(&cluster, "app=nobody").output(&Command::new("true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");

    let endless = sh("while :; do echo 0123456789; sleep 0.01; done");
    for how in ["it is killed with its shell", "the API server is killed", "its pod is killed"] {
        let mut process = place.run(&endless).await.unwrap();
        let mut output = process.stdout().unwrap();
        output.read_exact(&mut [0; 100]).await.unwrap();
        match how {
            // All but the pod's first program.
            "it is killed with its shell" => drop(place.output(&sh("kill -9 -1")).await),
            "the API server is killed" => cluster.kill_api_server(),
            _ => {
                let delete = ["delete", "pod", "debian", "-n", "try", "--grace-period=0", "--force"];
                cluster.kubectl(&delete).unwrap();
            }
        }
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(SOON, output.read_to_end(&mut rest)).await;
        ended.unwrap_or_else(|_| panic!("{how}: nobody is told")).unwrap();
        let error = process.wait().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry_class()),
            (ErrorKind::Unreachable, Retry::Reopen),
            "{how}: {error}"
        );
        if how == "the API server is killed" {
            assert_eq!(place.run(&endless).await.map(drop).unwrap_err().kind(), ErrorKind::Unreachable);
            cluster.start_api_server().unwrap();
        }
    }
}

/// Whether nobody listens there, which is more than that nobody answers.
fn is_refusal(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// What comes back of a MiB.
async fn echoed(connection: Box<dyn Connection>) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(connection);
    let mut back = vec![0; 1 << 20];
    tokio::try_join!(write.write_all(&[7; 1 << 20]), read.read_exact(&mut back)).unwrap();
    back
}

/// Bytes go both ways; where nobody listens, that is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_arrive_in_the_pod() {
    let cluster = cluster(&[Image::Busybox, Image::Debian]);
    let everybody = via(&cluster, "app=try");
    let place = pod(&cluster, Image::Busybox).await;
    let _server = place.run(&Command::new("nc").args(["-ll", "-p", "8080", "-e", "cat"])).await.unwrap();
    let answered = async {
        // The server is there a moment after its program.
        loop {
            match everybody.connect("busybox", 8080).await {
                Ok(connection) => return echoed(connection).await,
                Err(e) => assert!(is_refusal(&e), "{e:?}"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, answered).await.unwrap(), vec![7; 1 << 20]);
    let error = everybody.connect("debian", 8080).await.map(drop).unwrap_err();
    assert!(is_refusal(&error), "{error:?}");
    for (host, kind) in
        [("elsewhere", ErrorKind::Unreachable), ("/var/run/postgresql", ErrorKind::Unreachable)]
    {
        assert_eq!(everybody.connect(host, 8080).await.map(drop).unwrap_err().kind(), kind);
    }
    assert_eq!(place.connect("/tmp", 8080).await.map(drop).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(place.connect("debian", 8080).await.map(drop).unwrap_err().kind(), ErrorKind::Unreachable);
}
