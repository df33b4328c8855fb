//! Where the files of the backup go.

use backup_core::{traits::Source, words::Result};

use super::{options::Existing, plan_group::Found, stop::Filled, survey::Ground};
use crate::{
    config::KubernetesConfig,
    files::{self, FilesPlan, PlanAsk},
};

/// Plans the files; what the plan does with objects is known.
pub(super) async fn plan(
    ground: &Ground<'_>,
    config: &KubernetesConfig,
    found: &Found,
    from: &dyn Source,
) -> Result<FilesPlan> {
    let mapping = &ground.wish.mapping;
    let options = &ground.wish.options;
    let makes =
        |kind: &str, namespace: &str, name: &str| found.makes.contains(&format!("{kind} {namespace}/{name}"));
    let existing = |kind: &str, namespace: &str, name: &str| {
        let made = ground.fresh.contains(namespace) || makes(kind, namespace, name);
        let default = if made { Existing::Update } else { options.existing };
        match options.files.unwrap_or(default) {
            Existing::Skip => files::Existing::Skip,
            Existing::Update => files::Existing::Update,
            Existing::Replace => files::Existing::Replace,
        }
    };
    let ask = PlanAsk {
        cluster: ground.cluster,
        namespace: &|name| mapping.takes(name).then(|| mapping.target(name).to_owned()),
        wants: &|artifact| ground.wish.choice.takes_files(artifact),
        makes: &makes,
        existing: &existing,
        image: &config.helper_image,
        stamp: &ground.cx.now().format("%Y%m%d_%H%M%S").to_string(),
    };
    files::plan(ground.cx, &ask, from).await
}

/// What is written into volumes.
pub(super) fn filled(plan: &FilesPlan) -> Filled {
    Filled { claims: plan.claims.clone(), hosts: plan.hosts.clone() }
}
