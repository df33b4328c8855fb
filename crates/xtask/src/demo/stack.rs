//! The clusters of the demonstration.

use backup_testkit::servers::{
    Etcd, EtcdCluster, EtcdOptions, Patroni, PatroniCluster, PatroniOptions, Result, SampleData, etcd_keys,
};

/// What the applications keep in etcd; the rest is Patroni's.
pub(crate) const KEYS: [&str; 3] = ["/registry/", "/crm/", "/üñí/"];

/// What a stack is made of.
#[derive(Clone, Copy)]
pub(crate) struct Versions {
    pub(crate) etcd: Etcd,
    pub(crate) postgres: u32,
    pub(crate) patroni: Patroni,
}

/// etcd, and Patroni on top of it.
pub(crate) struct Stack {
    // Stopped in this order.
    pub(crate) patroni: PatroniCluster,
    pub(crate) etcd: EtcdCluster,
}

impl Stack {
    pub(crate) fn start(versions: Versions) -> Result<Self> {
        let etcd = EtcdCluster::start(3, versions.etcd, EtcdOptions::default())?;
        let mut stack = Self::on(etcd, versions)?;
        stack.patroni.start_all()?;
        stack.say();
        Ok(stack)
    }

    /// With its ports and folders fixed, and nothing started.
    pub(crate) fn prepare(versions: Versions) -> Result<Self> {
        Self::on(EtcdCluster::prepare(3, versions.etcd, EtcdOptions::default())?, versions)
    }

    fn on(etcd: EtcdCluster, versions: Versions) -> Result<Self> {
        let Versions { postgres: major, patroni, .. } = versions;
        let options = PatroniOptions { major, patroni: Some(patroni), ..PatroniOptions::default() };
        Ok(Self { patroni: PatroniCluster::prepare(3, &etcd, options)?, etcd })
    }

    /// Starts what was prepared.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        self.etcd.start_all()?;
        self.patroni.start_all()?;
        self.say();
        Ok(())
    }

    fn say(&self) {
        println!("etcd runs at {}", self.etcd.endpoints().join(" "));
        println!("Patroni runs at {}", self.patroni.rest_urls().join(" "));
    }

    pub(crate) fn load(&self) -> Result<()> {
        self.etcd.put_many(etcd_keys(5000))?;
        SampleData { rows: 20_000 }.load(&self.patroni.leader_sql()?)
    }

    pub(crate) fn destroy(&self) -> Result<()> {
        self.etcd.etcdctl(&["del", "--prefix", "/crm/"])?;
        println!("deleted the keys below /crm/ in etcd");
        self.patroni.leader_sql()?.run("crm", "drop table crm.contacts cascade; truncate crm.deals")?;
        println!("dropped the table crm.contacts and emptied crm.deals");
        Ok(())
    }
}
