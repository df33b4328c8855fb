//! The way through all objects of a session: each is asked about as it is, and created in the form in which it does nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use backup_core::{
    policy::Wrong,
    traits::Context,
    words::{Error, ErrorKind, Result},
};
use futures::StreamExt;
use serde_json::{Map, Value};

use super::{
    super::{
        backup::{Backup, Key, key},
        diff::compare,
        live,
        normal::normalise,
        prepare::{Prepared, Wanted, Wish, prepare},
        show,
        tally::name,
    },
    ask::{self, Answer, Keep},
    keep_in::{self, Treatment},
};
use crate::{
    cluster::{Cluster, ResourceKind},
    order,
};

/// How many objects are sent at a time.
const AT_ONCE: usize = 8;
/// As many wrong things are remembered of each rung.
const MOST: usize = 100;

/// What the objects are sent to.
pub(super) struct Lent<'a> {
    pub(super) cluster: &'a Cluster,
    /// The label of what is created; none when nothing is.
    pub(super) mark: Option<Map<String, Value>>,
}

/// What was found on the way.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Objects in the file, by kind.
    pub(super) read: BTreeMap<String, u64>,
    /// Objects that the API server accepts.
    pub(super) accepted: u64,
    /// Objects that a restore leaves out: the cluster makes them itself.
    pub(super) left: u64,
    /// Objects that were created, by kind.
    pub(super) created: HashMap<ResourceKind, HashSet<Key>>,
    /// Objects whose kept form was held against what was sent.
    pub(super) compared: u64,
    /// What the API server refuses.
    pub(super) refused: Vec<Wrong>,
    /// What it makes something else of.
    pub(super) differing: Vec<Wrong>,
    /// Why objects could not be asked about: how many, and one of them.
    pub(super) unknown: BTreeMap<String, (u64, String)>,
    /// How objects were kept from acting: by treatment, of each kind how many.
    pub(super) kept_in: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Found {
    /// All objects in the file.
    pub(super) fn all_read(&self) -> u64 {
        self.read.values().sum()
    }

    /// All objects that were created.
    pub(super) fn all_created(&self) -> u64 {
        self.created.values().map(|keys| keys.len() as u64).sum()
    }

    fn unknown(&mut self, why: String, name: &str) {
        let (count, _) = self.unknown.entry(why).or_insert_with(|| (0, name.to_owned()));
        *count += 1;
    }

    fn compare(&mut self, kind: &ResourceKind, key: &Key, sent: &Value, mut made: Value) {
        let mut wanted = sent.clone();
        normalise(&mut wanted);
        live::comparable(&mut made);
        let difference = compare(&wanted, &made);
        if !difference.is_contained() && self.differing.len() < MOST {
            let found = show::difference(&kind.kind, &difference, 3).join("; ");
            self.differing.push(Wrong::new(name(kind, key), found));
        }
    }
}

/// Goes through all objects, in the order of a restore. Without a cluster they are read and counted.
pub(super) async fn walk(
    cx: &Context,
    backup: &Backup<'_>,
    wish: &Wish,
    lent: Option<&Lent<'_>>,
) -> Result<Found> {
    let mut found = Found::default();
    let mut served = Served::default();
    let mut kinds: Vec<&ResourceKind> = backup.kinds.iter().collect();
    // A quota counts from when it is there.
    let place = |kind: &ResourceKind| {
        (kind.kind == "ResourceQuota", order::rank(&kind.group, &kind.kind), kind.resource())
    };
    kinds.sort_by_key(|kind| place(kind));
    for kind in kinds {
        let lent = match lent {
            Some(lent) if served.has(cx, lent.cluster, kind).await? => Sent::To(lent),
            Some(_) => Sent::Unserved,
            None => Sent::Nowhere,
        };
        one_kind(cx, backup, wish, kind, &lent, &mut found).await?;
    }
    Ok(found)
}

/// Where the objects of a kind are sent.
enum Sent<'a> {
    To(&'a Lent<'a>),
    Unserved,
    Nowhere,
}

async fn one_kind(
    cx: &Context,
    backup: &Backup<'_>,
    wish: &Wish,
    kind: &ResourceKind,
    sent: &Sent<'_>,
    found: &mut Found,
) -> Result<()> {
    let objects = backup.objects(kind).await?;
    let outcomes = objects.map(|object| async move {
        let object = object?;
        let is_named =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).is_some_and(|s| !s.is_empty());
        if !["/apiVersion", "/kind", "/metadata/name"].into_iter().all(is_named) {
            return Err(Error::new(ErrorKind::Corrupt, "read an object of", kind.resource())
                .detail("it has no kind or no name"));
        }
        let original = key(&object);
        let Prepared::Wanted(mut wanted) = prepare(wish, backup, kind, object).await? else {
            return Ok(None);
        };
        let lent = match sent {
            Sent::To(lent) => Some(*lent),
            Sent::Unserved | Sent::Nowhere => None,
        };
        let creates = lent.is_some_and(|lent| lent.mark.is_some());
        keep_in::askable(kind, &mut wanted.object, creates);
        send(cx, lent, kind, original, *wanted).await.map(Some)
    });
    let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(AT_ONCE));
    while let Some(outcome) = outcomes.next().await {
        let outcome = outcome?;
        *found.read.entry(kind.resource()).or_default() += 1;
        match (outcome, sent) {
            (None, _) => found.left += 1,
            (Some(_), Sent::Nowhere) => {}
            (Some(sending), Sent::Unserved) => found.unserved(kind, &sending.original),
            (Some(sending), Sent::To(_)) => found.take(kind, sending),
        }
    }
    Ok(())
}

/// What came of one object.
#[derive(Debug)]
struct Sending {
    /// In the session.
    original: Key,
    /// In the cluster.
    key: Key,
    /// Each form that was sent, and the answer: as it is in a dry run, then in the form that does nothing.
    answers: Vec<(Value, Answer)>,
    was_created: bool,
    /// How it was kept from acting.
    treatment: Option<Treatment>,
}

/// Sends an object; without a cluster it is only known by its name.
async fn send(
    cx: &Context,
    lent: Option<&Lent<'_>>,
    kind: &ResourceKind,
    original: Key,
    wanted: Wanted,
) -> Result<Sending> {
    let Wanted { key, object, .. } = wanted;
    let mut sending = Sending { original, key, answers: Vec::new(), was_created: false, treatment: None };
    let Some(lent) = lent else { return Ok(sending) };
    let asked = ask::create(cx, lent.cluster, kind, &object, Keep::Not).await?;
    // What is refused as it is, is not created as something else.
    let is_refused = matches!(asked, Answer::Refused(_));
    let treatment = lent.mark.as_ref().map(|mark| (Treatment::of(kind, &object), mark));
    sending.treatment = treatment.map(|(treatment, _)| treatment);
    let form = treatment.and_then(|(treatment, mark)| treatment.form(kind, &object, mark));
    sending.answers.push((object, asked));
    if let Some(form) = form.filter(|_| !is_refused) {
        let created = ask::create(cx, lent.cluster, kind, &form, Keep::Created).await?;
        sending.was_created = matches!(created, Answer::Accepted(Some(_)));
        sending.answers.push((form, created));
    }
    Ok(sending)
}

impl Found {
    fn take(&mut self, kind: &ResourceKind, sending: Sending) {
        let Sending { original, key, answers, was_created, treatment } = sending;
        if let Some(said) = treatment.and_then(Treatment::said) {
            *self.kept_in.entry(said).or_default().entry(kind.resource()).or_default() += 1;
        }
        if was_created {
            self.created.entry(kind.clone()).or_default().insert(key);
        }
        let mut accepted = true;
        let mut kept = Vec::new();
        for (sent, answer) in answers {
            match answer {
                Answer::Accepted(made) => kept.extend(made.map(|made| (sent, made))),
                Answer::Refused(said) => {
                    accepted = false;
                    self.refuse(kind, &original, said);
                }
                // That it was created says more than a dry run that could not be had.
                Answer::Unknown(_) if was_created => {}
                Answer::Unknown(why) if accepted => {
                    accepted = false;
                    self.unknown(why, &name(kind, &original));
                }
                Answer::Unknown(_) => {}
            }
        }
        if accepted {
            self.accepted += 1;
            self.compared += u64::from(!kept.is_empty());
            kept.into_iter().for_each(|(sent, made)| self.compare(kind, &original, &sent, made));
        }
    }

    fn unserved(&mut self, kind: &ResourceKind, key: &Key) {
        match ask::unserved(kind) {
            Answer::Refused(said) => self.refuse(kind, key, said),
            Answer::Unknown(why) => self.unknown(why, &name(kind, key)),
            Answer::Accepted(_) => {}
        }
    }

    fn refuse(&mut self, kind: &ResourceKind, key: &Key, said: String) {
        if self.refused.len() < MOST {
            self.refused.push(Wrong::new(name(kind, key), said));
        }
    }
}

/// Which kinds the cluster serves, asked once for each version of a group.
#[derive(Debug, Default)]
struct Served {
    versions: BTreeMap<String, BTreeSet<String>>,
}

impl Served {
    async fn has(&mut self, cx: &Context, cluster: &Cluster, kind: &ResourceKind) -> Result<bool> {
        let version = kind.api_version();
        if !self.versions.contains_key(&version) {
            let root = if kind.group.is_empty() { "/api" } else { "/apis" };
            let path = format!("{root}/{version}");
            let look = cluster.patiently(|| cluster.get::<Value>(&path));
            let list = match cx.or_cancelled("drill", look).await {
                Ok(list) => list,
                Err(error) if error.kind() == ErrorKind::NotFound => Value::Null,
                Err(error) => return Err(error),
            };
            let resources = list.get("resources").and_then(Value::as_array);
            let names = resources.into_iter().flatten().filter_map(|one| one.get("name")?.as_str());
            self.versions.insert(version.clone(), names.map(str::to_owned).collect());
        }
        Ok(self.versions[&version].contains(&kind.plural))
    }
}
