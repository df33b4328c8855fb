//! Looking at the cluster and saying what would be done. Nothing is written there.

use std::collections::BTreeSet;

use backup_core::{
    traits::{Context, Plan, Source, Step, Target},
    words::{Error, ErrorKind, Result},
};
use futures::TryStreamExt;
use serde_json::Value;

use super::{
    backup::Backup,
    choice::Choice,
    files,
    group::Group,
    mapping::Mapping,
    options::{OnConflict, Options},
    plan_group::{self, Found},
    prepare::Wish,
    started, stop,
    survey::Ground,
    work::{Settled, to_value},
};
use crate::{
    clean,
    cluster::{Cluster, ResourceKind},
    config::KubernetesConfig,
    filter::Selector,
    order,
};

/// Plans the restore.
pub(crate) async fn plan(
    cx: &Context,
    cluster: &Cluster,
    config: &KubernetesConfig,
    target: &Target,
    from: &dyn Source,
) -> Result<Plan> {
    let options = Options::read(&target.options)?;
    let backup = Backup::read(from)?;
    let choice = Choice::read(&options.include, &options.exclude)?;
    if let Some(word) = choice.unknown(&backup.kinds) {
        return Err(Error::new(ErrorKind::Config, "choose objects of the kind", word)
            .detail("the backup has no objects of it")
            .hint("`ha-backup show SESSION` lists what it has"));
    }
    let wish = Wish {
        mapping: Mapping::read(options.namespace.as_deref(), &backup.namespaces)?,
        labels: options.labels.as_deref().map(Selector::parse).transpose()?,
        choice,
        options,
        volumes: BTreeSet::new(),
    };
    let none = BTreeSet::new();
    let ground =
        Ground { cx, cluster, backup, wish, fresh: none.clone(), missing: none.clone(), coming: none };
    let mut planner = Planner { ground, plan: Plan::default(), found: Found::default() };
    planner.namespaces().await?;
    planner.volumes().await?;
    let mut groups = Vec::new();
    for (group, kinds) in by_group(&planner.ground.backup.kinds) {
        let (step, coming) = plan_group::look(&planner.ground, &mut planner.found, group, kinds).await?;
        planner.ground.coming.extend(coming);
        groups.extend(step);
    }
    let files = files::plan(&planner.ground, config, &planner.found, from).await?;
    let (stop, notes) = stop::plan(&planner.ground, &files::filled(&files)).await?;
    planner.plan.steps.extend(stop);
    planner.plan.notes.extend(notes);
    let (before, after): (Vec<Step>, Vec<Step>) =
        groups.into_iter().partition(|step| step.id != Group::Webhooks.name());
    planner.plan.steps.extend(before);
    planner.started()?;
    planner.plan.steps.extend(after);
    planner.plan.steps.extend(files.steps);
    planner.plan.notes.extend(files.notes);
    planner.plan.loses.extend(files.loses);
    planner.finish(from)
}

struct Planner<'a> {
    ground: Ground<'a>,
    plan: Plan,
    found: Found,
}

/// The kinds of each group, in the order in which they are restored.
fn by_group(kinds: &[ResourceKind]) -> Vec<(Group, Vec<ResourceKind>)> {
    let mut kinds: Vec<ResourceKind> = kinds.to_vec();
    kinds.sort_by_key(|kind| (Group::of(kind), order::rank(&kind.group, &kind.kind), kind.resource()));
    let mut groups: Vec<(Group, Vec<ResourceKind>)> = Vec::new();
    for kind in kinds {
        match groups.last_mut() {
            Some((group, list)) if *group == Group::of(&kind) => list.push(kind),
            _ => groups.push((Group::of(&kind), vec![kind])),
        }
    }
    groups
}

impl Planner<'_> {
    /// Which namespaces there are, and which the restore makes.
    async fn namespaces(&mut self) -> Result<()> {
        let mapping = &self.ground.wish.mapping;
        for name in self.ground.backup.namespaces.iter().filter(|name| mapping.takes(name)) {
            let target = mapping.target(name).to_owned();
            let path = format!("/api/v1/namespaces/{target}");
            let get = || self.ground.cluster.get::<Value>(&path);
            match self.ground.patience().keep("look at the namespace", get).await {
                Ok(there)
                    if there.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating") =>
                {
                    return Err(Error::new(ErrorKind::Refused, "restore into the namespace", target)
                        .detail("it is being deleted")
                        .hint(format!(
                            "wait until it is gone: kubectl wait --for=delete namespace/{}",
                            mapping.target(name)
                        )));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let kind = ResourceKind::new("", "v1", "Namespace", "namespaces", false);
                    let made = self.ground.backup.has("", "Namespace", "", name).await?
                        && !self.ground.wish.choice.excludes(&kind, name);
                    if made { &mut self.ground.fresh } else { &mut self.ground.missing }.insert(target);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Which volumes the claims of the backup can have again: those that are there for them, and those of the backup that do not
    /// depend on a provisioner.
    async fn volumes(&mut self) -> Result<()> {
        let find = |name: &str| {
            self.ground.backup.kinds.iter().find(|kind| kind.group.is_empty() && kind.kind == name).cloned()
        };
        let (Some(_), Some(volume)) = (find("PersistentVolumeClaim"), find("PersistentVolume")) else {
            return Ok(());
        };
        let live = self.ground.there(&volume).await?.map;
        let mut kept = BTreeSet::new();
        for (key, live) in &live {
            let own = match &live.claim {
                None => true,
                Some(claim) => {
                    let (namespace, name) = claim.key.split_once('/').unwrap_or_default();
                    self.ground.backup.has("", "PersistentVolumeClaim", namespace, name).await?
                }
            };
            if own {
                kept.insert(key.trim_start_matches('/').to_owned());
            }
        }
        let mut objects = self.ground.backup.objects(&volume).await?;
        while let Some(object) = objects.try_next().await? {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let chosen = self.ground.wish.choice.takes(&volume, name);
            if chosen && !live.contains_key(format!("/{name}").as_str()) && clean::left_out(&object).is_none()
            {
                kept.insert(name.to_owned());
            }
        }
        self.ground.wish.volumes = kept;
        Ok(())
    }

    /// The step that starts what was stopped, and waits for what was created.
    fn started(&mut self) -> Result<()> {
        let runs = |step: &Step| {
            [stop::STEP, Group::Workloads.name(), Group::Custom.name()].contains(&step.id.as_str())
        };
        if self.plan.steps.iter().any(runs) {
            self.plan.steps.push(started::plan(&self.ground)?);
        }
        Ok(())
    }

    fn finish(mut self, from: &dyn Source) -> Result<Plan> {
        let options = self.ground.wish.options.clone();
        self.plan.loses.append(&mut self.found.loses);
        if self.found.conflicts > 0 {
            let what = format!("{} objects can't be restored as asked", self.found.conflicts);
            self.plan.notes.push(match options.conflict {
                OnConflict::Fail => format!(
                    "{what}: nothing is restored until they are excluded or mended, or left out with --set conflict=skip"
                ),
                OnConflict::Skip => format!("{what}: they are left out"),
            });
        }
        let partial = from.record().coverage.iter().filter(|coverage| coverage.missing);
        self.plan.notes.extend(partial.map(|c| format!("the backup does not have {}: {}", c.what, c.why)));
        self.plan.notes.extend(self.found.notes.lines(&self.ground.wish));
        self.plan.options = to_value(&Settled {
            options,
            fresh: self.ground.fresh,
            missing: self.ground.missing,
            coming: self.ground.coming,
            volumes: self.ground.wish.volumes,
            conflicts: self.found.conflicts,
        })?;
        Ok(self.plan)
    }
}
