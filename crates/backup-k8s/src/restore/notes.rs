//! What a person should know before saying yes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    decide::Decision, mapping::Mapping, options::Existing, prepare::Wish, survey::Seen, tally::name,
};
use crate::cluster::ResourceKind;

/// How many different things are said of one matter.
const MOST: usize = 20;

/// Gathered while looking; bounded.
#[derive(Default)]
pub(super) struct Notes {
    left: BTreeMap<(String, String), (u64, String)>,
    left_more: u64,
    overwritten: u64,
    differ: u64,
    matters: BTreeMap<&'static str, (u64, Vec<String>)>,
}

impl Notes {
    /// An object that is not restored.
    pub(super) fn left(&mut self, kind: &ResourceKind, key: &str, why: String) {
        let entry = (kind.kind.clone(), why);
        if let Some((count, _)) = self.left.get_mut(&entry) {
            *count += 1;
        } else if self.left.len() < MOST {
            self.left.insert(entry, (1, name(kind, key)));
        } else {
            self.left_more += 1;
        }
    }

    /// An object of which something is overwritten; the line is none when enough were named.
    pub(super) fn overwritten(&mut self, kind: &ResourceKind, seen: &Seen) -> Option<String> {
        self.overwritten += 1;
        let name = name(kind, &seen.wanted.key);
        match self.overwritten as usize {
            number if number < MOST => Some(match seen.decision {
                Decision::Replace => format!("{name} is deleted and created anew"),
                _ => format!("{name}: fields that differ get the backup's values"),
            }),
            MOST => Some("and more: the steps say which (--set show=all)".to_owned()),
            _ => None,
        }
    }

    /// An object that is there or will be.
    pub(super) fn seen(&mut self, mapping: &Mapping, kind: &ResourceKind, seen: &Seen) {
        if matches!(seen.decision, Decision::Skip(_)) {
            self.differ += 1;
        }
        if !seen.decision.writes() {
            return;
        }
        if seen.wanted.mentions {
            self.matter("name a Service of the original in a text (NAME.NAMESPACE.svc)", kind, seen);
        }
        if mapping.moved().next().is_none() {
            return;
        }
        match kind.kind.as_str() {
            "Ingress" => self.matter("serve the same hosts as the original", kind, seen),
            "PersistentVolumeClaim" => {
                self.matter("get a volume of their own, not the original's", kind, seen)
            }
            _ if mounts_host(&seen.wanted.object) => {
                self.matter("mount the same folders of the nodes as the original", kind, seen);
            }
            _ => {}
        }
    }

    fn matter(&mut self, what: &'static str, kind: &ResourceKind, seen: &Seen) {
        let (count, names) = self.matters.entry(what).or_default();
        *count += 1;
        if names.len() < 5 {
            names.push(name(kind, &seen.wanted.key));
        }
    }

    /// The lines.
    pub(super) fn lines(self, wish: &Wish) -> Vec<String> {
        let mut lines = Vec::new();
        let moved: Vec<String> = wish.mapping.moved().map(|(from, to)| format!("{from} as {to}")).collect();
        if !moved.is_empty() {
            lines.push(format!(
                "a copy is made: {}; what runs in the original stays as it is",
                moved.join(", ")
            ));
        }
        if self.differ > 0 && wish.options.existing == Existing::Skip {
            lines.push(format!(
                "{} objects exist, differ and stay as they are: --set existing=update sets what the backup says",
                self.differ
            ));
        }
        if wish.options.existing == Existing::Replace {
            lines.push(
                "namespaces, definitions, classes, volumes and claims are updated and never deleted: data hang on them"
                    .to_owned(),
            );
        }
        for (what, (count, names)) in self.matters {
            let more = if count as usize > names.len() { ", ..." } else { "" };
            lines.push(format!("{count} objects {what}: {}{more}", names.join(", ")));
        }
        for ((kind, why), (count, name)) in self.left {
            lines.push(match count {
                1 => format!("not restored: {name}: {why}"),
                _ => format!("not restored: {count} of kind {kind}: {why}"),
            });
        }
        if self.left_more > 0 {
            lines.push(format!("not restored: {} more, for other reasons", self.left_more));
        }
        lines
    }
}

fn mounts_host(object: &Value) -> bool {
    let pod = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/spec"];
    let volumes = pod.iter().find_map(|pointer| object.pointer(pointer)?.get("volumes")?.as_array());
    volumes.into_iter().flatten().any(|volume| volume.get("hostPath").is_some())
}
