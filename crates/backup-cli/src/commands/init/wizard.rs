//! Questions, and what follows from the answers.

use std::{collections::BTreeMap, path::Path};

use backup_core::{
    traits::Detected,
    words::{Error, ErrorKind, Result, check_component_name},
};
use chrono_tz::Tz;

use super::template::Choices;
use crate::render::ask_line;

/// Asks what a configuration needs; the hosts to look around on, none for not at all.
pub(super) async fn ask(choices: &mut Choices, hosts: Option<Vec<String>>) -> Result<Option<Vec<String>>> {
    choices.name = question("What is the stack called?", &choices.name, |name| {
        check_component_name(name).map_err(|e| e.advice().unwrap_or("this does not do as a name").to_owned())
    })
    .await?;
    let zone = host_zone();
    let zone = question("In which time zone does a day begin?", zone.as_deref().unwrap_or("UTC"), |zone| {
        zone.parse::<Tz>()
            .map(drop)
            .map_err(|_| "write an IANA name, such as UTC or Europe/Berlin".to_owned())
    })
    .await?;
    choices.time_zone = Some(zone).filter(|zone| zone != "UTC");
    choices.store =
        question("In which folder are backups kept? (Buckets can be added later.)", &choices.store, absolute)
            .await?;
    let key = question(
        "For which public key are they encrypted? (age1..., from `ha-backup keygen` on another host; none for not at all)",
        "none",
        |key| match key {
            "none" => Ok(()),
            key if key.starts_with("age1") && key.len() == 62 => Ok(()),
            _ => Err("a public key begins with age1 and has 62 characters".to_owned()),
        },
    )
    .await?;
    choices.recipient = Some(key).filter(|key| key != "none");
    let email = question("Who gets mail when something is wrong? (none for nobody)", "none", |email| {
        match email == "none" || email.contains('@') {
            true => Ok(()),
            false => Err("this is no address".to_owned()),
        }
    })
    .await?;
    choices.email = Some(email).filter(|email| email != "none");
    if choices.email.is_some() {
        choices.state_dir = Some(choices.usual_state.clone());
    }
    if hosts.is_some() {
        return Ok(hosts);
    }
    let named = question(
        "On which hosts may etcd and Patroni be? (This one is looked at anyway; several with spaces; no for not to look)",
        "this one",
        |_| Ok(()),
    )
    .await?;
    Ok(match named.as_str() {
        "no" => None,
        "this one" => Some(Vec::new()),
        hosts => Some(hosts.split([' ', ',']).filter(|host| !host.is_empty()).map(str::to_owned).collect()),
    })
}

/// Asks which folder is backed up; where other things were found it need not be one.
pub(super) async fn ask_for_folder(
    choices: &mut Choices,
    detected: &BTreeMap<&'static str, Vec<Detected>>,
) -> Result<()> {
    let usual = if detected.is_empty() { choices.folder.clone() } else { None };
    let found = detected.values().flatten().map(|found| found.what.as_str()).collect::<Vec<_>>().join(", ");
    let text = match found.is_empty() {
        true => "Which folder is backed up?".to_owned(),
        false => format!("Found {found}. Which folder is backed up too? (none for no folder)"),
    };
    let usual = usual.unwrap_or_else(|| "none".to_owned());
    let folder =
        question(&text, &usual, |folder| if folder == "none" { Ok(()) } else { absolute(folder) }).await?;
    choices.folder = Some(folder).filter(|folder| folder != "none");
    Ok(())
}

fn absolute(path: &str) -> Result<(), String> {
    if Path::new(path).is_absolute() { Ok(()) } else { Err("write the whole path, from / on".to_owned()) }
}

/// Asks until the answer is right; an empty one is `usual`.
async fn question(
    text: &str,
    usual: &str,
    check: impl Fn(&str) -> std::result::Result<(), String>,
) -> Result<String> {
    loop {
        let Some(line) = ask_line(&format!("{text} [{usual}] ")).await? else {
            return Err(Error::new(ErrorKind::Config, "ask", text)
                .detail("there is no answer")
                .hint("answer at a terminal, or leave --wizard out and change what `init` writes"));
        };
        let answer = match line.trim() {
            "" => usual.to_owned(),
            given => given.to_owned(),
        };
        match check(&answer) {
            Ok(()) => return Ok(answer),
            Err(why) => crate::render::eprintln_quietly(&format!("  {why}")),
        }
    }
}

/// The host's time zone, by the link that systemd and most others make.
fn host_zone() -> Option<String> {
    let link = std::fs::read_link("/etc/localtime").ok()?;
    let (_, name) = link.to_str()?.split_once("/zoneinfo/")?;
    let known = name.parse::<Tz>().ok()?;
    Some(known.name().trim_start_matches("Etc/").to_owned())
}
