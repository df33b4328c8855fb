//! Which operation goes wrong, and how.

use super::{Call, Fault, Op};

/// Decides on each operation as it comes.
pub trait Script: Send {
    /// How it goes wrong; none when it goes well.
    fn fault(&mut self, op: &Op<'_>) -> Option<Fault>;
}

impl<F: FnMut(&Op<'_>) -> Option<Fault> + Send> Script for F {
    fn fault(&mut self, op: &Op<'_>) -> Option<Fault> {
        self(op)
    }
}

/// Of several rules the first that fits decides.
impl Script for Vec<Rule> {
    fn fault(&mut self, op: &Op<'_>) -> Option<Fault> {
        self.iter_mut().find_map(|rule| rule.fault(op))
    }
}

/// The operation of that number goes wrong.
pub fn at(number: u64, fault: Fault) -> Rule {
    Rule { number: Some(number), ..Rule::new(fault) }
}

/// Operations that fit go wrong.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    number: Option<u64>,
    call: Option<Call>,
    key: Option<String>,
    left: u64,
}

impl Rule {
    /// Every operation goes wrong.
    pub fn new(fault: Fault) -> Self {
        Self { fault, number: None, call: None, key: None, left: u64::MAX }
    }

    /// Only those of this kind.
    #[must_use]
    pub fn on(mut self, call: Call) -> Self {
        self.call = Some(call);
        self
    }

    /// Only those on keys that have `part` in them.
    #[must_use]
    pub fn key(mut self, part: impl Into<String>) -> Self {
        self.key = Some(part.into());
        self
    }

    /// Only the first `times` that fit.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.left = times;
        self
    }
}

impl Script for Rule {
    fn fault(&mut self, op: &Op<'_>) -> Option<Fault> {
        let fits = self.number.is_none_or(|number| number == op.number)
            && self.call.is_none_or(|call| call == op.call)
            && self.key.as_ref().is_none_or(|part| op.key.contains(part.as_str()));
        if !fits || self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.fault)
    }
}

/// Operations go wrong by chance; the same seed gives the same chances.
#[derive(Clone, Debug)]
pub struct Seeded {
    chance: fastrand::Rng,
    permille: u32,
    faults: Vec<Fault>,
}

impl Seeded {
    /// So many of a thousand operations go wrong, each time by one of `faults`.
    pub fn new(seed: u64, permille: u32, faults: Vec<Fault>) -> Self {
        Self { chance: fastrand::Rng::with_seed(seed), permille, faults }
    }
}

impl Script for Seeded {
    fn fault(&mut self, _: &Op<'_>) -> Option<Fault> {
        let hit = self.chance.u32(..1000) < self.permille;
        hit.then(|| self.chance.choice(self.faults.iter().copied())).flatten()
    }
}
