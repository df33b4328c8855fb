//! One step of a plan.

use backup_core::{
    traits::{Context, Journal, Plan, Restored, Source, Step},
    words::{Error, ErrorKind, Result},
};

use super::{
    backup::Backup,
    choice::Choice,
    mapping::Mapping,
    objects::Objects,
    options::OnConflict,
    prepare::Wish,
    started, stop,
    survey::Ground,
    work::{Settled, Work, from_value},
};
use crate::{cluster::Cluster, files, filter::Selector};

/// Applies one step.
pub(crate) async fn apply(
    cx: &Context,
    cluster: &Cluster,
    plan: &Plan,
    step: &Step,
    from: &dyn Source,
    journal: &dyn Journal,
) -> Result<Restored> {
    let settled: Settled = from_value(&plan.options, "the options of the plan")?;
    if settled.conflicts > 0 && settled.options.conflict == OnConflict::Fail {
        return Err(Error::new(ErrorKind::Refused, "restore", from.record().name.clone())
            .detail(format!("{} objects can't be restored as asked, and nothing was touched", settled.conflicts))
            .hint("the plan marks them with `!`: mend them, exclude them, or leave them out with --set conflict=skip, and begin anew with --no-resume"));
    }
    if files::owns(step) {
        return files::apply(cx, cluster, step, from).await;
    }
    let work: Work = from_value(&step.arguments, &step.id)?;
    let ground = ground(cx, cluster, settled, from)?;
    match &work {
        Work::Stop { workloads } => stop::apply(&ground, workloads, journal).await,
        Work::Objects { group, kinds, refused } => {
            Objects { ground: &ground, step, group: *group, kinds, refused, journal }.apply().await
        }
        Work::Started => started::apply(&ground, journal).await,
    }
}

fn ground<'a>(
    cx: &'a Context,
    cluster: &'a Cluster,
    settled: Settled,
    from: &'a dyn Source,
) -> Result<Ground<'a>> {
    let Settled { options, fresh, missing, coming, volumes, conflicts: _ } = settled;
    let backup = Backup::read(from)?;
    let wish = Wish {
        mapping: Mapping::read(options.namespace.as_deref(), &backup.namespaces)?,
        choice: Choice::read(&options.include, &options.exclude)?,
        labels: options.labels.as_deref().map(Selector::parse).transpose()?,
        options,
        volumes,
    };
    Ok(Ground { cx, cluster, backup, wish, fresh, missing, coming })
}
