//! `[health]`: from where on something is wrong.

use std::collections::BTreeMap;

use backup_core::{
    policy::HealthLimits,
    traits::{Node, nearest},
    words::{ByteSize, Result, TimeLength},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::model::Section;

/// `[health]`. Missing keys take the default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HealthSection {
    /// How old the newest good session of a job may be, if the job says nothing else. Default: 25h.
    max_age: Option<TimeLength>,
    /// How long ago each component's newest verification (checksum or content) may be. Default: 8d.
    verify_max_age: Option<TimeLength>,
    /// How long ago each component's last good drill may be. Default: drills are not awaited.
    drill_max_age: Option<TimeLength>,
    /// How full a store may be, in percent. Default: 85.
    disk_limit_percent: Option<u8>,
    /// Stored bytes that a component has at least, by its name.
    min_size: BTreeMap<String, ByteSize>,
    /// How many percent of its bytes, rows or keys a component may lose against the median of its last ten sessions.
    /// Default: 30.
    shrink_percent: Option<u8>,
    /// How many percent larger than the median of its last ten sessions a component may be. Default: 100.
    growth_percent: Option<u32>,
    /// Warnings of components that hold one of these texts are known and accepted.
    accepted_warnings: Vec<String>,
}

impl HealthSection {
    /// The limits, checked; `root` is the file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
    pub(super) fn limits(&self, root: &Node, components: &[Section]) -> Result<HealthLimits> {
        for (key, percent) in
            [("disk_limit_percent", self.disk_limit_percent), ("shrink_percent", self.shrink_percent)]
        {
            if percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
                return Err(root.error(&format!("health.{key}"), "this takes 1 to 100"));
            }
        }
        for name in self.min_size.keys() {
            check_component(root, name, components)?;
        }
        if let Some(index) = self.accepted_warnings.iter().position(|text| text.trim().is_empty()) {
            let path = format!("health.accepted_warnings.{index}");
            return Err(root.error(&path, "an empty text accepts every warning"));
        }
        let mut limits = HealthLimits::default();
        set(&mut limits.max_age, self.max_age.map(|length| length.0));
        set(&mut limits.verify_max_age, self.verify_max_age.map(|length| length.0));
        limits.drill_max_age = self.drill_max_age.map(|length| length.0);
        set(&mut limits.disk_limit_percent, self.disk_limit_percent);
        set(&mut limits.shrink_percent, self.shrink_percent);
        set(&mut limits.growth_percent, self.growth_percent);
        limits.min_size = self.min_size.iter().map(|(name, size)| (name.clone(), size.0)).collect();
        limits.accepted_warnings.clone_from(&self.accepted_warnings);
        Ok(limits)
    }
}

fn set<T>(value: &mut T, to: Option<T>) {
    if let Some(to) = to {
        *value = to;
    }
}

fn check_component(root: &Node, name: &str, components: &[Section]) -> Result<()> {
    let known = components.iter().map(|section| section.name.as_str());
    if known.clone().any(|known| known == name) {
        return Ok(());
    }
    let error = root.error(&format!("health.min_size.{name}"), format!("there is no component `{name}`"));
    Err(match nearest(name, known.clone()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("there are: {}", known.collect::<Vec<_>>().join(", "))),
    })
}
