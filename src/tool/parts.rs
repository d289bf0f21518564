// SPDX-License-Identifier: GPL-2.0

//! The exits of details and of places in the guest's code, and those of neither.

use crate::{
    names::{has_many_keys, meant},
    select::{By, Key, Level, Reason, Selection, What},
    snapshot::{
        Counter, Origin, Owner, Snapshot,
        detail::{Detail, Entry, Place},
    },
};
use anyhow::{Result, ensure};
use foldhash::{HashMap, HashSet};
use profile::detail::Code;
use std::{collections::BTreeMap, sync::Arc};

/// The exits of a detail or place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of exits that are known to be of it.
    pub exits: u128,
    /// Their cycles.
    pub cycles: u128,
    /// How many others may be of it, at most.
    pub error: u128,
    /// Whether all exits were timed.
    pub is_timed: bool,
}

impl Part {
    fn with_error(error: u128) -> Part {
        Part {
            exits: 0,
            cycles: 0,
            error,
            is_timed: true,
        }
    }

    fn add(&mut self, exits: u64, cycles: u64, is_timed: bool) {
        self.exits += u128::from(exits);
        self.cycles += u128::from(cycles);
        self.is_timed &= is_timed;
    }
}

/// The exits of an owner and reason.
#[derive(Debug)]
struct Whole<'a> {
    name: &'a Arc<str>,
    /// Those that are in no entry, and their cycles.
    others: (u64, u64),
    is_timed: bool,
}

/// The rows of details or places that `selection` selects, and of the others: they add up to the
/// selected counters.
///
/// # Errors
///
/// If there are none, because they were not recorded.
pub fn parts(snapshot: &Snapshot, selection: &Selection) -> Result<HashMap<Key, Part>> {
    ensure!(
        !selection.net,
        "the overhead of details and code is not known: leave out --net"
    );
    ensure!(
        selection.level != Some(Level::Reflected),
        "details and code do not tell which exits of L2 were reflected: choose --level l2"
    );
    let is_page = snapshot.code == Some(Code::Page);
    match selection.by {
        By::Detail => {
            ensure!(
                !snapshot.details.is_empty() || !snapshot.detail_kinds.is_empty(),
                "there are no details: on the host, write their kinds, for example io,msr,mmio \
                 or all, to /sys/module/kvm_exitprof/parameters/details, and let guests run"
            );
            let table = |entry: &Entry<Detail>| (entry.key.kind as u8) << 1 | entry.key.level >> 1;
            let key = |entry: &Entry<Detail>| {
                let what = What::Detail(meant(entry.key));
                selection.key_of(what, entry.reason, &entry.name, false)
            };
            let is_alone = |entry: &Entry<Detail>| !has_many_keys(entry.key);
            Ok(added_up(
                &snapshot.details,
                snapshot,
                selection,
                table,
                is_alone,
                key,
            ))
        }
        _ => {
            ensure!(
                snapshot.origin != Origin::Bpf,
                "BPF sees no guest code, but the module kvm_exitprof does"
            );
            ensure!(
                !snapshot.places.is_empty() || !matches!(snapshot.code, None | Some(Code::Off)),
                "there is no guest code: on the host, write page or exact to \
                 /sys/module/kvm_exitprof/parameters/code, and let guests run"
            );
            let key = |entry: &Entry<Place>| {
                let what = What::Place(entry.key);
                selection.key_of(what, entry.reason, &entry.name, is_page)
            };
            Ok(added_up(
                &snapshot.places,
                snapshot,
                selection,
                |_| 0,
                |_| true,
                key,
            ))
        }
    }
}

/// An owner's index, and a reason.
type Seat = (usize, Option<u32>);

/// The selected counters, and what entries leave of them.
struct Wholes<'a> {
    owners: HashMap<&'a Owner, usize>,
    wholes: BTreeMap<Seat, Whole<'a>>,
    /// By owner and table, the highest error of an entry.
    lost: HashMap<(usize, u8), u64>,
    /// The reasons with entries.
    reasons: HashSet<Option<u32>>,
}

impl<'a> Wholes<'a> {
    fn new(snapshot: &'a Snapshot, selection: &Selection) -> Wholes<'a> {
        let reasons = selection.selected_reasons(snapshot);
        let is_selected = |counter: &&Counter| {
            let is_it = |reasons: &Vec<Reason>| reasons.iter().any(|r| r.is_counted_by(counter));
            selection.has_owner(&counter.owner, snapshot) && reasons.as_ref().is_none_or(is_it)
        };
        let mut all = Wholes {
            owners: HashMap::default(),
            wholes: BTreeMap::new(),
            lost: HashMap::default(),
            reasons: HashSet::default(),
        };
        for counter in snapshot.counters.iter().filter(is_selected) {
            let next = all.owners.len();
            let owner = *all.owners.entry(&counter.owner).or_insert(next);
            let whole = Whole {
                name: &counter.name,
                others: (counter.exits, counter.cycles),
                is_timed: counter.untimed.is_none_or(|untimed| untimed == 0),
            };
            all.wholes.insert((owner, counter.reason), whole);
        }
        all
    }

    fn place<K>(&self, entry: &Entry<K>) -> Option<Seat> {
        let place = (*self.owners.get(&entry.owner)?, entry.reason);
        self.wholes.contains_key(&place).then_some(place)
    }

    /// Takes an entry's exits away from the others.
    fn take<K>(&mut self, entry: &Entry<K>, table: u8) {
        let owner = self.owners.get(&entry.owner).copied();
        if let Some(owner) = owner {
            let most = self.lost.entry((owner, table)).or_default();
            *most = (*most).max(entry.error);
        }
        let place = owner.map(|owner| (owner, entry.reason));
        if let Some(whole) = place.and_then(|place| self.wholes.get_mut(&place)) {
            whole.others.0 = whole.others.0.saturating_sub(entry.exits);
            whole.others.1 = whole.others.1.saturating_sub(entry.cycles);
            self.reasons.insert(entry.reason);
        }
    }

    /// How many exits of a key may be others where it has no entry, at most.
    fn may_have(&self, place: Seat, table: u8) -> u128 {
        let lost = self.lost.get(&(place.0, table)).copied().unwrap_or(0);
        let others = self.wholes.get(&place).map_or(0, |whole| whole.others.0);
        lost.min(others).into()
    }

    /// The sums of that over all owners, by reason and table.
    fn missing(&self) -> HashMap<(Option<u32>, u8), u128> {
        let mut missing: HashMap<_, u128> = HashMap::default();
        for &(owner, table) in self.lost.keys() {
            let of_owner = self.wholes.range((owner, None)..=(owner, Some(u32::MAX)));
            for (place, _) in of_owner {
                *missing.entry((place.1, table)).or_default() += self.may_have(*place, table);
            }
        }
        missing
    }
}

/// Adds up the entries of the selected owners and reasons by `key`. `table` says which of a vCPU's
/// tables an entry is in, and `is_alone` that no other key of the same owner and reason is added to
/// it.
///
/// An entry has at least its exits, and may have as many more as its error says. These are in no
/// entry, so they are no more than the others of its owner and reason. A vCPU that has no entry
/// of a key may have lost it: no key that was lost had more exits than the highest error in the
/// table, for what takes an entry inherits as its error what the entry had.
fn added_up<K>(
    entries: &[Entry<K>],
    snapshot: &Snapshot,
    selection: &Selection,
    table: impl Fn(&Entry<K>) -> u8,
    is_alone: impl Fn(&Entry<K>) -> bool,
    key: impl Fn(&Entry<K>) -> Key,
) -> HashMap<Key, Part> {
    let mut wholes = Wholes::new(snapshot, selection);
    for entry in entries {
        wholes.take(entry, table(entry));
    }
    let missing = wholes.missing();
    let of_any_reason: u128 = missing.values().sum();
    let mut parts: HashMap<Key, Part> = HashMap::default();
    for entry in entries {
        let (Some(place), table) = (wholes.place(entry), table(entry)) else {
            continue;
        };
        let whole = &wholes.wholes[&place];
        // First, as if no owner had an entry.
        let part = parts.entry(key(entry)).or_insert_with(|| {
            Part::with_error(match selection.by {
                By::Rip => of_any_reason,
                _ => missing.get(&(entry.reason, table)).copied().unwrap_or(0),
            })
        });
        part.add(entry.exits, entry.cycles, whole.is_timed);
        let known = u128::from(entry.error.min(whole.others.0));
        part.error += known;
        if is_alone(entry) {
            part.error = part.error.saturating_sub(wholes.may_have(place, table));
        }
    }
    for ((_, reason), whole) in &wholes.wholes {
        let (exits, cycles) = whole.others;
        if (exits, cycles) == (0, 0) {
            continue;
        }
        let mut key = selection.key_of(What::Others, *reason, whole.name, false);
        if selection.by == By::Detail && !wholes.reasons.contains(reason) {
            key.name = "all".into();
        }
        let part = parts.entry(key).or_insert_with(|| Part::with_error(0));
        part.add(exits, cycles, whole.is_timed);
    }
    parts
}
