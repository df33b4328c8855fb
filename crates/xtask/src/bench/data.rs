//! Data that looks like what people back up.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use backup_testkit::servers::{EtcdCluster, Sql};

use super::Outcome;

/// Objects as Kubernetes keeps them, about `megabytes` of them.
pub(super) fn fill_etcd(etcd: &EtcdCluster, megabytes: u64) -> Outcome<()> {
    println!("filling etcd with {megabytes} MB");
    let objects = megabytes * 1_000_000 / 2_600;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let pairs = (0..objects).map(|i| {
        let namespace = ["crm", "supabase", "fastapi", "monitoring"][i as usize % 4];
        (format!("/registry/configmaps/{namespace}/item-{i:06}"), config_map(namespace, i, &mut random))
    });
    etcd.put_many(pairs)?;
    Ok(())
}

fn config_map(namespace: &str, number: u64, random: &mut Random) -> String {
    let mut text = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"item-{number:06}\",\"namespace\":\"{namespace}\",\
         \"uid\":\"{:016x}-{:016x}\",\"labels\":{{\"app.kubernetes.io/name\":\"{namespace}\",\"app.kubernetes.io/instance\":\"{}\"}}}},\"data\":{{",
        random.next(),
        random.next(),
        random.word()
    );
    for entry in 0..12 {
        text.push_str(&format!("\"setting.{}.{entry}\":\"{}\",", random.word(), sentence(random, 22)));
    }
    text.push_str("\"end\":\"\"}}");
    text
}

/// A database `bench` whose dump has about `megabytes` of text: users, orders, JSON events with an index, articles.
pub(super) fn fill_postgres(sql: &Sql, megabytes: u64) -> Outcome<()> {
    println!("filling PostgreSQL with {megabytes} MB");
    sql.run("postgres", "create database bench")?;
    let script = include_str!("data.sql").replace("UNITS", &(megabytes * 64).to_string());
    sql.run("bench", &script)?;
    Ok(())
}

/// A file of text of that many bytes.
pub(super) fn write_file(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut left = bytes;
    while left > 0 {
        let mut line = sentence(&mut random, 40).into_bytes();
        line.push(b'\n');
        let size = left.min(line.len() as u64);
        file.write_all(&line[..size as usize])?;
        left -= size;
    }
    file.flush()
}

fn sentence(random: &mut Random, words: usize) -> String {
    (0..words).map(|_| random.word()).collect::<Vec<_>>().join(" ")
}

/// xorshift64 (Marsaglia, 2003): the same data in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 48] = [
            "customer",
            "order",
            "invoice",
            "delivery",
            "pending",
            "shipped",
            "paid",
            "address",
            "street",
            "Berlin",
            "Hamburg",
            "München",
            "contact",
            "person",
            "email",
            "phone",
            "note",
            "reminder",
            "contract",
            "renewal",
            "quarter",
            "budget",
            "project",
            "meeting",
            "agenda",
            "report",
            "summary",
            "value",
            "amount",
            "discount",
            "product",
            "catalogue",
            "service",
            "support",
            "ticket",
            "priority",
            "open",
            "closed",
            "waiting",
            "review",
            "approved",
            "rejected",
            "internal",
            "external",
            "manager",
            "team",
            "region",
            "history",
        ];
        WORDS[(self.next() % 48) as usize]
    }
}
