use backup_etcd::{bolt::Db, inspect, patroni::PatroniKeys, restore::*};
use std::{fs::File, path::Path};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let f = File::open(&a[1]).unwrap();
    let len = f.metadata().unwrap().len() - 32;
    let db = Db::open(f, len, &a[1]).unwrap();
    let t = std::time::Instant::now();
    println!("{}", serde_json::to_string_pretty(&inspect::inspect(&db, "/service").unwrap()).unwrap());
    println!("inspect {:?}", t.elapsed());
    let c = Cluster::parse(&a[3], "tok").unwrap();
    let bump: u64 = a[4].parse().unwrap();
    let mut o = Rewrite::default();
    o.bump = bump;
    o.patroni = if a[5] == "all" { PatroniKeys::All } else { PatroniKeys::Config };
    o.force = true;
    let dir = Path::new(&a[2]);
    let t = std::time::Instant::now();
    let mut first: Option<Staged> = None;
    let mut all = vec![];
    for m in c.members() {
        let target = dir.join(&m.name);
        let s = match &first {
            None => Staged::write(&db, &target, &c, m, &o, &|| Ok(())).unwrap(),
            Some(f) => f.write_like(&target, &c, m).unwrap(),
        };
        if first.is_none() { first = Some(s) } else { all.push(s) }
    }
    println!("{:?}", first.as_ref().unwrap().written());
    for s in first.into_iter().chain(all) {
        println!("{:?}", s.put_in_place(chrono::Utc::now()).unwrap());
    }
    println!("restore {:?}", t.elapsed());
}
