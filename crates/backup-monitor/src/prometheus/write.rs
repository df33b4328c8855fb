//! Which figures there are, and what they are called.

use std::{collections::BTreeMap, fmt::Display};

use backup_core::policy::{HealthState, StoreFacts};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Figures,
    page::Page,
    tally::{ComponentTally, JobTally, Last, StoreTally},
};

impl Figures {
    /// The figures in the text format of Prometheus, version 0.0.4.
    pub fn exposition(&self) -> String {
        let mut page = Page::new(&self.name);
        page.gauge("build_info", "The version of ha-backup; always 1.")
            .put(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.gauge("look_timestamp_seconds", "When the stores were looked at for these figures.")
            .put(&[], stamp(self.health.at));
        self.write_health(&mut page);
        self.write_stores(&mut page);
        self.write_jobs(&mut page);
        self.write_components(&mut page);
        self.write_evidence(&mut page);
        self.write_around(&mut page);
        page.text()
    }

    fn write_stores(&self, page: &mut Page) {
        let answered = |name: &str| self.health.stores.iter().find(|store| store.name == name);
        let mut up = page.gauge("store_up", "Whether the store could be looked at: 1 yes, 0 no.");
        for (name, _) in &self.stores {
            up.put(&[("store", name)], u8::from(answered(name).is_some()));
        }
        let mut required =
            page.gauge("store_required", "Whether every session must be in the store: 1 yes, 0 no.");
        for (name, is_required) in &self.stores {
            required.put(&[("store", name)], u8::from(*is_required));
        }
        let space = |store: &StoreFacts| store.space.clone()?.ok();
        let mut free = page.gauge("store_free_bytes", "Bytes free in the store, where it says so.");
        for store in &self.health.stores {
            space(store).into_iter().for_each(|(bytes, _)| free.put(&[("store", &store.name)], bytes));
        }
        let mut size = page.gauge("store_size_bytes", "Bytes that the store can hold, where it says so.");
        for store in &self.health.stores {
            space(store).into_iter().for_each(|(_, bytes)| size.put(&[("store", &store.name)], bytes));
        }
        let mut missing = page.gauge(
            "store_missing_copies",
            "Sessions that other stores hold and this one lacks, though it would keep them.",
        );
        for store in &self.health.stores {
            if let Some(copies) = &store.copies {
                missing.put(&[("store", &store.name)], copies.missing.len());
            }
        }
        let none = StoreTally::default();
        let held = |name: &str| self.tally.stores.get(name).unwrap_or(&none);
        let mut sessions = page.gauge("store_sessions", "Sessions that the store holds, by their status.");
        for store in &self.health.stores {
            for (status, number) in held(&store.name).by_status() {
                sessions.put(&[("store", &store.name), ("status", status)], number);
            }
        }
        let mut stored = page.gauge(
            "store_sessions_bytes",
            "Bytes of the artifacts of the sessions that the store holds, without unified archives.",
        );
        for store in &self.health.stores {
            stored.put(&[("store", &store.name)], held(&store.name).bytes);
        }
    }

    /// The jobs that are awaited or have had a session.
    fn jobs(&self) -> Vec<(&str, TimeDelta, Option<&JobTally>)> {
        let jobs = self.watched.jobs.iter();
        let jobs =
            jobs.map(|job| (job.name.as_str(), job.max_age, self.tally.jobs.get(&job.name), job.optional));
        let shown = jobs.filter(|(_, _, tally, optional)| !optional || tally.is_some());
        shown.map(|(name, max_age, tally, _)| (name, max_age, tally)).collect()
    }

    fn write_jobs(&self, page: &mut Page) {
        let jobs = self.jobs();
        let each = |page: &mut Page, name: &str, help: &str, value: &dyn Fn(&JobTally) -> Option<f64>| {
            let mut family = page.gauge(name, help);
            for (job, _, tally) in &jobs {
                if let Some(value) = tally.and_then(value) {
                    family.put(&[("backup_job", job)], value);
                }
            }
        };
        let mut limit = page.gauge("job_max_age_seconds", "How old the job's newest good session may be.");
        jobs.iter().for_each(|(job, max_age, _)| limit.put(&[("backup_job", job)], max_age.num_seconds()));
        each(
            page,
            "job_last_good_timestamp_seconds",
            "When the job's newest good session (SUCCESS or PARTIAL) began.",
            &|job| job.good.map(seconds),
        );
        let mut status = page.gauge(
            "job_last_session_status",
            "How the job's newest session ended: 1 for that status, 0 for the others.",
        );
        for (job, _, tally) in &jobs {
            let Some(last) = tally.and_then(|tally| tally.last.as_ref()) else { continue };
            for word in Last::STATUSES {
                status.put(&[("backup_job", job), ("status", word)], u8::from(last.status == word));
            }
        }
        let last = |job: &JobTally, value: fn(&Last) -> Option<f64>| job.last.as_ref().and_then(value);
        each(page, "job_last_session_timestamp_seconds", "When the job's newest session began.", &|job| {
            last(job, |last| Some(seconds(last.begun)))
        });
        each(
            page,
            "job_last_session_duration_seconds",
            "From the begin of the job's newest session to its last byte.",
            &|job| last(job, |last| last.duration),
        );
        each(
            page,
            "job_last_session_size_bytes",
            "Stored bytes of the job's newest session, without the unified archive.",
            &|job| last(job, |last| last.bytes.map(|bytes| bytes as f64)),
        );
        each(
            page,
            "job_last_session_skew_seconds",
            "How far the points of the components of the job's newest session lie apart.",
            &|job| last(job, |last| last.skew),
        );
        each(page, "job_running", "Whether a run of the job is under way: 1 yes, 0 no.", &|job| {
            Some(f64::from(u8::from(job.running)))
        });
    }

    fn write_components(&self, page: &mut Page) {
        let components = self.components();
        let mut limit =
            page.gauge("component_max_age_seconds", "How old the component's newest good backup may be.");
        for (name, _) in &components {
            let jobs = self.watched.jobs.iter().filter(|job| !job.optional && job.components.contains(name));
            let max_age = jobs.map(|job| job.max_age).min().unwrap_or(self.watched.limits.max_age);
            limit.put(&[("component", name)], max_age.num_seconds());
        }
        each(
            page,
            &components,
            "component_last_good_timestamp_seconds",
            "When the newest session with a good backup of the component began.",
            |c| c.good.as_ref().map(|good| seconds(good.begun)),
        );
        each(
            page,
            &components,
            "component_size_bytes",
            "Stored bytes of the component's newest good backup.",
            |c| c.good.as_ref().map(|good| good.stored_bytes as f64),
        );
        each(
            page,
            &components,
            "component_plain_size_bytes",
            "Bytes of the component's newest good backup before compression.",
            |c| c.good.as_ref().map(|good| good.plain_bytes as f64),
        );
        each(
            page,
            &components,
            "component_duration_seconds",
            "From open to the last byte of the component's newest good backup.",
            |c| c.good.as_ref().map(|good| good.duration),
        );
        let mut items = page.gauge(
            "component_items",
            "What the component's newest good backup counted in its source, such as rows or keys.",
        );
        for (name, tally) in &components {
            let counts = tally.and_then(|tally| tally.good.as_ref()).map(|good| &good.counts);
            for (what, number) in counts.into_iter().flatten() {
                items.put(&[("component", name), ("what", what)], *number);
            }
        }
    }

    fn components(&self) -> Vec<(&String, Option<&ComponentTally>)> {
        self.watched.components.iter().map(|name| (name, self.tally.components.get(name))).collect()
    }

    fn write_evidence(&self, page: &mut Page) {
        let components = self.components();
        page.gauge("verify_max_age_seconds", "How long ago a component's newest verification may be.")
            .put(&[], self.watched.limits.verify_max_age.num_seconds());
        each(
            page,
            &components,
            "component_verified_timestamp_seconds",
            "When a backup of the component last passed a verification of every stored byte.",
            |c| c.verified.map(seconds),
        );
        each(
            page,
            &components,
            "component_last_verification_timestamp_seconds",
            "When a backup of the component was last verified, however that ended.",
            |c| c.last_verification.as_ref().map(|(at, _)| seconds(*at)),
        );
        each(
            page,
            &components,
            "component_last_verification_passed",
            "Whether the component's last verification passed: 1 yes, 0 no.",
            |c| c.last_verification.as_ref().map(|(_, passed)| f64::from(u8::from(*passed))),
        );
        if let Some(limit) = self.watched.limits.drill_max_age {
            page.gauge("drill_max_age_seconds", "How long ago a component's last good drill may be.")
                .put(&[], limit.num_seconds());
        }
        each(
            page,
            &components,
            "component_drilled_timestamp_seconds",
            "When a drill of the component last passed.",
            |c| c.drilled.as_ref().map(|(at, _)| seconds(*at)),
        );
        each(
            page,
            &components,
            "component_drill_recovery_seconds",
            "How long the restore took in the component's last drill that passed.",
            |c| c.drilled.as_ref().map(|(_, took)| *took),
        );
        each(
            page,
            &components,
            "component_last_drill_timestamp_seconds",
            "When the component was last drilled, however that ended.",
            |c| c.last_drill.as_ref().map(|(at, _)| seconds(*at)),
        );
        each(
            page,
            &components,
            "component_last_drill_passed",
            "Whether the component's last drill passed: 1 yes, 0 no.",
            |c| c.last_drill.as_ref().map(|(_, passed)| f64::from(u8::from(*passed))),
        );
    }

    fn write_health(&self, page: &mut Page) {
        page.gauge(
            "health_state",
            "The worst of all checks: 0 ok, 1 warning, 2 critical, 3 could not be looked at.",
        )
        .put(&[], level(self.health.state));
        let mut checks = page.gauge("health_check", "How a check of `ha-backup health` came out: 0 ok, 1 warning, 2 critical, 3 could not be looked at.");
        let mut worst: BTreeMap<(&str, &str, &str), HealthState> = BTreeMap::new();
        for check in &self.health.checks {
            let labels = (check.scope.as_str(), check.name.as_str(), check.check.as_str());
            let state = worst.entry(labels).or_insert(check.state);
            *state = check.state.max(*state);
        }
        for ((scope, name, check), state) in worst {
            checks.put(&[("scope", scope), ("name", name), ("check", check)], level(state));
        }
    }

    fn write_around(&self, page: &mut Page) {
        let mut next =
            page.gauge("job_next_run_timestamp_seconds", "When the job runs next by its schedule.");
        for run in &self.around.next_runs {
            next.put(&[("backup_job", &run.job), ("run", &run.run)], stamp(run.at));
        }
        let mut failing =
            page.gauge("notifier_failing", "Whether nothing gets out through the notifier: 1 yes, 0 no.");
        for (name, record) in &self.around.notifiers {
            let fails = record.as_ref().is_some_and(|record| record.failing.is_some());
            failing.put(&[("notifier", name)], u8::from(fails));
        }
        let mut sent = page.gauge(
            "notifier_last_sent_timestamp_seconds",
            "When something last got out through the notifier.",
        );
        for (name, record) in &self.around.notifiers {
            if let Some(at) = record.as_ref().and_then(|record| record.last_sent) {
                sent.put(&[("notifier", name)], stamp(at));
            }
        }
    }
}

/// One number for each component that has it.
fn each(
    page: &mut Page,
    components: &[(&String, Option<&ComponentTally>)],
    name: &str,
    help: &str,
    value: impl Fn(&ComponentTally) -> Option<f64>,
) {
    let mut family = page.gauge(name, help);
    for (component, tally) in components {
        if let Some(value) = tally.and_then(&value) {
            family.put(&[("component", component)], value);
        }
    }
}

/// The numbers of monitoring plugins.
fn level(state: HealthState) -> u8 {
    match state {
        HealthState::Ok => 0,
        HealthState::Warning => 1,
        HealthState::Critical => 2,
        HealthState::Unknown => 3,
    }
}

fn stamp(at: DateTime<Utc>) -> impl Display {
    at.timestamp()
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}
