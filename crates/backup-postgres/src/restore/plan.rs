//! Looking at the target and saying what would be done. Touches nothing.

use backup_core::{
    traits::{Context, Phase, Plan, Source, Step, Target},
    words::{Error, ErrorKind, Result},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    names,
    options::{Action, GlobalsMode, Options, Settled, SwitchWhen, Work},
};
use crate::{
    connect::{Leader, Server},
    facts::Facts,
};

/// How long a leader is waited for when etcd was restored just before, in seconds: Patroni starts anew then.
const WAIT_BEHIND_ETCD: u64 = 300;

/// What the target is like now; none when it is looked at only when its turn comes.
type Look = Option<Leader>;

/// Plans the restore.
pub(crate) async fn plan(
    cx: &Context,
    server: &Server,
    component: &str,
    target: &Target,
    from: &dyn Source,
) -> Result<Plan> {
    let options = Options::read(&target.options)?;
    let facts = Facts::from_map(&from.record().facts)?;
    let chosen = options.choose(facts.databases.keys())?;
    if options.into.is_some() && (chosen.len() != 1 || options.switch == SwitchWhen::First) {
        return Err(Error::new(ErrorKind::Config, "restore into", options.into.unwrap_or_default())
            .detail("`into` is for one database, and nothing is switched")
            .hint(format!("name it with --set database=NAME; chosen are: {}", chosen.join(", "))));
    }
    // The leader may not exist yet when the cluster's etcd is restored in the same run.
    let behind_etcd =
        target.together_with.iter().any(|other| other.kind == "etcd" && other.name != component);
    let look: Look =
        if behind_etcd { None } else { Some(cx.or_cancelled("look at the leader", server.look()).await?) };
    let wait = server.config.leader_wait_seconds;
    let settled = Settled {
        globals: options.globals(),
        leader_wait_seconds: if behind_etcd { wait.max(WAIT_BEHIND_ETCD) } else { wait },
    };
    let mut plan = Plan { options: value(&settled)?, ..Plan::default() };
    plan.scratch_bytes =
        chosen.iter().filter_map(|name| facts.databases.get(name)).map(|facts| facts.size_bytes).sum();
    notes(&mut plan, &options, &facts, &chosen, behind_etcd);
    let mut planner = Planner { plan, look, at: cx.now(), facts, component: component.to_owned() };
    planner.globals(settled.globals)?;
    for database in &chosen {
        planner.database(database, &options).await?;
    }
    if options.into.is_none() && options.switch == SwitchWhen::Last {
        for database in &chosen {
            planner.switch(database, &chosen).await?;
        }
    }
    Ok(planner.plan)
}

fn notes(plan: &mut Plan, options: &Options, facts: &Facts, chosen: &[String], behind_etcd: bool) {
    if behind_etcd {
        plan.notes.push(
            "etcd is restored first: the leader is looked at when its turn comes, and waited for until then"
                .to_owned(),
        );
    }
    if options.database.is_none() && facts.databases.contains_key("template1") {
        plan.notes.push("template1 is left as it is; --set database=template1 restores it".to_owned());
    }
    if options.globals() == GlobalsMode::Missing {
        plan.notes.push(
            "roles and tablespaces that exist are left alone; --set globals=overwrite sets them as they were"
                .to_owned(),
        );
    }
    if options.into.is_none() {
        plan.notes.push(format!(
            "sessions in {} are ended at the switch; logical replication slots stay with the old database",
            chosen.join(", ")
        ));
    }
}

struct Planner {
    plan: Plan,
    look: Look,
    at: DateTime<Utc>,
    facts: Facts,
    component: String,
}

impl Planner {
    fn subject(&self, name: &str) -> String {
        match &self.look {
            Some(leader) => format!("{name} on {}", leader.address),
            None => format!("{name} on the leader of {}", self.component),
        }
    }

    fn globals(&mut self, mode: GlobalsMode) -> Result<()> {
        let action = match mode {
            GlobalsMode::Leave => return Ok(()),
            GlobalsMode::Missing => "create missing roles and tablespaces",
            GlobalsMode::Overwrite => "set roles and tablespaces as they were",
        };
        let work = Work {
            action: Action::Globals,
            database: String::new(),
            name: String::new(),
            aside: String::new(),
        };
        let counts = format!("{} roles, {} tablespaces", self.facts.roles, self.facts.tablespaces);
        let step = Step::new("globals", Phase::Database, action, self.subject(&counts));
        self.plan.steps.push(step.arguments(value(&work)?));
        Ok(())
    }

    /// The steps that create, load and check one database.
    async fn database(&mut self, database: &str, options: &Options) -> Result<()> {
        let first = options.switch == SwitchWhen::First;
        let name = match &options.into {
            Some(into) => into.clone(),
            None if first => database.to_owned(),
            None => names::restored(database, self.at),
        };
        let aside = names::before(database, self.at);
        let work =
            |action| Work { action, database: database.to_owned(), name: name.clone(), aside: aside.clone() };
        let saw = self.fingerprint(database).await?;
        let mut after: Vec<String> = self.plan.steps.iter().map(|step| step.id.clone()).take(1).collect();
        if first {
            self.lose(database, &work(Action::Aside)).await?;
            let subject = self.subject(database);
            let id = format!("aside:{database}");
            let step = Step::new(&id, Phase::Database, "put the old database aside", subject).saw(&saw);
            self.push(step, &mut after, &work(Action::Aside))?;
        } else {
            self.refuse_existing(&name).await?;
        }
        let facts = self.facts.databases.get(database).cloned().unwrap_or_default();
        let subject = self.subject(&name);
        let step = Step::new(format!("create:{database}"), Phase::Database, "create the database", &subject);
        // With `first` the old one is gone from its name by then: its step holds the fingerprint.
        let step = if first { step } else { step.saw(&saw) };
        self.push(step, &mut after, &work(Action::Create))?;
        let action = format!("load {} rows of {database} into", facts.rows);
        let step = Step::new(format!("load:{database}"), Phase::Database, action, &subject);
        self.push(step, &mut after, &work(Action::Load))?;
        let action = format!("count {} tables of", facts.tables.len());
        let step = Step::new(format!("check:{database}"), Phase::Database, action, &subject);
        self.push(step, &mut after, &work(Action::Check))
    }

    /// The step that gives the checked database its name: after all are checked.
    async fn switch(&mut self, database: &str, chosen: &[String]) -> Result<()> {
        let work = Work {
            action: Action::Switch,
            database: database.to_owned(),
            name: names::restored(database, self.at),
            aside: names::before(database, self.at),
        };
        self.lose(database, &work).await?;
        let saw = self.fingerprint(database).await?;
        let mut after: Vec<String> = chosen.iter().map(|name| format!("check:{name}")).collect();
        let diff = format!("{database} becomes {}, {} becomes {database}", work.aside, work.name);
        let subject = self.subject(database);
        let step = Step::new(
            format!("switch:{database}"),
            Phase::Database,
            "switch to the restored database",
            subject,
        )
        .saw(saw)
        .diff(diff);
        self.push(step, &mut after, &work)
    }

    fn push(&mut self, step: Step, after: &mut Vec<String>, work: &Work) -> Result<()> {
        let mut step = step.arguments(value(work)?);
        step.after = std::mem::replace(after, vec![step.id.clone()]);
        self.plan.steps.push(step);
        Ok(())
    }

    async fn fingerprint(&self, database: &str) -> Result<String> {
        match &self.look {
            Some(leader) => fingerprint(leader, database).await,
            None => Ok(String::new()),
        }
    }

    /// Says what is kept aside.
    async fn lose(&mut self, database: &str, work: &Work) -> Result<()> {
        let exists = match &self.look {
            Some(leader) => oid(leader, database).await?.is_some(),
            None => true,
        };
        if exists {
            let subject = self.subject(database);
            self.plan.loses.push(format!("what is in {subject} now is kept aside as {}", work.aside));
        }
        Ok(())
    }

    async fn refuse_existing(&self, name: &str) -> Result<()> {
        match &self.look {
            Some(leader) => refuse_existing(leader, name).await,
            None => Ok(()),
        }
    }
}

/// What identifies a database, and that it has not been replaced since: a failover changes neither.
pub(super) async fn fingerprint(leader: &Leader, database: &str) -> Result<String> {
    let oid = oid(leader, database).await?.map_or("absent".to_owned(), |oid| format!("oid {oid}"));
    Ok(format!("system {}, {database} {oid}", leader.system_id))
}

/// The database's oid, if there is one of that name.
pub(super) async fn oid(leader: &Leader, database: &str) -> Result<Option<u32>> {
    let rows =
        leader.session.query("SELECT oid FROM pg_database WHERE datname = $1::text", &[&database]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Refuses a name that is taken.
pub(super) async fn refuse_existing(leader: &Leader, name: &str) -> Result<()> {
    match oid(leader, name).await? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::Refused,
            "restore into",
            format!("database {name} on {}", leader.address),
        )
        .detail("it exists already, and nothing was touched")
        .hint("choose another name with --set into=NAME, or rename or drop that database")),
    }
}

fn value(of: &impl Serialize) -> Result<Value> {
    serde_json::to_value(of).map_err(|e| Error::new(ErrorKind::Internal, "write", "the plan").because(e))
}
