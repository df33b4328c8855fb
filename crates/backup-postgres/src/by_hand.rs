//! How a person restores the dump with psql alone.

use backup_core::words::ComponentRecord;

use crate::facts::Facts;

/// The lines for `RESTORE.txt`; those that begin with `$ ` are commands.
pub(crate) fn lines(record: &ComponentRecord) -> Vec<String> {
    let (Some(artifact), Ok(facts)) = (record.artifacts.first(), Facts::from_map(&record.facts)) else {
        return Vec::new();
    };
    let databases: Vec<&str> = facts.databases.keys().map(String::as_str).collect();
    vec![
        format!(
            "The whole cluster as SQL: {} roles, and the databases {}. It goes into a fresh cluster (initdb) of PostgreSQL {} \
             or newer; extensions and the folders of tablespaces must be there.",
            facts.roles,
            databases.join(", "),
            facts.server_version
        ),
        "As a superuser; PGHOST, PGPORT, PGUSER and PGPASSWORD say where. It stops at the first error:"
            .to_owned(),
        format!("$ psql -X -f {}/{} postgres", record.name, artifact.name),
        "Under Patroni, load it into the leader of a new cluster: the replicas follow.".to_owned(),
    ]
}
