//! A person with a folder of the store, a shell and the servers' own tools restores all of it by following RESTORE.txt.

mod e2e;
mod support;

use std::{path::Path, time::Duration};

use backup_testkit::servers::{
    Etcd, EtcdCluster, EtcdOptions, PostgresServer, SampleData, Sql, etcd_keys, poll,
};
use e2e::{
    Started, assert_same_lines, backup,
    by_hand::Hands,
    config, dumpall, etcd_bin, own_keys, path_with,
    store::{artifact, record},
};
use serde_json::Value;
use support::{Bench, tree};

#[test]
fn everything_comes_back_by_the_steps_of_restore_txt_without_the_product() {
    let mut etcd = EtcdCluster::start(3, Etcd::V35, EtcdOptions::default()).unwrap();
    etcd.put_many(etcd_keys(500)).unwrap();
    etcd.put("/service/crm/config", r#"{"ttl": 30}"#).unwrap();
    etcd.put("/service/crm/initialize", "7711738929825468708").unwrap();
    let server = PostgresServer::start(15).unwrap();
    SampleData::default().load(server.sql()).unwrap();
    let mut bench = Bench::with_files();
    let sections = [config::etcd(&etcd), config::server(server.sql()), config::files(&bench)];
    config::write(&mut bench, &sections);
    bench.run(&["init"]).exits(0);
    let session = backup(&bench)["session_id"].as_str().unwrap().to_owned();

    each_artifact_is_a_plain_gzip_file(&bench, &session);
    let fresh = PostgresServer::start(15).unwrap();
    let hands = unpacked(&bench, &session, &etcd, fresh.sql());
    the_hashes_agree(&hands);
    files_come_back(&hands, &bench.path("data"));
    postgresql_comes_back(&hands, server.sql(), fresh.sql());
    etcd_comes_back(&hands, &mut etcd);
}

fn each_artifact_is_a_plain_gzip_file(bench: &Bench, session: &str) {
    let hands = Hands { folder: bench.path("store"), env: Vec::new() };
    for component in ["etcd", "postgres", "web"] {
        let plain = record(bench, session, component)["artifacts"][0]["plain"]["sha256"].clone();
        let file = artifact(bench, session, component);
        for tool in ["gunzip -c", "zcat"] {
            let said = hands.run(&format!("{tool} '{}' | sha256sum", file.display()));
            assert_eq!(said.split_whitespace().next(), plain.as_str(), "{tool} {}", file.display());
        }
        hands.run(&format!("gzip -t '{}'", file.display()));
    }
}

/// The archive unpacked by tar in an empty folder, with the tools of the servers at hand.
fn unpacked(bench: &Bench, session: &str, etcd: &EtcdCluster, fresh: &Sql) -> Hands {
    let folder = bench.path("by-hand");
    std::fs::create_dir(&folder).unwrap();
    let env = [
        ("PATH", path_with(&[etcd_bin(etcd), fresh.tools.bin.clone()])),
        ("PGHOST", "127.0.0.1".to_owned()),
        ("PGPORT", fresh.port.to_string()),
        ("PGUSER", fresh.user.clone()),
        ("PGPASSWORD", fresh.password.clone()),
    ];
    let hands = Hands { folder, env: env.map(|(name, value)| (name.to_owned(), value)).to_vec() };
    let archives = bench.path("store/daily/unified");
    hands.run(&format!("tar xzf {}/crm_unified_backup_*.tar.gz", archives.display()));
    let stamp = session.strip_prefix("backup_").unwrap();
    let expected = [
        "RESTORE.txt".to_owned(),
        "contents.json".to_owned(),
        format!("etcd/etcd_backup_{stamp}.db"),
        format!("postgres/postgres_{stamp}.sql"),
        format!("web/web_backup_{stamp}.tar"),
    ];
    assert_eq!(tree(&hands.folder), expected);
    hands
}

fn the_hashes_agree(hands: &Hands) {
    let commands = hands.commands("");
    assert_eq!(commands.len(), 1, "{commands:?}");
    let said = hands.run(&commands[0]);
    assert_eq!(said.lines().filter(|line| line.ends_with(": OK")).count(), 3, "{said}");
    let contents = std::fs::read_to_string(hands.folder.join("contents.json")).unwrap();
    let contents: Value = serde_json::from_str(&contents).unwrap();
    for file in contents["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        let said = hands.run(&format!("sha256sum {path} && stat -c %s {path}"));
        let expected = format!("{}  {path}\n{}\n", file["sha256"].as_str().unwrap(), file["size"]);
        assert_eq!(said, expected);
    }
}

fn files_come_back(hands: &Hands, data: &Path) {
    let commands = hands.commands("web");
    assert_eq!(commands.len(), 1, "{commands:?}");
    hands.run(&commands[0]);
    hands.run(&format!("diff -r '{}' restored/web", data.display()));
}

fn postgresql_comes_back(hands: &Hands, from: &Sql, fresh: &Sql) {
    let commands = hands.commands("postgres");
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert!(commands[0].starts_with("psql -X -f postgres/"), "{commands:?}");
    // Whatever the file says of errors itself: not one may come.
    hands.run(&format!("{} 2>errors.txt", commands[0].replace("psql ", "psql -v ON_ERROR_STOP=1 ")));
    let errors = std::fs::read_to_string(hands.folder.join("errors.txt")).unwrap();
    assert!(!errors.contains("ERROR"), "{errors}");
    assert_same_lines(&dumpall(fresh), &dumpall(from));
    for database in SampleData::DATABASES {
        assert_eq!(fresh.row_counts(database).unwrap(), from.row_counts(database).unwrap());
    }
    let objects =
        "select loid, md5(string_agg(data, '' order by pageno)) from pg_largeobject group by 1 order by 1";
    let expected = from.run("crm", objects).unwrap();
    assert_eq!(expected.lines().count(), 2);
    assert_eq!(fresh.run("crm", objects).unwrap(), expected);
}

fn etcd_comes_back(hands: &Hands, etcd: &mut EtcdCluster) {
    let keys = own_keys(etcd);
    for i in 0..etcd.len() {
        etcd.kill(i);
    }
    let commands = hands.commands("etcd");
    let (starts, others): (Vec<&String>, Vec<&String>) =
        commands.iter().partition(|command| command.starts_with("etcd "));
    let (restores, afterwards): (Vec<&String>, Vec<&String>) =
        others.into_iter().partition(|command| command.starts_with("etcdutl snapshot restore "));
    assert_eq!((restores.len(), starts.len(), afterwards.len()), (3, 3, 2), "{commands:#?}");
    restores.iter().for_each(|command| drop(hands.run(command)));
    let mut members = Started::default();
    let path = path_with(&[etcd_bin(etcd)]);
    starts.iter().for_each(|command| members.shell(command, &hands.folder, &path));
    poll("the restored etcd", Duration::from_secs(30), || etcd.put("/after", "restore")).unwrap();
    etcd.delete("/after").unwrap();
    assert_same_lines(&own_keys(etcd), &keys);
    let hashes = poll("all members", Duration::from_secs(30), || {
        let hashes = etcd.hash_kv(0).map_err(|e| e.to_string())?;
        if hashes.iter().all(|hash| *hash == hashes[0]) { Ok(hashes) } else { Err(format!("{hashes:?}")) }
    });
    assert_eq!(hashes.unwrap().len(), 3);
    // What would keep a new Patroni waiting goes as the text says; its configuration stays.
    let deleted: Vec<String> = afterwards.iter().map(|command| hands.run(command)).collect();
    assert_eq!(deleted, ["1\n", "0\n"]);
    assert_eq!(etcd.get("/service/crm/initialize").unwrap(), None);
    assert!(etcd.get("/service/crm/config").unwrap().is_some());
}
