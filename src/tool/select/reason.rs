// SPDX-License-Identifier: GPL-2.0

//! A reason, as users name it.

use crate::{
    reasons,
    snapshot::{Counter, Snapshot},
};
use anyhow::{Result, bail};
use std::cmp::Reverse;

/// A selected reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Its number, if it has one.
    pub number: Option<u32>,
    name: String,
}

impl Reason {
    /// Whether `counter` counts it.
    pub fn is_counted_by(&self, counter: &Counter) -> bool {
        self.is(counter.reason, &counter.name)
    }

    /// Whether it has this number, or is without a number and has this name.
    pub fn is(&self, number: Option<u32>, name: &str) -> bool {
        number == self.number && (number.is_some() || *name == *self.name)
    }

    /// Finds a reason by its name or number.
    pub fn find(text: &str, snapshot: &Snapshot) -> Option<Reason> {
        let number = number(text);
        Reason::known(snapshot).find(|reason| match number {
            Some(_) => reason.number == number,
            None => reason.name.eq_ignore_ascii_case(text),
        })
    }

    /// All reasons that are defined or counted.
    fn known(snapshot: &Snapshot) -> impl Iterator<Item = Reason> {
        let isa = snapshot.isa;
        let defined = reasons::defined(isa).map(move |reason| Reason {
            number: Some(reason),
            name: isa.name(reason).to_string(),
        });
        let counted = snapshot.counters.iter().map(|counter| Reason {
            number: counter.reason,
            name: counter.name.to_string(),
        });
        defined.chain(counted)
    }

    /// Finds a reason by its name or number.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn parse(text: &str, snapshot: &Snapshot) -> Result<Reason> {
        if let Some(found) = Reason::find(text, snapshot) {
            return Ok(found);
        }
        let isa = snapshot.isa;
        let known: Vec<Reason> = Reason::known(snapshot).collect();
        let upper = text.to_ascii_uppercase();
        let set = reasons::set_name(isa);
        // Short names with two letters in the wrong order are too unlike for Jaro and Winkler.
        let likeness = |reason: &Reason| match strsim::osa_distance(&reason.name, &upper) {
            1 => 1.0,
            _ => strsim::jaro_winkler(&reason.name, &upper),
        };
        let alike = known.iter().filter(|reason| likeness(reason) > 0.7);
        let nearest = alike.min_by_key(|reason| Reverse((likeness(reason) * 1e6) as u64));
        match (number(text), nearest) {
            (None, Some(nearest)) => bail!(
                "there is no reason {text:?} on {set}: did you mean {}? (exitprof report --all lists all)",
                nearest.name
            ),
            _ => bail!("there is no reason {text} on {set} (exitprof report --all lists all)"),
        }
    }
}

/// The number that `text` is, if it is one.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
