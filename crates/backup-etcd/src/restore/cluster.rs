//! The new cluster: its members and the ids that follow from them.
//!
//! Source: etcd `server/etcdserver/api/membership/{member,cluster}.go`. Ids are hashes of peer URLs and token, so that each
//! member computes the same ones by itself.

use backup_core::words::{Error, ErrorKind, Result};
use serde::Serialize;
use sha1::{Digest, Sha1};

/// More than anybody runs.
const MOST_MEMBERS: usize = 99;

/// A member of the new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name (`--name`).
    pub name: String,
    /// Where the other members reach it, sorted.
    pub peer_urls: Vec<String>,
    id: u64,
}

#[derive(Serialize)]
struct Attributes<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    name: &'a str,
}

#[derive(Serialize)]
struct RaftAttributes<'a> {
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
}

impl Member {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its id as etcd writes it: hexadecimal without leading zeros.
    pub fn hex_id(&self) -> String {
        format!("{:x}", self.id)
    }

    /// Its record in bucket `members`, and the context of the log entry that adds it.
    pub(super) fn json(&self) -> Result<String> {
        go_json(&Attributes { id: self.id, peer_urls: &self.peer_urls, name: &self.name })
    }

    /// The part of it that raft needs, as the v2 store keeps it.
    pub(super) fn raft_json(&self) -> Result<String> {
        go_json(&RaftAttributes { peer_urls: &self.peer_urls })
    }
}

/// JSON as Go writes it: `<`, `>` and `&` escaped too.
pub(super) fn go_json(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "write", "the members as JSON").because(e))?;
    Ok(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// The members of the new cluster, sorted by id, and its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    token: String,
    members: Vec<Member>,
}

impl Cluster {
    /// Reads members written as for etcd's `--initial-cluster`: `m1=http://10.0.0.1:2380,m2=...`; a name with several
    /// URLs is repeated. All members must be restored with the same list and token.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is no member, or one has no name or no URL, or a URL is used twice.
    pub fn parse(members: &str, token: &str) -> Result<Self> {
        let bad = |detail: String| {
            Error::new(ErrorKind::Config, "read the members", members).detail(detail).hint(
                "write them as for etcd's --initial-cluster: m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380",
            )
        };
        let mut cluster = Self { token: token.to_owned(), members: Vec::new() };
        for pair in members.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((name, url)) = pair.split_once('=').filter(|(name, _)| is_plain_name(name)) else {
                return Err(bad(format!("{pair:?} is not NAME=URL with a plain name")));
            };
            let url = url.trim_end_matches('/');
            if !is_peer_url(url) {
                return Err(bad(format!("{url:?} is no peer URL")));
            }
            if cluster.members.iter().any(|member| member.peer_urls.iter().any(|taken| taken == url)) {
                return Err(bad(format!("{url} is there twice")));
            }
            match cluster.members.iter_mut().find(|member| member.name == name) {
                Some(member) => member.peer_urls.push(url.to_owned()),
                None => cluster.members.push(Member {
                    name: name.to_owned(),
                    peer_urls: vec![url.to_owned()],
                    id: 0,
                }),
            }
        }
        if !(1..=MOST_MEMBERS).contains(&cluster.members.len()) {
            return Err(bad(format!("there are {}", cluster.members.len())));
        }
        for member in &mut cluster.members {
            member.peer_urls.sort();
            member.id = first_u64(&[member.peer_urls.concat().as_bytes(), token.as_bytes()]);
        }
        cluster.members.sort_by_key(Member::id);
        Ok(cluster)
    }

    /// Its token (`--initial-cluster-token`).
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its members, sorted by id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none.
    pub fn member(&self, name: &str) -> Result<&Member> {
        self.members.iter().find(|member| member.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
            Error::new(ErrorKind::Config, "find the member", name)
                .hint(format!("members are {}", names.join(", ")))
        })
    }

    /// The cluster's id.
    pub fn id(&self) -> u64 {
        let ids: Vec<[u8; 8]> = self.members.iter().map(|member| member.id.to_be_bytes()).collect();
        first_u64(&ids.iter().map(<[u8; 8]>::as_slice).collect::<Vec<_>>())
    }

    /// The members as etcd's `--initial-cluster` takes them, sorted by name.
    pub fn initial_cluster(&self) -> String {
        let mut pairs: Vec<String> = self
            .members
            .iter()
            .flat_map(|member| member.peer_urls.iter().map(|url| format!("{}={url}", member.name)))
            .collect();
        pairs.sort();
        pairs.join(",")
    }
}

/// A name becomes a folder's name: it must stay where it is put.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn is_peer_url(url: &str) -> bool {
    let address = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let port = address.and_then(|address| address.rsplit_once(':')).map(|(_, port)| port);
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn first_u64(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha1::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash = hash.finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_etcdutl_computes() {
        let members = "a=http://127.0.0.1:12480,b=http://127.0.0.1:12481,c=http://127.0.0.1:12482";
        let cluster = Cluster::parse(members, "tok").unwrap();
        let ids: Vec<String> = cluster.members().iter().map(Member::hex_id).collect();
        assert_eq!(ids, ["22edd762164260c", "4b52f6e1c5f35f85", "81de31854481925f"]);
        assert_eq!(format!("{:x}", cluster.id()), "469fa9c936a9e068");
        assert_eq!(cluster.initial_cluster(), members);
    }

    #[test]
    fn what_is_no_list_of_members_is_refused() {
        for bad in [
            "",
            "m1",
            "m1=127.0.0.1:2380",
            "m1=http://h",
            "../m1=http://h:1",
            "a=http://h:1,b=http://h:1",
            "a=http://h:1,b=http://h:1/",
        ] {
            assert_eq!(Cluster::parse(bad, "t").unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }

    #[test]
    fn json_is_escaped_as_go_does() {
        assert_eq!(go_json(&"a<b>&").unwrap(), r#""a\u003cb\u003e\u0026""#);
    }
}
