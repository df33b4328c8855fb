//! Looking for etcd.

use std::time::Duration;

use backup_core::traits::Detected;

use crate::live::{Access, Connector};

/// How long a host may take: most have none.
const WITHIN: Duration = Duration::from_secs(3);
const PORT: u16 = 2379;

/// The first etcd that one of `hosts` answers for, with all its members.
pub(super) async fn detect(hosts: &[String]) -> Option<Detected> {
    let access =
        Access { user: None, password: None, tls: None, connect_timeout: WITHIN, message_timeout: WITHIN };
    let connector = Connector::new(&access).await.ok()?;
    let with_port = |host: &String| if host.contains(':') { host.clone() } else { format!("{host}:{PORT}") };
    let endpoints: Vec<String> = hosts.iter().map(|host| format!("http://{}", with_port(host))).collect();
    let answers = connector.statuses(&endpoints).await;
    let (endpoint, status) =
        answers.into_iter().find_map(|(endpoint, status)| Some((endpoint, status.ok()?)))?;
    // With etcd's own authentication, members are told to nobody: the one that answered will do to begin with.
    let members = match connector.client_urls(&endpoint).await {
        Ok(urls) if !urls.is_empty() => urls,
        _ => vec![endpoint],
    };
    let listed: Vec<String> = members.iter().map(|url| format!("{url:?}")).collect();
    Some(Detected {
        what: format!("etcd {}, {} member(s)", status.version, members.len()),
        section: format!(
            "[[component]]\nkind = \"etcd\"\nendpoints = [{}]\n# user = \"root\"\n# password = {{ env = \"ETCD_PASSWORD\" }}   # where \
             etcd asks for it",
            listed.join(", ")
        ),
    })
}
