//! Buckets, made as each server's owner would: no client of ours is needed.

use super::super::error::{Context, Error, Result};
use super::super::http::{self, Response};
use super::super::process::run_with_input;
use super::super::toolbox::Toolbox;
use super::{ObjectServer, Objects};
use std::fs;
use std::process::Command;

pub(super) fn make(server: &ObjectServer, name: &str) -> Result<()> {
    let port = server.port();
    match server.kind {
        Objects::SeaweedFs => {
            let filer = server.admin.unwrap_or(port);
            accept(http::request(filer, "POST", &format!("/buckets/{name}/"), &[], "")?, name)
        }
        Objects::VersityGw => fs::create_dir(server.data().join(name)).context(name),
        Objects::Moto => accept(http::request(port, "PUT", &format!("/{name}"), &[], "")?, name),
        Objects::Azurite => make_container(port, name),
    }
}

pub(super) fn make_locking(server: &ObjectServer, name: &str) -> Result<()> {
    match server.kind {
        Objects::Moto => {
            let lock = ["x-amz-bucket-object-lock-enabled: true".to_owned()];
            accept(http::request(server.port(), "PUT", &format!("/{name}"), &lock, "")?, name)
        }
        other => Err(Error::new(format!("{other}: buckets with locks are not made here"))),
    }
}

pub(super) fn remove(server: &ObjectServer, name: &str) -> Result<()> {
    match server.kind {
        Objects::SeaweedFs => {
            let filer = server.admin.unwrap_or(server.port());
            let path = format!("/buckets/{name}?recursive=true");
            accept(http::request(filer, "DELETE", &path, &[], "")?, name)
        }
        Objects::VersityGw => fs::remove_dir_all(server.data().join(name)).context(name),
        other => Err(Error::new(format!("{other}: buckets are not removed here"))),
    }
}

fn accept(answer: Response, name: &str) -> Result<()> {
    match answer.status {
        200..300 => Ok(()),
        status => Err(Error::new(format!("bucket {name}: HTTP {status}: {}", answer.body))),
    }
}

/// Azure takes no anonymous request for that: this one is signed (Shared Key).
fn make_container(port: u16, name: &str) -> Result<()> {
    let account = ObjectServer::AZURE_ACCOUNT;
    let date = run_with_input(Command::new("date").args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]), "", "date")?;
    let date = date.trim();
    let version = "2021-08-06";
    // Verb, eleven headers that are not there, x-ms headers, resource.
    let text = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n\
         /{account}/{account}/{name}\nrestype:container"
    );
    let signature = sign(&text)?;
    let headers = [
        format!("x-ms-date: {date}"),
        format!("x-ms-version: {version}"),
        format!("Authorization: SharedKey {account}:{signature}"),
    ];
    let path = format!("/{account}/{name}?restype=container");
    accept(http::request(port, "PUT", &path, &headers, "")?, name)
}

/// HMAC-SHA256 with Azurite's key, in base64.
fn sign(text: &str) -> Result<String> {
    let key = http::unbase64(ObjectServer::AZURE_KEY).ok_or_else(|| Error::new("Azurite's key is base64"))?;
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut openssl = Command::new(Toolbox::open()?.openssl()?);
    openssl.args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{key}")]);
    let said = run_with_input(&mut openssl, text, "openssl dgst")?;
    let hex = said.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let bytes: Option<Vec<u8>> =
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()).collect();
    Ok(http::base64(&bytes.ok_or_else(|| Error::new(format!("openssl said {said}")))?))
}
