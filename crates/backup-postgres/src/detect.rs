//! Looking for Patroni.

use backup_core::traits::{Detected, Node, Place};
use serde_json::json;

use crate::{
    config::Config,
    connect::{Member, Tls, cluster},
};

const PORT: u16 = 8008;

/// The first cluster that a Patroni on one of `hosts` tells of, with all its members.
pub(crate) async fn detect(hosts: &[String], place: &dyn Place) -> Option<Detected> {
    let with_port = |host: &String| if host.contains(':') { host.clone() } else { format!("{host}:{PORT}") };
    let urls: Vec<String> = hosts.iter().map(|host| format!("http://{}", with_port(host))).collect();
    let config: Config = Node::new(json!({ "patroni": urls })).parse().ok()?;
    let tls = Tls::new(&config).ok()?;
    let asked = urls.iter().map(|url| cluster(place, &tls, url, None));
    let answers = futures::future::join_all(asked).await;
    let answered = urls.iter().zip(answers).find_map(|(url, answer)| Some((url, answer.ok()?)));
    let Some((url, found)) = answered else { return alone() };
    let mut members: Vec<String> = found.members.iter().filter_map(Member::api).collect();
    if members.is_empty() {
        members.push(url.clone());
    }
    let listed: Vec<String> = members.iter().map(|url| format!("{url:?}")).collect();
    let scope = found.scope.as_deref().unwrap_or("without a name");
    Some(Detected {
        what: format!("PostgreSQL under Patroni, cluster {scope}, {} member(s)", found.members.len()),
        section: format!(
            "[[component]]\nkind = \"postgres\"\npatroni = [{}]\nuser = \"postgres\"\npassword = {{ env = \"PGPASSWORD\" }}",
            listed.join(", ")
        ),
    })
}

/// A PostgreSQL on this host, without Patroni.
fn alone() -> Option<Detected> {
    const FOLDER: &str = "/var/run/postgresql";
    std::path::Path::new(FOLDER).join(".s.PGSQL.5432").exists().then(|| Detected {
        what: format!("PostgreSQL on this host, at {FOLDER}"),
        section: format!("[[component]]\nkind = \"postgres\"\nhost = \"{FOLDER}\"\nuser = \"postgres\""),
    })
}
