//! Notifiers: how a message reaches somebody.

#[cfg(feature = "http")]
mod alertmanager;
#[cfg(feature = "http")]
mod chat;
#[cfg(feature = "mail")]
mod email;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod ntfy;
#[cfg(feature = "http")]
mod pagerduty;
#[cfg(feature = "http")]
mod ping;
#[cfg(any(feature = "http", feature = "mail"))]
mod retry;
#[cfg(feature = "http")]
mod telegram;
#[cfg(feature = "http")]
mod template;
#[cfg(feature = "http")]
mod webhook;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    traits::{Context, Node},
    words::Result,
};
use serde_json::Value;

use crate::alert::Message;

/// What a notifier is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Problems: when they begin, change, last and end.
    Problems,
    /// Every run, when it begins and when it ends, however that is.
    Runs,
}

/// Sends messages to somebody.
#[async_trait]
pub trait Notifier: Send + Sync + Debug {
    /// What it is called for.
    fn takes(&self) -> Takes {
        Takes::Problems
    }

    /// Sends one message and tries again where that can help. Success is what the other side said: a message that may have got
    /// lost is an error, and is sent once more the next time.
    ///
    /// # Errors
    /// When the other side did not take it, with what it said. No error holds a secret: neither a password nor an address that
    /// is one.
    async fn send(&self, cx: &Context, message: &Message) -> Result<()>;
}

/// A kind of notifier, as `kind = "..."` names it.
#[derive(Clone, Copy, Debug)]
pub struct NotifierKind {
    /// Its name in a configuration.
    pub kind: &'static str,
    /// JSON Schema (2020-12) of what is its own in a section.
    pub schema: fn() -> Value,
    /// Makes the notifier of that name from what is its own in a section. Reaches nothing and reads no secret.
    pub build: fn(&str, &Node) -> Result<Arc<dyn Notifier>>,
}

/// The kinds that this build has.
pub const KINDS: &[NotifierKind] = &[
    #[cfg(feature = "http")]
    alertmanager::KIND,
    #[cfg(feature = "http")]
    chat::DISCORD,
    #[cfg(feature = "mail")]
    email::KIND,
    #[cfg(feature = "http")]
    ntfy::KIND,
    #[cfg(feature = "http")]
    pagerduty::KIND,
    #[cfg(feature = "http")]
    ping::KIND,
    #[cfg(feature = "http")]
    chat::SLACK,
    #[cfg(feature = "http")]
    chat::TEAMS,
    #[cfg(feature = "http")]
    telegram::KIND,
    #[cfg(feature = "http")]
    webhook::KIND,
];

/// Kinds that some build has, and the feature that brings them.
pub const ALL_KINDS: &[(&str, &str)] = &[
    ("alertmanager", "http"),
    ("discord", "http"),
    ("email", "mail"),
    ("ntfy", "http"),
    ("pagerduty", "http"),
    ("ping", "http"),
    ("slack", "http"),
    ("teams", "http"),
    ("telegram", "http"),
    ("webhook", "http"),
];

/// `text` cut to `most` characters, with an ellipsis where something is missing.
#[cfg(feature = "http")]
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
