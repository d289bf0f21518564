// SPDX-License-Identifier: GPL-2.0

//! Sums of counters.

use crate::{
    parts::Part,
    snapshot::{Counter, detail},
};

/// The sum of several counters, which may not fit into 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The number of exits.
    pub exits: u128,
    /// The cycles of the timed exits.
    pub cycles: u128,
    /// The number of timed exits, as far as that is known.
    pub(super) timed: u128,
    /// The number of exits that were not timed, if all counters say.
    pub untimed: Option<u128>,
    /// Those that came from nested guests, as far as counters say.
    pub nested: Option<Nested>,
    /// How many others may belong here, too, if that is not certain.
    pub error: Option<u128>,
}

/// Exits from nested guests, L2, and those of them that were reflected to L1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As in `detail::Nested`.
pub struct Nested {
    pub l2: u128,
    pub l2_cycles: u128,
    pub reflected: u128,
    pub reflected_cycles: u128,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum {
            exits: 0,
            cycles: 0,
            timed: 0,
            untimed: Some(0),
            nested: None,
            error: None,
        }
    }
}

impl From<Part> for Sum {
    fn from(part: Part) -> Sum {
        Sum {
            exits: part.exits,
            cycles: part.cycles,
            timed: part.exits,
            untimed: part.is_timed.then_some(0),
            nested: None,
            error: Some(part.error),
        }
    }
}

impl Sum {
    /// The average cycles of a timed exit. Some recordings have no cycles at all.
    pub fn avg(&self) -> Option<f64> {
        (self.timed > 0 && self.cycles > 0).then(|| self.cycles as f64 / self.timed as f64)
    }

    /// Adds a counter, less `overhead` cycles for each timed exit. The overhead was measured
    /// elsewhere and may exceed what the exits took: then nothing is left.
    pub(super) fn add(&mut self, counter: &Counter, nested: Option<detail::Nested>, overhead: u64) {
        let [exits, cycles, timed] =
            [counter.exits, counter.cycles, counter.timed()].map(u128::from);
        self.exits += exits;
        self.cycles += cycles.saturating_sub(timed * u128::from(overhead));
        self.timed += timed;
        let untimed = self.untimed.zip(counter.untimed);
        self.untimed = untimed.map(|(sum, more)| sum + u128::from(more));
        if let Some(more) = nested {
            let sum = self.nested.get_or_insert_default();
            sum.l2 += u128::from(more.l2);
            sum.l2_cycles += u128::from(more.l2_cycles);
            sum.reflected += u128::from(more.reflected);
            sum.reflected_cycles += u128::from(more.reflected_cycles);
        }
    }
}
