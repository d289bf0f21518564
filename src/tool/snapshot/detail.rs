// SPDX-License-Identifier: GPL-2.0

//! What is behind exits of a reason: ports, MSRs and so on, and the guest's code.

use super::owner::Owner;
use anyhow::{Error, Result};
use foldhash::{HashMap, HashSet};
use profile::detail::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, hash::Hash, sync::Arc};

/// The exits of an owner and reason that have the same key. A vCPU's table holds the keys with
/// the most exits; the exits of the others are in no entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{K}")]
pub struct Entry<K> {
    /// Whose exits.
    pub owner: Owner,
    /// The reason's number; none for reasons without a number of their own.
    pub reason: Option<u32>,
    /// The kernel's name for the reason.
    pub name: Arc<str>,
    /// What they have in common.
    #[serde(flatten)]
    pub key: K,
    /// The number of exits since the key got its entry.
    pub exits: u64,
    /// The cycles of these exits.
    pub cycles: u64,
    /// The number of exits that it may have had before, at most. They are in no entry.
    pub error: u64,
}

/// A port, MSR or the like.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Detail {
    /// What the key is.
    #[schemars(with = "super::shape::Kind")]
    pub kind: Kind,
    /// 2 if the exits came from a nested guest, L2, or else 1.
    pub level: u8,
    /// The port, MSR or the like, in the form of the kind.
    pub key: Hex,
}

/// A place in the guest's code.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Place {
    /// 2 if the exits came from a nested guest, L2, or else 1.
    pub level: u8,
    /// The guest's instruction pointer, or its page.
    pub rip: Hex,
    /// The guest's privilege level.
    pub cpl: u8,
}

/// A number of 64 bits. In JSON it is 16 hexadecimal digits, because programs that read numbers
/// as floating point would round it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub u64);

impl From<Hex> for String {
    fn from(hex: Hex) -> String {
        format!("{:016x}", hex.0)
    }
}

impl TryFrom<String> for Hex {
    type Error = Error;

    fn try_from(text: String) -> Result<Hex> {
        let digits = text.chars().all(|digit| digit.is_ascii_hexdigit());
        let number = u64::from_str_radix(&text, 16).ok().filter(|_| digits);
        let number = number.ok_or_else(|| anyhow::anyhow!("{text:?} is not hexadecimal"))?;
        Ok(Hex(number))
    }
}

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of 64 bits, as 16 hexadecimal digits.",
            "type": "string",
            "pattern": "^[0-9a-f]{16}$"
        })
    }
}

/// Those exits of a counter that came from a nested guest, L2, and those of them that KVM gave to
/// its hypervisor, L1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nested {
    /// The number of exits from L2.
    pub l2: u64,
    /// Their cycles.
    pub l2_cycles: u64,
    /// The number of those that were reflected to L1.
    pub reflected: u64,
    /// Their cycles.
    pub reflected_cycles: u64,
}

impl From<profile::detail::Nested> for Nested {
    fn from(nested: profile::detail::Nested) -> Nested {
        Nested {
            l2: nested.l2_exits,
            l2_cycles: nested.l2_cycles,
            reflected: nested.reflected_exits,
            reflected_cycles: nested.reflected_cycles,
        }
    }
}

impl Nested {
    fn with(self, other: Nested, each: fn(u64, u64) -> u64) -> Nested {
        Nested {
            l2: each(self.l2, other.l2),
            l2_cycles: each(self.l2_cycles, other.l2_cycles),
            reflected: each(self.reflected, other.reflected),
            reflected_cycles: each(self.reflected_cycles, other.reflected_cycles),
        }
    }

    /// The sum of both.
    pub fn plus(self, other: Nested) -> Nested {
        self.with(other, u64::saturating_add)
    }

    /// What was added to `earlier`.
    pub fn minus(self, earlier: Nested) -> Nested {
        self.with(earlier, u64::saturating_sub)
    }

    /// The same as parts of so many exits and cycles. The module reads the numbers one by one
    /// while exits go on.
    pub fn within(self, exits: u64, cycles: u64) -> Nested {
        let part = |exits: u64, cycles: u64, of: (u64, u64)| match exits.min(of.0) {
            0 => (0, 0),
            exits => (exits, cycles.min(of.1)),
        };
        let l2 = part(self.l2, self.l2_cycles, (exits, cycles));
        let reflected = part(self.reflected, self.reflected_cycles, l2);
        Nested {
            l2: l2.0,
            l2_cycles: l2.1,
            reflected: reflected.0,
            reflected_cycles: reflected.1,
        }
    }
}

type Index<'a, K> = HashMap<(&'a Owner, Option<u32>, K), &'a Entry<K>>;

impl<K: Copy + Eq + Hash> Entry<K> {
    fn id(&self) -> (&Owner, Option<u32>, K) {
        (&self.owner, self.reason, self.key)
    }

    /// What was added since `earlier`, an entry of the same vCPU and key.
    ///
    /// An entry keeps its error as long as the key keeps its entry. If the key lost the entry and
    /// got one again, the new error is at least what the key had before, so it is higher; then
    /// all exits of the entry are new, and as many as its error may have been counted meanwhile.
    fn since(&self, earlier: &Entry<K>) -> Entry<K> {
        let kept = self.error == earlier.error && self.exits >= earlier.exits;
        let mut added = self.clone();
        if kept {
            added.exits -= earlier.exits;
            added.cycles = added.cycles.saturating_sub(earlier.cycles);
            added.error = 0;
        }
        added
    }

    /// What was added to an entry of ended vCPUs, of which it had `earlier`, and vCPUs that have
    /// ended since had it, too.
    ///
    /// A vCPU's end adds to the error, so a higher error does not say that the key had lost its
    /// entry. Either way, no more of its exits are new than are left when all that was there
    /// before is subtracted, and no fewer than that without the error.
    fn since_ended(&self, earlier: &[&Entry<K>]) -> Entry<K> {
        let sum = |number: fn(&Entry<K>) -> u64| {
            let numbers = earlier.iter().map(|entry| number(entry));
            numbers.fold(0, u64::saturating_add)
        };
        let (exits, error) = (sum(|entry| entry.exits), sum(|entry| entry.error));
        let new = self.exits.saturating_sub(exits);
        let most = self.exits.saturating_add(self.error).saturating_sub(exits);
        Entry {
            exits: new,
            cycles: self.cycles.saturating_sub(sum(|entry| entry.cycles)),
            error: match self.error == error && self.exits >= exits {
                true => 0,
                false => most - new,
            },
            ..self.clone()
        }
    }
}

/// What was added to `earlier`. Owners in `replaced` are others now, or have ended.
pub(crate) fn since<K: Copy + Eq + Hash>(
    now: &[Entry<K>],
    earlier: &[Entry<K>],
    replaced: &HashSet<&Owner>,
) -> Vec<Entry<K>> {
    let (gone, there): (Vec<_>, Vec<_>) = (earlier.iter()).partition(|entry| {
        replaced.contains(&entry.owner) && matches!(entry.owner, Owner::Vcpu(_))
    });
    let index: Index<'_, K> = there.iter().map(|entry| (entry.id(), *entry)).collect();
    let mut ended: HashMap<_, Vec<&Entry<K>>> = HashMap::default();
    for entry in gone {
        let key = (entry.reason, entry.key);
        ended.entry(key).or_default().push(entry);
    }
    let added = now.iter().map(|entry| {
        let before = index.get(&entry.id()).copied();
        if entry.owner != Owner::Ended {
            return before.map_or_else(|| entry.clone(), |before| entry.since(before));
        }
        let mut all: Vec<_> = before.into_iter().collect();
        let gone = ended.get(&(entry.reason, entry.key));
        all.extend(gone.into_iter().flatten());
        match all.as_slice() {
            [] => entry.clone(),
            all => entry.since_ended(all),
        }
    });
    // What may have been added counts, too: it bounds what others lost.
    added
        .filter(|entry| entry.exits > 0 || entry.error > 0)
        .collect()
}
