// SPDX-License-Identifier: GPL-2.0

//! Which exits to show, and how to group them.

use crate::{
    reasons,
    snapshot::{Counter, Origin, Owner, Snapshot, Vcpu, id::Id},
};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum, ValueHint};
use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeSet,
};

/// Which rows to make of a snapshot.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Only this reason, by name or number (repeatable)
    #[arg(long = "reason", value_name = "NAME|NUMBER", value_hint = ValueHint::Other)]
    pub reasons: Vec<String>,
    /// Only the VM of process PID, or the VM <pid>-<fd> as named in KVM's debugfs
    #[arg(long, value_name = "PID", value_hint = ValueHint::Other)]
    pub vm: Option<String>,
    /// Only vCPUs with this number
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    pub vcpu: Option<u32>,
    /// Of these, only the vCPU with this identity.
    #[arg(skip)]
    pub id: Option<Id>,
    /// Group by
    #[arg(long, value_name = "WHAT", default_value = "reason")]
    pub by: By,
    /// Sort by this column, in descending order
    #[arg(long, value_name = "COLUMN", default_value = "exits")]
    pub sort: Sort,
    /// Only the first N rows
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    pub top: Option<usize>,
    /// Include rows with no exits
    #[arg(long)]
    pub all: bool,
    /// Subtract the measurement overhead from the time of each exit
    #[arg(long)]
    pub net: bool,
}

/// What rows are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Exit reason
    Reason,
    /// VM
    Vm,
    /// vCPU
    Vcpu,
}

impl By {
    /// Whether rows are of VMs or vCPUs, and of a reason each.
    pub fn has_owner(self) -> bool {
        false
    }
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Number of exits
    #[value(alias = "samples")]
    Exits,
    /// Total time
    Time,
    /// Average time of an exit
    Avg,
    /// Median time of an exit
    P50,
    /// 90th percentile of the time of an exit
    P90,
    /// 99th percentile of the time of an exit
    P99,
    /// Time of the slowest exit
    Max,
    /// Time of the fastest exit
    Min,
    /// Reason's number, or name of the VM or vCPU, in ascending order
    Reason,
}

/// What identifies a row. Rows that are otherwise equal are sorted by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The VM, if the row is of one.
    pub vm: Option<String>,
    /// The vCPU, if the row is of one.
    pub vcpu: Option<u32>,
    /// Tells vCPUs of the same name apart, if the source has identities.
    pub id: Option<Id>,
    /// The reason, if the row is of one with a number.
    pub reason: Option<u32>,
    /// The name.
    pub name: String,
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        // By number: 9-3 is before 10-3.
        let parts = |key: &Key| {
            let number = |text: &str| text.parse::<u64>().ok();
            let parts = key
                .vm
                .as_deref()
                .map(|vm| vm.split_once('-').unwrap_or((vm, "")));
            parts.map(|(pid, fd)| (number(pid), number(fd)))
        };
        let rest = |key: &Key| (key.vcpu, key.id, key.reason);
        (parts(self).cmp(&parts(other)))
            .then_with(|| self.vm.cmp(&other.vm))
            .then_with(|| rest(self).cmp(&rest(other)))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    /// A key that is only a name.
    fn named(name: impl Into<String>) -> Key {
        Key {
            vm: None,
            vcpu: None,
            id: None,
            reason: None,
            name: name.into(),
        }
    }
}

impl Selection {
    /// All exits, by reason.
    pub fn everything() -> Selection {
        Selection {
            reasons: Vec::new(),
            vm: None,
            vcpu: None,
            id: None,
            by: By::Reason,
            sort: Sort::Exits,
            top: None,
            all: false,
            net: false,
        }
    }

    /// Whether only some VMs or vCPUs are selected.
    pub fn is_restricted(&self) -> bool {
        self.vm.is_some() || self.vcpu.is_some()
    }

    /// Whether exits of `owner` are selected. Grouped by reason, these are all exits, or
    /// those of some vCPUs; otherwise, those of all owners that add up to all exits.
    pub fn has_owner(&self, owner: &Owner) -> bool {
        match owner {
            Owner::All | Owner::Hidden => self.by == By::Reason && !self.is_restricted(),
            Owner::Ended | Owner::Unattributed => self.by != By::Reason && !self.is_restricted(),
            Owner::Vcpu(vcpu) => {
                (self.by != By::Reason || self.is_restricted())
                    && self.vm.as_ref().is_none_or(|vm| is_vm(&vcpu.vm, vm))
                    && self.vcpu.is_none_or(|number| vcpu.vcpu == number)
                    && self.has_id(vcpu)
            }
        }
    }

    fn has_id(&self, vcpu: &Vcpu) -> bool {
        self.id.is_none_or(|id| vcpu.id == Some(id))
    }

    /// The key of the row that `counter` belongs to.
    pub fn key(&self, counter: &Counter) -> Key {
        match self.by {
            By::Reason => Key {
                reason: counter.reason,
                ..Key::named(&*counter.name)
            },
            by => owner_key(by, &counter.owner),
        }
    }

    /// The keys of the rows to show even without exits.
    pub fn keys(&self, snapshot: &Snapshot) -> Result<BTreeSet<Key>> {
        let isa = snapshot.isa;
        let mut keys = BTreeSet::new();
        match self.by {
            By::Reason => {
                let numbers = match self.selected_reasons(snapshot)? {
                    Some(selected) => selected.iter().filter_map(|r| r.number).collect(),
                    None if self.all => reasons::defined(isa).collect(),
                    None => Vec::new(),
                };
                keys.extend(numbers.into_iter().map(|reason| Key {
                    reason: Some(reason),
                    ..Key::named(isa.name(reason).to_string())
                }));
            }
            by if self.all => {
                let owners = snapshot.attached.iter().cloned().map(Owner::Vcpu);
                let owners = owners.filter(|owner| self.has_owner(owner));
                keys.extend(owners.map(|owner| owner_key(by, &owner)));
            }
            _ => (),
        }
        Ok(keys)
    }

    /// Checks that the selected VMs and vCPUs exist.
    ///
    /// # Errors
    ///
    /// If they do not: says which ones do.
    pub fn check_owners(&self, snapshot: &Snapshot) -> Result<()> {
        if !self.is_restricted() && self.by == By::Reason {
            return Ok(());
        }
        ensure!(
            snapshot.origin == Origin::Host,
            "a guest cannot see VMs and vCPUs: leave out --vm, --vcpu and --by (the host's module parameter scope decides whose exits a guest sees)"
        );
        let owners = snapshot.counters.iter().map(|counter| &counter.owner);
        let counted = owners.filter_map(|owner| match owner {
            Owner::Vcpu(vcpu) => Some(vcpu),
            _ => None,
        });
        let all: BTreeSet<_> = counted.chain(&snapshot.attached).collect();
        let is_of_vm = |vcpu: &&&Vcpu| {
            let vm = self.vm.as_ref();
            self.has_id(vcpu) && vm.is_none_or(|name| is_vm(&vcpu.vm, name))
        };
        let of_vm = all.iter().filter(is_of_vm);
        let vcpus: BTreeSet<u32> = of_vm.map(|vcpu| vcpu.vcpu).collect();
        if let Some(vm) = self.vm.as_ref().filter(|_| vcpus.is_empty()) {
            let vms: BTreeSet<&str> = all.iter().map(|vcpu| &*vcpu.vm).collect();
            bail!("there is no VM {vm}: {}", existing(vms));
        }
        if let Some(number) = self.vcpu.filter(|number| !vcpus.contains(number)) {
            bail!("there is no vCPU {number}: {}", existing(vcpus));
        }
        Ok(())
    }

    /// The selected reasons; `None` if all are.
    ///
    /// # Errors
    ///
    /// If one does not exist.
    pub fn selected_reasons(&self, snapshot: &Snapshot) -> Result<Option<Vec<Reason>>> {
        if self.reasons.is_empty() {
            return Ok(None);
        }
        let texts = self.reasons.iter();
        let selected = texts.map(|text| Reason::parse(text, snapshot));
        selected.collect::<Result<_>>().map(Some)
    }
}

/// A selected reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    number: Option<u32>,
    name: String,
}

impl Reason {
    /// Whether `counter` counts it.
    pub fn is_counted_by(&self, counter: &Counter) -> bool {
        counter.reason == self.number && (self.number.is_some() || *counter.name == *self.name)
    }

    fn parse(text: &str, snapshot: &Snapshot) -> Result<Reason> {
        let isa = snapshot.isa;
        let defined = reasons::defined(isa).map(|reason| Reason {
            number: Some(reason),
            name: isa.name(reason).to_string(),
        });
        let counted = snapshot.counters.iter().map(|counter| Reason {
            number: counter.reason,
            name: counter.name.to_string(),
        });
        let known: Vec<Reason> = defined.chain(counted).collect();
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        let found = known.iter().find(|reason| match number {
            Some(_) => reason.number == number,
            None => reason.name.eq_ignore_ascii_case(text),
        });
        if let Some(found) = found {
            return Ok(found.clone());
        }
        let upper = text.to_ascii_uppercase();
        let set = reasons::set_name(isa);
        // Short names with two letters in the wrong order are too unlike for Jaro and Winkler.
        let likeness = |reason: &Reason| match strsim::osa_distance(&reason.name, &upper) {
            1 => 1.0,
            _ => strsim::jaro_winkler(&reason.name, &upper),
        };
        let alike = known.iter().filter(|reason| likeness(reason) > 0.7);
        let nearest = alike.min_by_key(|reason| Reverse((likeness(reason) * 1e6) as u64));
        match (number, nearest) {
            (None, Some(nearest)) => bail!(
                "there is no reason {text:?} on {set}: did you mean {}? (exitprof report --all lists all)",
                nearest.name
            ),
            _ => bail!("there is no reason {text} on {set} (exitprof report --all lists all)"),
        }
    }
}

/// Whether `name` names `vm`, or its process.
fn is_vm(vm: &str, name: &str) -> bool {
    vm == name || vm.split_once('-').is_some_and(|(pid, _)| pid == name)
}

fn owner_key(by: By, owner: &Owner) -> Key {
    match owner {
        Owner::Vcpu(v) if by == By::Vm => Key {
            vm: Some(v.vm.to_string()),
            ..Key::named(&*v.vm)
        },
        Owner::Vcpu(v) => Key {
            vm: Some(v.vm.to_string()),
            vcpu: Some(v.vcpu),
            id: v.id,
            ..Key::named(format!("{} vCPU {}", v.vm, v.vcpu))
        },
        Owner::Ended => Key::named("ended"),
        Owner::Unattributed => Key::named("unattributed"),
        Owner::All | Owner::Hidden => Key::named("all"),
    }
}

/// Says which VMs or vCPUs there are.
fn existing<T: ToString>(these: impl IntoIterator<Item = T>) -> String {
    const MOST: usize = 8;
    let all: Vec<String> = these.into_iter().map(|this| this.to_string()).collect();
    match all.len() {
        0 => "none has counters of its own".into(),
        n if n > MOST => format!("there are {} … ({n} in all)", all[..MOST].join(", ")),
        1 => format!("there is {}", all[0]),
        _ => format!("there are {}", all.join(", ")),
    }
}
