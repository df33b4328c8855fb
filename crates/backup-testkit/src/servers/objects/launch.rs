//! How each server is started, and when it is ready.

use super::super::error::Result;
use super::super::http;
use super::super::ports::Port;
use super::{ObjectServer, Objects};
use std::fs;
use std::path::Path;

/// What a server is started with.
pub(super) struct Launch {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) admin: Option<u16>,
}

/// SeaweedFS is several servers in one.
pub(super) fn inner_ports(kind: Objects) -> Result<Vec<Port>> {
    let count = if kind == Objects::SeaweedFs { 9 } else { 0 };
    (0..count).map(|_| Port::reserve()).collect()
}

pub(super) fn arguments(kind: Objects, port: u16, inner: &[Port], cwd: &Path) -> Result<Launch> {
    let data = cwd.join("data").display().to_string();
    let text = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let listen = port.to_string();
    let mut launch = Launch { args: Vec::new(), env: Vec::new(), admin: None };
    match kind {
        Objects::SeaweedFs => {
            let config = cwd.join("s3.json");
            fs::write(&config, identities().to_string())?;
            launch.args = seaweedfs(port, inner, &data, &config);
            launch.admin = inner.get(FILER).map(Port::number);
        }
        Objects::VersityGw => {
            let versions = cwd.join("versions");
            fs::create_dir_all(&versions)?;
            let versions = versions.display().to_string();
            launch.args = text(&["--port", &format!("127.0.0.1:{port}"), "posix"]);
            launch.args.extend(text(&["--versioning-dir", &versions, &data]));
            launch.env = vec![
                ("ROOT_ACCESS_KEY".to_owned(), ObjectServer::ACCESS_KEY.to_owned()),
                ("ROOT_SECRET_KEY".to_owned(), ObjectServer::SECRET_KEY.to_owned()),
            ];
        }
        Objects::Moto => launch.args = text(&["-H", "127.0.0.1", "-p", &listen]),
        Objects::Azurite => {
            launch.args = text(&["--blobHost", "127.0.0.1", "--blobPort", &listen, "-l", &data]);
            launch.args.extend(text(&["--skipApiVersionCheck", "--disableTelemetry", "--silent"]));
        }
    }
    Ok(launch)
}

fn identities() -> serde_json::Value {
    let open = ["Read", "Write", "List"].map(|action| format!("{action}:{}", ObjectServer::OPEN_BUCKET));
    serde_json::json!({"identities": [
        {
            "name": "test",
            "credentials": [{"accessKey": ObjectServer::ACCESS_KEY, "secretKey": ObjectServer::SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        { "name": "anonymous", "actions": open },
    ]})
}

/// Places among the inner ports.
const FILER: usize = 4;

fn seaweedfs(port: u16, inner: &[Port], data: &str, config: &Path) -> Vec<String> {
    let mut args = vec![
        "server".to_owned(),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-dir={data}"),
        "-filer".to_owned(),
        "-s3".to_owned(),
        format!("-s3.port={port}"),
        format!("-s3.config={}", config.display()),
        "-master.volumeSizeLimitMB=100".to_owned(),
        "-master.telemetry=false".to_owned(),
        "-volume.max=200".to_owned(),
    ];
    let names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port.grpc",
        "s3.port.iceberg",
        "s3.port.lance",
    ];
    args.extend(names.iter().zip(inner).map(|(name, port)| format!("-{name}={}", port.number())));
    args
}

/// An answer is enough, but for SeaweedFS, whose parts must know each other.
pub(super) fn is_ready(kind: Objects, port: u16, admin: Option<u16>) -> std::result::Result<(), String> {
    let answer = |port, path| http::get(port, path).map_err(|e| e.to_string());
    answer(port, "/")?;
    let (Objects::SeaweedFs, Some(filer)) = (kind, admin) else { return Ok(()) };
    // A file that can be written takes a volume server that the master knows.
    let written = http::request(filer, "PUT", "/ready", &[], "ready").map_err(|e| e.to_string())?;
    match written.status {
        200..300 => Ok(()),
        status => Err(format!("the filer answers {status}: {}", written.body)),
    }
}
