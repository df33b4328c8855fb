//! CronJobs of Kubernetes, as YAML.

use std::{collections::BTreeMap, path::Path};

use backup_core::{
    policy::Schedule,
    words::{Error, ErrorKind, Result},
};
use chrono::TimeDelta;

use super::{
    TargetArgs,
    done::{Done, Text},
    folder::Folder,
    plan::Plan,
};
use crate::config::Entry;

/// What a CronJob's name may have: its Jobs append eleven characters.
const LONGEST_NAME: usize = 52;
/// Where the ConfigMap is mounted.
const CONFIG: &str = "/etc/ha-backup";

pub(super) fn install(plan: &Plan, image: &str, namespace: &str, target: &TargetArgs) -> Result<Done> {
    plan.for_pods()?;
    let mut files = BTreeMap::new();
    for (job, schedule) in plan.jobs() {
        let name = object_name(plan, job)?;
        let text = cron_job(plan, job, schedule, &name, image, namespace)?;
        if files.insert(format!("{name}.yaml"), text).is_some() {
            return Err(Error::new(ErrorKind::Config, "name the CronJob of", job.name.clone())
                .detail("another job has the same name there, where `_` is written `-`")
                .hint("rename one of the jobs"));
        }
    }
    let mut done = match &target.to {
        Some(path) => to_folder(plan, path, &files, target.dry_run)?,
        None => {
            let text = |(name, text): (String, String)| Text {
                path: name,
                text: format!("{}\n{text}", marker(plan)),
            };
            let written = files.into_iter().map(text).collect();
            Done { written, printed: true, ..Done::new(target.dry_run) }
        }
    };
    done.notes.extend(plan.notes());
    done.notes.extend(gaps(plan));
    let variables: Vec<String> = plan.variables().into_iter().collect();
    if !variables.is_empty() {
        done.notes.push(format!(
            "put {} into the Secret ha-backup: the pods take them from there",
            variables.join(", ")
        ));
    }
    let files: Vec<String> = plan.secret_files().into_iter().collect();
    if !files.is_empty() {
        done.notes.push(format!("mount {} into the pods: secrets are read there", files.join(", ")));
    }
    Ok(done)
}

pub(super) fn uninstall(plan: &Plan, target: &TargetArgs) -> Result<Done> {
    let Some(path) = &target.to else {
        return Err(Error::new(ErrorKind::Config, "uninstall", "the CronJobs")
            .detail("what was printed to standard output is not known here")
            .hint(format!(
                "name the folder with --to; in the cluster: kubectl delete cronjob -A -l app.kubernetes.io/managed-by=ha-backup,app.kubernetes.io/instance={}",
                plan.config.name
            )));
    };
    to_folder(plan, path, &BTreeMap::new(), target.dry_run)
}

fn marker(plan: &Plan) -> String {
    format!("# ha-backup schedule: {}", plan.owner())
}

fn to_folder(plan: &Plan, path: &Path, files: &BTreeMap<String, String>, dry_run: bool) -> Result<Done> {
    let (marker, prefix) = (marker(plan), object_prefix(plan));
    let folder = Folder { path, prefix: &prefix, suffixes: &[".yaml"], marker: &marker };
    let done = folder.changes(files, dry_run)?;
    if !dry_run {
        folder.apply(&done)?;
    }
    Ok(done)
}

/// Kubernetes skips what falls into a gap; there is no way to tell it otherwise.
fn gaps(plan: &Plan) -> Vec<String> {
    let zone = plan.config.time_zone;
    let until = plan.now + TimeDelta::days(366);
    let next = |schedule: &Schedule| schedule.runs_in_gaps(plan.now, until, zone).into_iter().next();
    plan.jobs()
        .filter_map(|(job, schedule)| Some((job, next(schedule)?)))
        .map(|(job, run)| {
            let day = run.with_timezone(&zone).format("%Y-%m-%d");
            format!(
                "{}: its time does not exist on {day}, when clocks are put forward: Kubernetes leaves that run out; choose an \
                 hour that exists on every day",
                job.name
            )
        })
        .collect()
}

fn object_prefix(plan: &Plan) -> String {
    plan.prefix().replace('_', "-")
}

fn object_name(plan: &Plan, job: &Entry) -> Result<String> {
    let name = format!("{}{}", object_prefix(plan), job.name).replace('_', "-");
    if name.len() > LONGEST_NAME || name.ends_with('-') {
        return Err(Error::new(ErrorKind::Config, "name the CronJob", name)
            .detail(format!("it has {LONGEST_NAME} characters at most and ends with a letter or digit"))
            .hint("give the job or the stack a shorter name"));
    }
    Ok(name)
}

fn cron_job(
    plan: &Plan,
    job: &Entry,
    schedule: &Schedule,
    name: &str,
    image: &str,
    namespace: &str,
) -> Result<String> {
    let file = plan.file.file_name().and_then(|name| name.to_str()).unwrap_or("config.toml");
    let text = TEMPLATE
        .replace("{name}", name)
        .replace("{namespace}", &quoted(namespace)?)
        .replace("{stack}", &quoted(&plan.config.name)?)
        .replace("{job}", &quoted(&job.name)?)
        .replace("{schedule}", &quoted(schedule.as_cron())?)
        .replace("{zone}", &quoted(plan.config.time_zone.name())?)
        .replace("{image}", &quoted(image)?)
        .replace("{config}", &quoted(&format!("{CONFIG}/{file}"))?);
    let (mut mounts, mut volumes) = (String::new(), String::new());
    for (index, store) in plan.store_folders().iter().enumerate() {
        let number = if index == 0 { String::new() } else { format!("-{}", index + 1) };
        mounts.push_str(&mount(&format!("backups{number}"), store)?);
        volumes.push_str(&format!(
            "            - name: backups{number}\n              persistentVolumeClaim: {{ claimName: ha-backup{number} }}\n",
        ));
    }
    // What a pod writes there goes with it: its log is standard error.
    for (name, folder) in plan.written_folders() {
        mounts.push_str(&mount(name, folder)?);
        volumes.push_str(&format!("            - name: {name}\n              emptyDir: {{}}\n"));
    }
    if let Some(state) = &plan.config.state_dir {
        mounts.push_str(&mount("state", state)?);
        volumes.push_str("            - name: state\n              emptyDir: {}\n");
    }
    Ok(text.replace("{mounts}", &mounts).replace("{volumes}", &volumes))
}

fn mount(name: &str, path: &Path) -> Result<String> {
    let path = quoted(&path.display().to_string())?;
    Ok(format!("                - {{ name: {name}, mountPath: {path} }}\n"))
}

/// A JSON string is one of YAML too.
fn quoted(text: &str) -> Result<String> {
    serde_json::to_string(text).map_err(|e| Error::new(ErrorKind::Internal, "write as YAML", text).because(e))
}

/// The configuration is the ConfigMap `ha-backup`, secrets for its `{ env = ... }` are the Secret of that name, the store's
/// volume the claim.
const TEMPLATE: &str = r#"apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    app.kubernetes.io/name: ha-backup
    app.kubernetes.io/instance: {stack}
    app.kubernetes.io/component: {job}
    app.kubernetes.io/managed-by: ha-backup
spec:
  schedule: {schedule}
  timeZone: {zone}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 5
  jobTemplate:
    spec:
      backoffLimit: 1
      template:
        metadata:
          labels:
            app.kubernetes.io/name: ha-backup
            app.kubernetes.io/instance: {stack}
            app.kubernetes.io/component: {job}
        spec:
          serviceAccountName: ha-backup
          restartPolicy: Never
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            runAsGroup: 10001
            fsGroup: 10001
            seccompProfile: { type: RuntimeDefault }
          containers:
            - name: ha-backup
              image: {image}
              args: ["--config", {config}, "run", {job}]
              envFrom:
                - secretRef: { name: ha-backup, optional: true }
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: { drop: ["ALL"] }
              resources:
                requests: { cpu: 100m, memory: 64Mi }
                limits: { memory: 256Mi }
              volumeMounts:
                - { name: config, mountPath: /etc/ha-backup, readOnly: true }
{mounts}                - { name: tmp, mountPath: /tmp }
          volumes:
            - name: config
              configMap: { name: ha-backup }
{volumes}            - name: tmp
              emptyDir: { sizeLimit: 2Gi }
"#;
