//! Commands around a restore: those of the configuration, and those that a person runs.

use std::path::Path;

use backup_core::{
    traits::{Command, Place},
    words::{ComponentRecord, Error, ErrorKind, Result},
};
use serde::Deserialize;

use super::options::Understood;
use crate::{inspect::MemberRecord, restore::Member};

/// Runs a configured command: once for each restored member if it has a member's placeholder, else once. Returns how often.
pub(super) async fn run(place: &dyn Place, command: &[String], understood: &Understood) -> Result<usize> {
    let cluster = understood.cluster()?;
    let by_member =
        command.iter().any(|word| ["{name}", "{dir}", "{peer_urls}"].iter().any(|p| word.contains(p)));
    let members = if by_member { understood.dirs.as_slice() } else { &understood.dirs[..1] };
    for (name, dir) in members {
        let words: Vec<String> = command
            .iter()
            .map(|word| fill(word, cluster.member(name)?, dir, understood))
            .collect::<Result<_>>()?;
        let Some((program, arguments)) = words.split_first() else {
            return Err(Error::new(ErrorKind::Config, "run", "an empty command"));
        };
        place.output(&Command::new(program).args(arguments)).await?;
    }
    Ok(members.len())
}

fn fill(word: &str, member: &Member, dir: &Path, understood: &Understood) -> Result<String> {
    let dir = dir.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Config, "pass to a command", dir.display().to_string()).detail("it is no UTF-8")
    })?;
    Ok(word
        .replace("{name}", &member.name)
        .replace("{dir}", dir)
        .replace("{peer_urls}", &member.peer_urls.join(","))
        .replace("{cluster}", &understood.members)
        .replace("{token}", &understood.token))
}

/// The command that starts each restored member.
pub(super) fn printed_start(record: &ComponentRecord, understood: &Understood) -> Result<Vec<String>> {
    let cluster = understood.cluster()?;
    let old: Vec<MemberRecord> =
        record.facts.get("members").and_then(|members| Vec::deserialize(members).ok()).unwrap_or_default();
    let mut commands = Vec::new();
    for (name, dir) in &understood.dirs {
        let member = cluster.member(name)?;
        let peers = member.peer_urls.join(",");
        let known = old.iter().find(|old| old.name == *name).map(|old| old.client_urls.join(","));
        let clients = known.filter(|urls| !urls.is_empty()).unwrap_or_else(|| client_urls(member));
        commands.push(format!(
            "etcd --name {name} --data-dir {} --listen-peer-urls {peers} --initial-advertise-peer-urls {peers} \
             --listen-client-urls {clients} --advertise-client-urls {clients} --initial-cluster {} \
             --initial-cluster-token {} --initial-cluster-state new",
            dir.display(),
            understood.members,
            understood.token,
        ));
    }
    Ok(commands)
}

/// etcd's client port on the member's own host.
fn client_urls(member: &Member) -> String {
    let of_peer =
        |url: &String| url.rsplit_once(':').map_or_else(|| url.clone(), |(host, _)| format!("{host}:2379"));
    member.peer_urls.iter().map(of_peer).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use backup_core::traits::LocalPlace;

    use super::*;
    use crate::patroni::PatroniKeys;

    fn understood(folder: &Path) -> Understood {
        Understood {
            dirs: ["a", "b"].map(|name| (name.to_owned(), folder.join(name))).to_vec(),
            members: "a=http://h1:2380,b=http://h2:2380".to_owned(),
            token: "t".to_owned(),
            bump: 1,
            keys: PatroniKeys::All,
            namespace: "/service".to_owned(),
            target: None,
            force: false,
            endpoints: Vec::new(),
        }
    }

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_command_with_a_members_placeholder_runs_once_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let understood = understood(folder.path());
        let touch =
            words(&["sh", "-c", "echo \"$1\" >> \"$2.said\"", "sh", "{name} {peer_urls} {token}", "{dir}"]);
        assert_eq!(run(&LocalPlace, &touch, &understood).await.unwrap(), 2);
        let said = std::fs::read_to_string(folder.path().join("b.said")).unwrap();
        assert_eq!(said, "b http://h2:2380 t\n");
        assert_eq!(run(&LocalPlace, &words(&["true"]), &understood).await.unwrap(), 1);
        assert!(run(&LocalPlace, &words(&["false", "{name}"]), &understood).await.is_err());
    }

    #[test]
    fn a_restored_member_is_started_with_its_own_folder_and_urls() {
        let record = backup_core::words::ComponentRecord {
            name: "etcd".to_owned(),
            kind: backup_core::words::Kind { name: "etcd".to_owned(), format: 1 },
            status: backup_core::words::ComponentStatus::Success,
            point: None,
            facts: Default::default(),
            duration_seconds: 0.0,
            errors: Vec::new(),
            warnings: Vec::new(),
            coverage: Vec::new(),
            artifacts: Vec::new(),
        };
        let commands = printed_start(&record, &understood(&PathBuf::from("/r"))).unwrap();
        assert!(commands[1].starts_with("etcd --name b --data-dir /r/b --listen-peer-urls http://h2:2380 "));
        assert!(commands[1].contains("--listen-client-urls http://h2:2379 "), "{}", commands[1]);
    }
}
