//! From an object of the backup to the one that is wanted in the cluster.

use std::collections::BTreeSet;

use backup_core::words::Result;
use serde_json::Value;

use super::{
    backup::{Backup, Key, key},
    choice::Choice,
    decide::Leave,
    group::Group,
    mapping::Mapping,
    options::{Options, Start},
    stopped,
};
use crate::{
    clean,
    cluster::ResourceKind,
    filter::{Labels, Selector},
};

/// What the options say of objects, and what the plan found in the cluster that they depend on.
pub(super) struct Wish {
    /// As they were set.
    pub(super) options: Options,
    /// Which namespace becomes which.
    pub(super) mapping: Mapping,
    /// `include` and `exclude`.
    pub(super) choice: Choice,
    /// `labels`.
    pub(super) labels: Option<Selector>,
    /// Volumes that are there, or will be, for the claims that name them.
    pub(super) volumes: BTreeSet<String>,
}

/// An object of the backup.
pub(super) enum Prepared {
    /// It is to be there.
    Wanted(Box<Wanted>),
    /// It is not restored.
    Left {
        /// `NAMESPACE/NAME` in the backup.
        key: Key,
        /// Why.
        why: String,
    },
    /// The options don't choose it.
    Unchosen,
}

/// An object that is to be there.
pub(super) struct Wanted {
    /// `NAMESPACE/NAME` in the cluster.
    pub(super) key: Key,
    /// Cleaned and mapped.
    pub(super) object: Value,
    /// What may be done with one that exists.
    pub(super) leave: Leave,
    /// A text in it names a Service of a namespace that goes elsewhere.
    pub(super) mentions: bool,
}

impl Wanted {
    /// Its namespace, if it has one.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.key.split_once('/').map(|(namespace, _)| namespace).filter(|namespace| !namespace.is_empty())
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.key.split_once('/').map_or(&self.key, |(_, name)| name)
    }
}

/// Makes of a raw object of the backup what is wanted.
pub(super) async fn prepare(
    wish: &Wish,
    backup: &Backup<'_>,
    kind: &ResourceKind,
    mut object: Value,
) -> Result<Prepared> {
    let original = key(&object);
    if !wish.chooses(kind, &object) {
        return Ok(Prepared::Unchosen);
    }
    let left = |why: String| Ok(Prepared::Left { key: original.clone(), why });
    if let Some(why) = clean::left_out(&object) {
        return left(why);
    }
    if let Some(owner) = maker(backup, kind, &object).await? {
        return left(format!("its {owner} makes it"));
    }
    if is_moved_volume(wish, kind, &object) {
        return left("the copy's claim gets a volume of its own".to_owned());
    }
    if wish.options.start == Start::No && (kind.group.as_str(), kind.kind.as_str()) == ("", "Pod") {
        return left("a pod without a workload can't be created stopped".to_owned());
    }
    stopped::undo(&mut object);
    clean::clean(&mut object);
    let copy = wish.mapping.apply(kind, &mut object);
    wish.settle(kind, &mut object);
    let mentions = kind.kind != "Secret" && wish.mapping.is_mentioned(&object);
    let leave = leave(kind, copy);
    Ok(Prepared::Wanted(Box::new(Wanted { key: key(&object), object, leave, mentions })))
}

impl Wish {
    /// Whether the options choose an object of the backup. Namespaces are needed whatever `include` says.
    fn chooses(&self, kind: &ResourceKind, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        let namespace = match Group::of(kind) {
            Group::Namespaces => Some(name),
            _ if is_volume(kind) => text("/spec/claimRef/namespace"),
            _ => text("/metadata/namespace"),
        };
        if namespace.is_some_and(|namespace| !self.mapping.takes(namespace)) {
            return false;
        }
        match Group::of(kind) {
            Group::Namespaces => return !self.choice.excludes(kind, name),
            Group::Definitions if self.defines_chosen(object) => return !self.choice.excludes(kind, name),
            _ => {}
        }
        self.choice.takes(kind, name)
            && self.labels.as_ref().is_none_or(|selector| selector.matches(&labels(object)))
    }

    /// Whether a definition is of a kind that may be chosen.
    fn defines_chosen(&self, definition: &Value) -> bool {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let names = [text("/spec/names/kind"), text("/spec/names/plural")];
        self.choice.may_take(&ResourceKind::new(text("/spec/group"), "", names[0], names[1], true))
    }

    /// What depends on the cluster, and on whether things are to run.
    fn settle(&self, kind: &ResourceKind, object: &mut Value) {
        if (kind.group.as_str(), kind.kind.as_str()) == ("", "PersistentVolumeClaim") {
            let volume = object.pointer("/spec/volumeName").and_then(Value::as_str);
            if volume.is_some_and(|volume| !self.volumes.contains(volume)) {
                clean::reprovision(object);
            }
        }
        if self.options.start == Start::No && Group::of(kind) == Group::Workloads {
            stopped::stop(&kind.kind, object);
        }
    }
}

/// "Deployment web" when that is in the backup and makes this object. Secrets and claims are kept all the same: they hold
/// what nobody can make again.
async fn maker(backup: &Backup<'_>, kind: &ResourceKind, object: &Value) -> Result<Option<String>> {
    if kind.group.is_empty() && ["Secret", "PersistentVolumeClaim"].contains(&kind.kind.as_str()) {
        return Ok(None);
    }
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let controls = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    let Some(owner) = owners.into_iter().flatten().find(controls) else { return Ok(None) };
    let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let (owner_kind, name) = (text("kind"), text("name"));
    let there = backup.has(group, owner_kind, namespace, name).await?;
    Ok(there.then(|| format!("{owner_kind} {name}")))
}

fn labels(object: &Value) -> Labels {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn claim_of(object: &Value) -> Option<(&str, &str)> {
    let claim = object.pointer("/spec/claimRef")?;
    Some((claim.get("namespace")?.as_str()?, claim.get("name")?.as_str()?))
}

fn is_volume(kind: &ResourceKind) -> bool {
    (kind.group.as_str(), kind.kind.as_str()) == ("", "PersistentVolume")
}

/// A volume of the original's claim.
fn is_moved_volume(wish: &Wish, kind: &ResourceKind, object: &Value) -> bool {
    is_volume(kind) && claim_of(object).is_some_and(|(namespace, _)| wish.mapping.moves(namespace))
}

/// What may be done with an object that exists.
fn leave(kind: &ResourceKind, copy: bool) -> Leave {
    let binding = kind.kind == "ClusterRoleBinding";
    if copy && !kind.namespaced && kind.kind != "Namespace" && !binding {
        return Leave::Unchanged;
    }
    match Group::of(kind) {
        Group::Namespaces | Group::Definitions | Group::Storage | Group::Claims => Leave::Undeleted,
        _ => Leave::Free,
    }
}
