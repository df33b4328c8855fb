//! Configurations of real servers.

use backup_testkit::servers::{EtcdCluster, PatroniCluster, Sql};

use crate::support::Bench;

/// The variable that holds PostgreSQL's password.
pub(crate) const PG_PASSWORD: &str = "E2E_PG_PASSWORD";

/// Writes `ha-backup.toml` with a store in `store` and these component sections.
pub(crate) fn write(bench: &mut Bench, sections: &[String]) {
    // The harness gives all servers the same one.
    bench.env(PG_PASSWORD, "pass word:'\\$");
    write_as(bench, "ha-backup.toml", sections);
}

/// Writes another configuration of the same store.
pub(crate) fn write_as(bench: &Bench, file: &str, sections: &[String]) {
    let store = bench.path("store");
    let head = format!("name = \"crm\"\n[[store]]\nkind = \"local\"\npath = {store:?}\n");
    bench.write(file, &format!("{head}{}", sections.concat()));
}

/// A section for all members.
pub(crate) fn etcd(etcd: &EtcdCluster) -> String {
    etcd_at(&etcd.endpoints())
}

/// A section for these endpoints; a silent member is given up after some seconds.
pub(crate) fn etcd_at(endpoints: &[String]) -> String {
    format!(
        "[[component]]\nkind = \"etcd\"\nendpoints = {endpoints:?}\nconnect_timeout = 2\nmessage_timeout = 3\n"
    )
}

/// A section for all members of Patroni.
pub(crate) fn patroni(patroni: &PatroniCluster) -> String {
    let mut section = String::from("[[component]]\nkind = \"postgres\"\n");
    section.push_str(&format!("patroni = {:?}\n", patroni.rest_urls()));
    section + &login(&patroni.sql(0))
}

/// A section for one server.
pub(crate) fn server(sql: &Sql) -> String {
    let mut section = String::from("[[component]]\nkind = \"postgres\"\n");
    section.push_str(&format!("host = \"127.0.0.1\"\nport = {}\n", sql.port));
    section + &login(sql)
}

fn login(sql: &Sql) -> String {
    format!(
        "user = {:?}\npassword = {{ env = {PG_PASSWORD:?} }}\nbin_folders = [{:?}]\n",
        sql.user, sql.tools.bin
    )
}

/// A section for the folder `data` of the bench.
pub(crate) fn files(bench: &Bench) -> String {
    format!("[[component]]\nkind = \"files\"\nname = \"web\"\npath = {:?}\n", bench.path("data"))
}
