//! Who is there.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use backup_core::words::{Error, ErrorKind, Result, Secret};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Settings, throttle::Throttle};

/// The cookie of a login.
const COOKIE: &str = "ha_backup_login";
/// How long a login lasts.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// So many logins there are at once; the oldest goes.
const LOGINS: usize = 256;
/// No user's name is longer in the log.
const NAME: usize = 120;

/// Who calls, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Nobody is asked who they are.
    Anybody,
    /// It sent the token.
    Token,
    /// It logged in with the token.
    LoggedIn,
    /// As a proxy named it.
    Named(String),
}

impl Caller {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Anybody => "anybody".to_owned(),
            Self::Token | Self::LoggedIn => "token".to_owned(),
            Self::Named(name) => name.clone(),
        }
    }
}

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It did not say who it is.
    Unknown,
    /// Its token is wrong.
    Wrong,
    /// It was wrong too often, and must wait.
    Wait(Duration),
}

/// Tokens, logins and those who failed.
#[derive(Debug)]
pub(super) struct Auth {
    settings: Settings,
    logins: Mutex<HashMap<[u8; 32], Instant>>,
    throttle: Mutex<Throttle>,
}

impl Auth {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, logins: Mutex::default(), throttle: Mutex::default() }
    }

    /// Who sends these headers from there.
    pub(super) fn caller(&self, headers: &HeaderMap, from: IpAddr) -> Result<Caller, Refused> {
        if !self.settings.has_authentication() {
            return Ok(Caller::Anybody);
        }
        if let Some(name) = self.named(headers, from) {
            return Ok(Caller::Named(name));
        }
        if cookie(headers).is_some_and(|value| self.is_logged_in(value)) {
            return Ok(Caller::LoggedIn);
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match sent.and_then(|sent| sent.strip_prefix("Bearer ")) {
            Some(token) => self.try_token(token, from).map(|()| Caller::Token),
            None => Err(Refused::Unknown),
        }
    }

    /// The name that a trusted proxy gives.
    fn named(&self, headers: &HeaderMap, from: IpAddr) -> Option<String> {
        let proxy = self.settings.proxy.as_ref()?;
        if !proxy.from.contains(&from.to_canonical()) {
            return None;
        }
        let mut sent = headers.get_all(&proxy.header).iter();
        let name = sent.next()?.to_str().ok()?.trim();
        // Of two names one may be the caller's own.
        let only = sent.next().is_none() && !name.is_empty();
        only.then(|| name.chars().take(NAME).collect())
    }

    /// Holds a token against the right one; slows down whoever is wrong.
    pub(super) fn try_token(&self, token: &str, from: IpAddr) -> Result<(), Refused> {
        let now = Instant::now();
        let mut throttle = self.throttle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(wait) = throttle.wait(from, now) {
            return Err(Refused::Wait(wait));
        }
        match &self.settings.token {
            Some(right) if same(right, token) => {
                throttle.succeeded(from);
                Ok(())
            }
            _ => {
                throttle.failed(from, now);
                Err(Refused::Wrong)
            }
        }
    }

    /// Begins a login; the cookie to set.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(super) fn log_in(&self) -> Result<String> {
        let mut random = [0_u8; 32];
        rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Error::new(ErrorKind::Internal, "make", "a login").because(e))?;
        let value: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut logins = self.logins.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        logins.retain(|_, until| *until > now);
        if logins.len() >= LOGINS {
            let oldest = logins.iter().min_by_key(|(_, until)| **until).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| logins.remove(&oldest));
        }
        logins.insert(hash(&value), now + LASTS);
        Ok(self.cookie(&value, LASTS.as_secs()))
    }

    /// Ends a login; the cookie to set.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> String {
        if let Some(value) = cookie(headers) {
            self.logins.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&hash(value));
        }
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.settings.tls.is_some() { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// Logins are looked up by hash: how long that takes says nothing of the value.
    fn is_logged_in(&self, value: &str) -> bool {
        let logins = self.logins.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logins.get(&hash(value)).is_some_and(|until| *until > Instant::now())
    }
}

/// Takes the same time wherever they differ, and whatever their lengths.
fn same(right: &Secret, given: &str) -> bool {
    hash(right.expose()).ct_eq(&hash(given)).into()
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}
