//! Which member to read from.

use std::collections::BTreeSet;

use backup_core::words::{Error, ErrorKind, Result};

/// Log entries that a member may be behind and still count as caught up: statuses are not read at the same moment.
const CAUGHT_UP: u64 = 1000;

/// How a member says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its client URL.
    pub endpoint: String,
    /// Its cluster.
    pub cluster_id: u64,
    /// Its id.
    pub member_id: u64,
    /// The newest revision that it has.
    pub revision: u64,
    /// Its version: 3.5.30.
    pub version: String,
    /// Bytes of its database.
    pub db_bytes: u64,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it knows a leader.
    pub has_leader: bool,
    /// Whether it only learns.
    pub is_learner: bool,
    /// The last entry of raft's log that it has applied.
    pub applied: u64,
    /// Alarms and other errors.
    pub errors: Vec<String>,
}

impl MemberStatus {
    fn is_corrupt(&self) -> bool {
        self.errors.iter().any(|error| error.contains("CORRUPT"))
    }
}

/// The members, best first: those that have not `failed` before, are not corrupt, have a vote and a leader, are caught up,
/// and do not lead (a snapshot slows the member that sends it).
///
/// # Errors
/// [`ErrorKind::Config`] when they belong to several clusters.
pub fn rank(mut members: Vec<MemberStatus>, failed: &BTreeSet<String>) -> Result<Vec<MemberStatus>> {
    if let Some(other) = members.iter().find(|member| member.cluster_id != members[0].cluster_id) {
        return Err(Error::new(ErrorKind::Config, "choose a member of", "etcd")
            .detail(format!("{} and {} belong to two clusters", members[0].endpoint, other.endpoint))
            .hint("make one component for each cluster"));
    }
    let newest = members.iter().map(|member| member.applied).max().unwrap_or_default();
    // The sort is stable: equals stay in the configured order.
    members.sort_by_key(|member| {
        (
            failed.contains(&member.endpoint),
            member.is_corrupt(),
            member.is_learner,
            !member.has_leader,
            newest - member.applied > CAUGHT_UP,
            member.is_leader,
        )
    });
    Ok(members)
}

/// What should be looked at in these members.
pub fn warnings(members: &[MemberStatus]) -> Vec<String> {
    let mut warnings = BTreeSet::new();
    for member in members {
        // An alarm stands in every member's status, and names the one that it is about.
        warnings.extend(member.errors.iter().map(|error| format!("etcd says: {error}")));
        if !member.has_leader {
            warnings.insert(format!("{} knows no leader: the cluster has no quorum", member.endpoint));
        }
    }
    warnings.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(endpoint: &str) -> MemberStatus {
        MemberStatus {
            endpoint: endpoint.to_owned(),
            cluster_id: 1,
            member_id: 2,
            revision: 3,
            version: "3.5.30".to_owned(),
            db_bytes: 4,
            is_leader: false,
            has_leader: true,
            is_learner: false,
            applied: 10_000,
            errors: Vec::new(),
        }
    }

    fn order(members: Vec<MemberStatus>, failed: &[&str]) -> Vec<String> {
        let failed = failed.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        rank(members, &failed).unwrap().into_iter().map(|member| member.endpoint).collect()
    }

    #[test]
    fn a_healthy_follower_that_is_caught_up_comes_first() {
        let members = vec![
            MemberStatus { errors: vec!["memberID:2 alarm:CORRUPT ".to_owned()], ..member("corrupt") },
            MemberStatus { is_learner: true, ..member("learner") },
            MemberStatus { has_leader: false, ..member("alone") },
            MemberStatus { applied: 10, ..member("behind") },
            MemberStatus { is_leader: true, ..member("leader") },
            member("follower"),
        ];
        let expected = ["follower", "leader", "behind", "alone", "learner", "corrupt"];
        assert_eq!(order(members, &[]), expected);
    }

    #[test]
    fn one_that_has_failed_comes_last_and_equals_keep_their_order() {
        let members = || vec![member("a"), member("b"), member("c")];
        assert_eq!(order(members(), &[]), ["a", "b", "c"]);
        assert_eq!(order(members(), &["a"]), ["b", "c", "a"]);
    }

    #[test]
    fn members_of_two_clusters_are_refused() {
        let members = vec![member("a"), MemberStatus { cluster_id: 9, ..member("b") }];
        assert_eq!(rank(members, &BTreeSet::new()).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn an_alarm_that_all_members_tell_is_said_once() {
        let alarm = |endpoint| MemberStatus { errors: vec!["alarm:NOSPACE".to_owned()], ..member(endpoint) };
        assert_eq!(warnings(&[alarm("a"), alarm("b")]), ["etcd says: alarm:NOSPACE"]);
    }
}
