//! The form of images that containerd imports: a tar archive with an OCI layout.

use super::super::super::error::{Context, Error, Result};
use super::super::super::process::{run, run_with_input};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes an image of one layer: all of `root`, and these files of this machine's. Returns its file in `work`.
pub(super) fn image(
    name: &str,
    command: &[&str],
    root: &Path,
    files: &[String],
    work: &Path,
) -> Result<PathBuf> {
    let layout = work.join("layout");
    let blobs = Blobs { folder: layout.join("blobs/sha256") };
    fs::create_dir_all(&blobs.folder)?;
    let layer = blobs.add_layer(root, files, work)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Env": [PATH], "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = blobs.add("application/vnd.oci.image.config.v1+json", &config)?;
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer]});
    let mut manifest = blobs.add(manifest_type, &manifest)?;
    manifest["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let file = work.join("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&layout).arg("-cf").arg(&file).args(["oci-layout", "index.json", "blobs"]);
    run(&mut tar, "tar of an image")?;
    Ok(file)
}

/// The digest of a text, in hexadecimal digits.
pub(super) fn sha256(text: &str) -> Result<String> {
    digest_of(&run_with_input(&mut Command::new("sha256sum"), text, "sha256sum")?)
}

struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    fn add_layer(&self, root: &Path, files: &[String], work: &Path) -> Result<Value> {
        let (list, layer) = (work.join("files"), work.join("layer"));
        fs::write(&list, files.iter().map(|f| format!("{f}\n")).collect::<String>())?;
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--owner=0", "--group=0", "--format=posix", "--xattrs", "-cf"])
            .arg(&layer);
        tar.arg("-C").arg(root).arg(".").args(["-C", "/", "--verbatim-files-from", "-T"]).arg(&list);
        run(&mut tar, "tar of an image's layer")?;
        let digest = digest_of(&run(Command::new("sha256sum").arg(&layer), "sha256sum")?)?;
        let size = fs::metadata(&layer)?.len();
        fs::rename(&layer, self.folder.join(&digest)).context(layer.display())?;
        Ok(descriptor("application/vnd.oci.image.layer.v1.tar", &digest, size))
    }

    fn add(&self, media_type: &str, content: &Value) -> Result<Value> {
        let text = content.to_string();
        let digest = sha256(&text)?;
        fs::write(self.folder.join(&digest), &text)?;
        Ok(descriptor(media_type, &digest, text.len() as u64))
    }
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

fn digest_of(line: &str) -> Result<String> {
    let digest = line.split(' ').next().filter(|d| d.len() == 64);
    digest.map(str::to_owned).ok_or_else(|| Error::new(format!("sha256sum printed {line:?}")))
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
