//! All objects of a kind: in pages, one object at a time, at one resource version.

mod split;

use std::{collections::VecDeque, fmt, pin::Pin};

use backup_core::words::{Error, ErrorKind, Result, Retry};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::{Deserialize, de::IgnoredAny};

use self::split::{ListHead, Splitter};
use crate::cluster::{Cluster, Patience, ResourceKind, escaped, refusal};

/// Objects of a page.
const LIMIT: usize = 500;
/// How often a list may begin anew because its version was gone.
const ANEW: u32 = 3;

/// What is listed.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: ResourceKind,
    /// None: everywhere.
    pub(crate) namespace: Option<String>,
    /// The resource version that the list is to be of; None for the current one.
    pub(crate) version: Option<String>,
    /// Of these labels.
    pub(crate) labels: Option<String>,
    /// Of this name.
    pub(crate) name: Option<String>,
}

impl Wanted {
    /// All objects of a kind, now.
    pub(crate) fn all(kind: &ResourceKind) -> Self {
        Self { kind: kind.clone(), namespace: None, version: None, labels: None, name: None }
    }

    /// In this namespace.
    #[must_use]
    pub(crate) fn namespace(mut self, namespace: Option<&str>) -> Self {
        self.namespace = namespace.map(str::to_owned);
        self
    }

    /// At this resource version.
    #[must_use]
    pub(crate) fn version(mut self, version: Option<&str>) -> Self {
        self.version = version.map(str::to_owned);
        self
    }

    /// Selected by labels.
    #[must_use]
    pub(crate) fn labels(mut self, labels: Option<&str>) -> Self {
        self.labels = labels.map(str::to_owned);
        self
    }

    /// Called so.
    #[must_use]
    pub(crate) fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// "secrets in namespace a", for errors.
    pub(crate) fn subject(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} in namespace {namespace}", self.kind.resource()),
            None => self.kind.resource(),
        }
    }
}

/// What comes out of a list.
#[derive(Debug)]
pub(crate) enum Listed {
    /// An object: JSON on one line, with apiVersion and kind.
    Object(Bytes),
    /// What came before does not count: the list begins anew at another version.
    Anew,
}

/// How a list ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The version that it is of, when the server says one.
    pub(crate) version: Option<String>,
    /// Why that is not the version that was wanted.
    pub(crate) own_version: Option<String>,
    /// How many objects came.
    pub(crate) objects: u64,
    /// How many the server had spoken of, when it did.
    pub(crate) announced: Option<u64>,
}

/// All objects of a kind as a stream; with `version` None, those of now, at one version. Should that version be gone before the
/// end, it ends with an error: begin again.
pub(crate) fn objects(
    cluster: &Cluster,
    kind: &ResourceKind,
    namespace: Option<&str>,
    version: Option<&str>,
    selector: Option<&str>,
) -> impl Stream<Item = Result<Bytes>> + Send + Unpin + use<> {
    let wanted = Wanted::all(kind).namespace(namespace).version(version).labels(selector);
    let list = List::new(cluster, wanted);
    Box::pin(futures::stream::try_unfold(list, |mut list| async {
        match list.next().await? {
            Some(Listed::Object(object)) => Ok(Some((object, list))),
            Some(Listed::Anew) => Err(Error::new(ErrorKind::Conflict, "list", list.wanted.subject())
                .detail("its version was gone before its end")
                .retry(Retry::Now)),
            None => Ok(None),
        }
    }))
}

type Body = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A list that is being read. A lost connection is made again, and the page goes on where it stood.
pub(crate) struct List {
    cluster: Cluster,
    wanted: Wanted,
    patience: Patience,
    /// The page that is being read.
    page: Option<(Body, Splitter)>,
    /// Objects that are whole and not yet handed on.
    ready: VecDeque<Bytes>,
    /// Where the next page begins; empty for the first.
    token: String,
    /// Objects of this page that were handed on, and of those how many are to come once more.
    given: usize,
    again: usize,
    /// Objects handed on since something last went wrong.
    lately: u64,
    anew: u32,
    done: bool,
    ended: Ended,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("wanted", &self.wanted)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl List {
    /// Asks nothing yet.
    pub(crate) fn new(cluster: &Cluster, wanted: Wanted) -> Self {
        Self {
            cluster: cluster.clone(),
            wanted,
            patience: Patience::new(),
            page: None,
            ready: VecDeque::new(),
            token: String::new(),
            given: 0,
            again: 0,
            lately: 0,
            anew: 0,
            done: false,
            ended: Ended::default(),
        }
    }

    /// How it ended: right once [`next`](Self::next) has said None.
    pub(crate) fn ended(&self) -> &Ended {
        &self.ended
    }

    /// The next object. None at the end, which the server has then confirmed.
    ///
    /// # Errors
    /// When the server refuses, or does not answer for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Listed>> {
        loop {
            while let Some(object) = self.ready.pop_front() {
                if self.again > 0 {
                    self.again -= 1;
                    continue;
                }
                self.given += 1;
                self.lately += 1;
                self.ended.objects += 1;
                return Ok(Some(Listed::Object(whole(&self.wanted.kind, object)?)));
            }
            if self.done {
                self.agree()?;
                return Ok(None);
            }
            if let Err(error) = self.read().await
                && self.recover(error).await?
            {
                return Ok(Some(Listed::Anew));
            }
        }
    }

    /// Begins a page, reads on in it, or ends it.
    async fn read(&mut self) -> Result<()> {
        let Some((body, splitter)) = &mut self.page else {
            let body = self.cluster.stream(&self.path(), None).await?;
            self.page = Some((Box::pin(body), Splitter::new()));
            return Ok(());
        };
        if let Some(piece) = body.next().await {
            return splitter.push(&piece?, &mut self.ready);
        }
        match self.page.take() {
            Some((_, splitter)) => self.end_page(splitter.finish()?),
            None => Ok(()),
        }
    }

    fn end_page(&mut self, head: ListHead) -> Result<()> {
        let version = Some(head.resource_version).filter(|version| !version.is_empty());
        if self.ended.version.is_some() && version != self.ended.version {
            return Err(self.error(ErrorKind::Corrupt, "its pages are of different versions"));
        }
        if self.token.is_empty() {
            self.ended.announced = head.remaining_item_count.map(|more| self.page_objects() + more);
            if self.wanted.version.is_some() && version != self.wanted.version {
                self.ended.own_version.get_or_insert("its server keeps versions of its own".to_owned());
            }
            self.ended.version = version;
        }
        self.token = head.next;
        self.done = self.token.is_empty();
        self.given = 0;
        self.patience.progress();
        Ok(())
    }

    /// All objects of the page that has just ended.
    fn page_objects(&self) -> u64 {
        (self.given + self.ready.len() - self.again) as u64
    }

    /// After an error: waits, and then goes on where it stood. True when it had to begin anew.
    async fn recover(&mut self, error: Error) -> Result<bool> {
        let head = self.page.take().and_then(|(_, splitter)| splitter.head().cloned());
        self.ready.clear();
        if let Some(why) = self.is_gone(&error) {
            return self.begin_anew(why, error);
        }
        if std::mem::take(&mut self.lately) > 0 {
            self.patience.progress();
        }
        self.patience.wait(&self.cluster, error).await.map_err(|e| self.failed(e))?;
        if self.token.is_empty() && self.given > 0 && self.ended.version.is_none() {
            // Only at the same version do the same objects come again.
            match head.map(|head| head.resource_version).filter(|version| !version.is_empty()) {
                Some(version) => self.ended.version = Some(version),
                None if self.wanted.version.is_some() && self.ended.own_version.is_none() => {}
                None => {
                    self.restart();
                    return Ok(true);
                }
            }
        }
        self.again = self.given;
        Ok(false)
    }

    /// Why the version that was asked for cannot be had, when that is what the server says.
    fn is_gone(&self, error: &Error) -> Option<String> {
        let refusal = refusal(error)?;
        let asked = self.exact().is_some() || !self.token.is_empty();
        if !asked {
            None
        } else if refusal.is_expired() {
            Some("the version that was wanted had been compacted".to_owned())
        } else if refusal.message.contains("Too large resource version") || refusal.code == 400 {
            Some("its server keeps versions of its own".to_owned())
        } else {
            None
        }
    }

    fn begin_anew(&mut self, why: String, error: Error) -> Result<bool> {
        self.anew += 1;
        if self.anew > ANEW {
            return Err(self.failed(error));
        }
        tracing::info!(error = %error.chain(), "a list begins anew, at the current version");
        let had = self.ended.objects > 0;
        self.restart();
        self.ended.own_version = Some(why);
        Ok(had)
    }

    fn restart(&mut self) {
        self.token.clear();
        (self.given, self.again) = (0, 0);
        self.ended = Ended { own_version: self.ended.own_version.take(), ..Ended::default() };
    }

    /// The version that the first page is asked for.
    fn exact(&self) -> Option<&str> {
        let wanted = self.wanted.version.as_deref().filter(|_| self.ended.own_version.is_none());
        self.ended.version.as_deref().or(wanted)
    }

    fn path(&self) -> String {
        let mut path =
            format!("{}?limit={LIMIT}", self.wanted.kind.collection(self.wanted.namespace.as_deref()));
        if !self.token.is_empty() {
            path.push_str(&format!("&continue={}", escaped(&self.token)));
        } else if let Some(version) = self.exact() {
            path.push_str(&format!("&resourceVersion={}&resourceVersionMatch=Exact", escaped(version)));
        }
        if let Some(labels) = &self.wanted.labels {
            path.push_str(&format!("&labelSelector={}", escaped(labels)));
        }
        if let Some(name) = &self.wanted.name {
            path.push_str(&format!("&fieldSelector=metadata.name%3D{}", escaped(name)));
        }
        path
    }

    /// Did as many come as the server had spoken of?
    fn agree(&self) -> Result<()> {
        match self.ended.announced {
            Some(announced) if announced != self.ended.objects => Err(self.error(
                ErrorKind::Truncated,
                &format!("the server spoke of {announced} objects and gave {}", self.ended.objects),
            )),
            _ => Ok(()),
        }
    }

    fn error(&self, kind: ErrorKind, detail: &str) -> Error {
        Error::new(kind, "list", self.wanted.subject()).detail(detail)
    }

    fn failed(&self, error: Error) -> Error {
        Error::new(error.kind(), "list", self.wanted.subject()).retry(error.retry_class()).because(error)
    }
}

/// Lists say once what kind their objects are of; here each object says so itself, on one line.
fn whole(kind: &ResourceKind, object: Bytes) -> Result<Bytes> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        api_version: Option<IgnoredAny>,
        kind: Option<IgnoredAny>,
    }
    let own: Own = serde_json::from_slice(&object).map_err(|e| {
        Error::new(ErrorKind::Corrupt, "understand", format!("an object of {}", kind.resource())).because(e)
    })?;
    let lines = memchr::memchr2(b'\n', b'\r', &object).is_some();
    if own.api_version.is_some() && own.kind.is_some() && !lines {
        return Ok(object);
    }
    let mut line = Vec::with_capacity(object.len() + 80);
    line.push(b'{');
    let mut add =
        |key: &str, value: &str| line.extend_from_slice(format!("\"{key}\":\"{value}\",").as_bytes());
    if own.api_version.is_none() {
        add("apiVersion", &kind.api_version());
    }
    if own.kind.is_none() {
        add("kind", &kind.kind);
    }
    // In JSON a line's end stands only between its words.
    line.extend(object[1..].iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    Ok(line.into())
}

#[cfg(test)]
mod tests;
