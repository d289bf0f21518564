// SPDX-License-Identifier: GPL-2.0

//! Parses snapshots: the file `profile` in debugfs, and recordings.

use super::{
    Counter, OLDEST, Origin, Owner, Snapshot, VERSION, Vcpu,
    budget::{Budget, SpentRow, TripsRow},
    detail::{Detail, Entry, Hex, Nested, Place},
    id::Id,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use foldhash::{HashMap, HashSet};
use profile::{
    detail::{Kind, code_of},
    heavy,
    text::{self, Line},
    trips::userspace_exit_name,
};
use serde::Deserialize;
use std::sync::Arc;

impl Snapshot {
    /// Parses the file `profile` in debugfs: see [`text`].
    ///
    /// # Errors
    ///
    /// If `text` is incomplete, or a line is invalid.
    pub fn from_text(text: &str) -> Result<Snapshot> {
        let mut lines = text.lines().enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        check_version(first)?;
        let head = match Line::parse(first) {
            Ok(Line::Head(head)) => head,
            Err(e) => bail!("line 1: {e}"),
            _ => bail!("not a profile: it does not begin like one"),
        };
        // A module that records details tells nested exits apart, too.
        let tells_of_details = first.contains(" details=");
        let mut snapshot = Snapshot {
            version: VERSION,
            origin: Origin::Host,
            isa: head.isa,
            identity: Id::new(head.id),
            epoch: head.epoch,
            tsc_khz: head.tsc_khz,
            time_ns: head.time_ns,
            clock: None,
            machine: None,
            boot: None,
            period: None,
            since_ns: Some(head.since_ns),
            cpus: Some(head.cpus),
            recording: Some(head.recording),
            phases: Some(head.phases),
            account: None,
            missed: None,
            reading: None,
            attached: Vec::new(),
            vm_names: Default::default(),
            counters: Vec::new(),
            budgets: Vec::new(),
            detail_kinds: (Kind::ALL.into_iter())
                .filter(|&kind| head.details.has(kind))
                .collect(),
            details: Vec::new(),
            code: tells_of_details.then_some(head.code),
            places: Vec::new(),
        };
        let mut names = Names::default();
        // Of each counter.
        let mut places = Vec::new();
        for (index, line) in lines {
            let number = index + 1;
            match Line::parse(line).map_err(|e| anyhow!("line {number}: {e}"))? {
                Line::Head(_) => bail!("line {number}: a second head"),
                Line::Account(account) => snapshot.account = Some(account),
                Line::Attached { vm, vcpu, id } => {
                    snapshot.attached.push(Vcpu::new(&mut names, vm, vcpu, id));
                }
                Line::Row(row) => {
                    places.push(number);
                    snapshot.counters.push(Counter {
                        // Version 1 does not say.
                        untimed: (head.version > text::OLDEST).then_some(row.tally.untimed),
                        ..Counter::new(&mut names, row)
                    });
                }
                Line::Clock(row) => {
                    let budget = snapshot.budget(names.owner(row.owner));
                    // Without ids, vCPUs of two VMs may have the same name.
                    let elapsed = row.until.saturating_sub(row.since);
                    budget.elapsed = budget.elapsed.saturating_add(elapsed);
                    budget.guest = budget.guest.saturating_add(row.guest);
                }
                Line::Phases(row) => {
                    let name = names.get(row.name);
                    snapshot
                        .budget(names.owner(row.owner))
                        .spent
                        .push(SpentRow {
                            reason: row.cause.reason(),
                            name,
                            cycles: row.spent.into(),
                        });
                }
                Line::Trips(row) => {
                    let exit_name = userspace_exit_name(row.exit).unwrap_or("other");
                    let (name, exit_name) = (names.get(row.name), names.get(exit_name));
                    let trips = &mut snapshot.budget(names.owner(row.owner)).trips;
                    trips.push(TripsRow {
                        reason: row.cause.reason(),
                        name,
                        exit: row.exit as u32, // Less than USERSPACE_EXITS.
                        exit_name,
                        trips: row.trips.trips,
                        cycles: row.trips.cycles,
                    });
                }
                Line::End { epoch, lines } => {
                    ensure!(
                        epoch == snapshot.epoch && lines == number as u64,
                        "the profile is incomplete: its last line does not match the others"
                    );
                    return snapshot.settled(|counter| format!("line {}", places[counter]));
                }
                Line::Detail(row) => {
                    let key = Detail {
                        kind: row.kind,
                        level: row.level,
                        key: Hex(row.entry.key),
                    };
                    let (reason, name) = (Some(row.reason), names.get(row.name));
                    let entry = names.entry(row.owner, reason, name, key, row.entry);
                    snapshot.details.push(entry);
                }
                Line::Code(row) => {
                    let (rip, cpl) = code_of(row.entry.key);
                    let key = Place {
                        level: row.level,
                        rip: Hex(rip),
                        cpl,
                    };
                    let name = names.get(row.name);
                    let entry = names.entry(row.owner, row.reason, name, key, row.entry);
                    snapshot.places.push(entry);
                }
                Line::Unknown => (),
            }
        }
        Err(anyhow!("the profile is incomplete: it has no last line"))
    }

    /// Parses what `exitprof record` wrote, or a copy of the file `profile` in debugfs.
    ///
    /// # Errors
    ///
    /// If it is neither, or of an unknown version.
    pub fn from_file(text: &str) -> Result<Snapshot> {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }

        if !text.trim_start().starts_with('{') {
            return Snapshot::from_text(text);
        }
        let Version { version } = serde_json::from_str(text).context("not a recording")?;
        ensure!(
            (OLDEST.into()..=VERSION.into()).contains(&version),
            "the recording has version {version}, but this exitprof reads only versions {OLDEST} to {VERSION}"
        );
        let mut snapshot: Snapshot = serde_json::from_str(text).context("not a recording")?;
        snapshot.share_names();
        snapshot.settled(|counter| format!("row {}", counter + 1))
    }

    /// The budget of `owner`, which is made if there is none yet.
    fn budget(&mut self, owner: Owner) -> &mut Budget {
        // Rows of an owner mostly follow each other.
        if self.budgets.last().is_none_or(|last| last.owner != owner) {
            self.budgets.push(Budget {
                owner,
                elapsed: 0,
                guest: 0,
                spent: Vec::new(),
                trips: Vec::new(),
            });
        }
        let last = self.budgets.len() - 1;
        &mut self.budgets[last]
    }

    /// Keeps each name once.
    fn share_names(&mut self) {
        let mut names = Names::default();
        for counter in &mut self.counters {
            counter.name = names.get(&counter.name);
            if let Owner::Vcpu(vcpu) = &mut counter.owner {
                vcpu.vm = names.get(&vcpu.vm);
            }
        }
    }

    /// Converts it to the current version, with one counter for each owner and reason. `place`
    /// says where a counter was read.
    ///
    /// # Errors
    ///
    /// If a name cannot be shown on a terminal, or a sum does not fit into 64 bits.
    fn settled(mut self, place: impl Fn(usize) -> String) -> Result<Snapshot> {
        self.version = VERSION;
        for counter in &mut self.counters {
            counter.settle();
        }
        self.add_up(&place)?;
        self.budgets = merged(std::mem::take(&mut self.budgets));
        self.settle_details();
        let vms = self.counters.iter().filter_map(|c| match &c.owner {
            Owner::Vcpu(vcpu) => Some(&vcpu.vm),
            _ => None,
        });
        let names = (self.counters.iter().map(|c| &c.name)).chain(vms);
        let attached = self.attached.iter().map(|vcpu| &vcpu.vm);
        let budgets = self.budgets.iter().flat_map(Budget::names);
        let details = self.details.iter().map(|entry| &entry.name);
        let places = self.places.iter().map(|entry| &entry.name);
        let names = names.chain(attached).chain(budgets);
        for name in names.chain(details).chain(places) {
            ensure!(
                !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic()),
                "{name:?} is not the name of a reason or VM"
            );
        }
        if let Some(command) = self.period.as_mut().and_then(|p| p.command.as_mut()) {
            // Those of scripts may have several lines.
            *command = command.replace(|c: char| c.is_control(), " ");
        }
        let printable = |name: &String| name.chars().all(|c| !c.is_control());
        let named = self.vm_names.values();
        for name in named.chain(&self.machine) {
            ensure!(
                printable(name),
                "{name:?} is not the name of a VM or machine"
            );
        }
        Ok(self)
    }

    /// Adds up counters of the same owner and reason: without ids, vCPUs of two VMs may have
    /// the same name.
    fn add_up(&mut self, place: impl Fn(usize) -> String) -> Result<()> {
        let mut places = HashMap::default();
        let keys = self.counters.iter().map(|c| (&c.owner, c.reason));
        let places: Vec<usize> = keys
            .map(|key| {
                let next = places.len();
                *places.entry(key).or_insert(next)
            })
            .collect();
        let owned = places
            .iter()
            .enumerate()
            .all(|(index, &place)| index == place);
        if owned {
            return Ok(());
        }
        let mut sums: Vec<Counter> = Vec::new();
        for (index, (counter, sum)) in self.counters.drain(..).zip(places).enumerate() {
            match sums.get_mut(sum) {
                Some(sum) => sum.add(&counter).with_context(|| place(index))?,
                None => sums.push(counter),
            }
        }
        self.counters = sums;
        Ok(())
    }
}

/// One budget for each owner: without ids, vCPUs of two VMs may have the same name.
fn merged(budgets: Vec<Budget>) -> Vec<Budget> {
    let mut places: HashMap<Owner, usize> = HashMap::default();
    let mut all: Vec<Budget> = Vec::with_capacity(budgets.len());
    for budget in budgets {
        match places.get(&budget.owner) {
            Some(&place) => all[place].add(budget),
            None => {
                places.insert(budget.owner.clone(), all.len());
                all.push(budget);
            }
        }
    }
    all
}

/// Refuses a profile whose first line, `line`, has an unknown version. Parsing that line
/// might fail for any other reason, so this comes first.
fn check_version(line: &str) -> Result<()> {
    let mut fields = line.split(' ');
    let is_profile = fields.next() == Some("profile");
    let version = fields.find_map(|field| field.strip_prefix("version=")?.parse::<u64>().ok());
    let known = u64::from(text::OLDEST)..=text::VERSION.into();
    if let Some(version) = version.filter(|version| is_profile && !known.contains(version)) {
        bail!(
            "the profile has version {version}, but this exitprof reads only versions {} to {}: use the exitprof that came with the module",
            text::OLDEST,
            text::VERSION
        );
    }
    Ok(())
}

/// Names that many counters share.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }

    fn entry<K>(
        &mut self,
        owner: text::Owner<'_>,
        reason: Option<u32>,
        name: Arc<str>,
        key: K,
        entry: heavy::Entry,
    ) -> Entry<K> {
        Entry {
            owner: self.owner(owner),
            reason,
            name,
            key,
            exits: entry.exits,
            cycles: entry.cycles,
            error: entry.error,
        }
    }

    fn owner(&mut self, owner: text::Owner<'_>) -> Owner {
        match owner {
            text::Owner::Host => Owner::All,
            text::Owner::Vcpu { vm, vcpu, id } => Owner::Vcpu(Vcpu::new(self, vm, vcpu, id)),
            text::Owner::Ended => Owner::Ended,
            text::Owner::Unattributed => Owner::Unattributed,
        }
    }
}

impl Vcpu {
    fn new(names: &mut Names, vm: &str, vcpu: u32, id: u64) -> Vcpu {
        Vcpu {
            vm: names.get(vm),
            vcpu,
            id: Id::new(id),
        }
    }
}

impl Counter {
    fn new(names: &mut Names, row: text::Row<'_, &str>) -> Counter {
        Counter {
            owner: names.owner(row.owner),
            reason: row.reason,
            name: names.get(row.name),
            exits: row.tally.exits,
            cycles: row.tally.cycles,
            untimed: Some(row.tally.untimed),
            histogram: row.histogram.map(Box::new),
            nested: Some(Nested::from(row.nested))
                .filter(|nested| *nested != Nested::default())
                .map(Box::new),
        }
    }

    /// Makes its numbers consistent. The module reads them one by one while exits go on, so
    /// there may seem to be more untimed exits than exits. Without timed exits, a histogram
    /// has no minimum and maximum, so it is dropped.
    pub fn settle(&mut self) {
        self.untimed = self.untimed.map(|untimed| untimed.min(self.exits));
        self.histogram = (self.histogram.take()).filter(|h| h.buckets.iter().any(|&n| n > 0));
        if let Some(nested) = self.nested.take() {
            self.set_nested(*nested);
        }
    }

    /// Adds another counter, and drops the histogram.
    fn add(&mut self, other: &Counter) -> Result<()> {
        let sum = |a: u64, b: u64| {
            a.checked_add(b)
                .context("more exits or cycles than fit into 64 bits")
        };
        self.exits = sum(self.exits, other.exits)?;
        self.cycles = sum(self.cycles, other.cycles)?;
        let untimed = self.untimed.zip(other.untimed);
        self.untimed = untimed.map(|(a, b)| sum(a, b)).transpose()?;
        self.histogram = None;
        let [a, b] = [&*self, other].map(|counter| counter.nested.as_deref().copied());
        self.set_nested(a.unwrap_or_default().plus(b.unwrap_or_default()));
        Ok(())
    }
}
