//! The harness's Kubernetes with nodes: pods really run. Needs root.

use backup_testkit::servers::{Image, KubernetesCluster, KubernetesOptions, Result};

/// A pod that uses its image's command.
fn pod(name: &str, image: Image) -> String {
    let image = image.reference();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: try, labels: {{app: try}}}}\n\
         spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: main, image: '{image}'}}]}}\n---\n"
    )
}

#[test]
fn pods_run_on_every_image_and_programs_run_in_them() -> Result<()> {
    let images = vec![Image::NoTar, Image::Distroless, Image::FastApi];
    let cluster = KubernetesCluster::start(1, KubernetesOptions { images, ..KubernetesOptions::default() })?;
    cluster.create_namespace("try")?;
    let all = [
        ("busybox", Image::Busybox),
        ("debian", Image::Debian),
        ("no-tar", Image::NoTar),
        ("distroless", Image::Distroless),
        ("fastapi", Image::FastApi),
    ];
    cluster.apply(&all.map(|(name, image)| pod(name, image)).concat())?;
    assert_eq!(cluster.wait_pods("try", "app=try", 5)?.len(), 5);
    let sh = |pod: &str, script: &str| cluster.exec("try", pod, &["sh", "-c", script]);
    assert_eq!(sh("busybox", "echo $((6 * 7))")?, "42\n");
    let xattr = "cd /root && touch a && setfattr -n user.x -v y a && tar --version && getfattr -d a";
    let debian = sh("debian", xattr)?;
    assert!(debian.contains("GNU tar") && debian.contains("user.x=\"y\""), "{debian}");
    assert!(sh("no-tar", "tar --help || busybox tar --help").is_err());
    assert_eq!(sh("no-tar", "find /etc -name passwd")?, "/etc/passwd\n");
    assert!(sh("no-tar", "sha256sum /etc/passwd && cat /etc/passwd")?.contains("root:x:0"));
    assert!(sh("distroless", "true").is_err());
    let files = sh("fastapi", "cd /app && find . -name '*.pkl' -o -name '*.json' -o -name '*.state' | sort")?;
    assert_eq!(files, "./data/session.state\n./models/model.pkl\n./settings.json\n");
    Ok(())
}
