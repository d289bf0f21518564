// SPDX-License-Identifier: GPL-2.0

//! Which exits are wanted, and how they are put together.

use crate::{
    reasons,
    snapshot::{Counter, Origin, Owner, Snapshot, Vcpu, id::Id},
};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use std::{cmp::Reverse, collections::BTreeSet};

/// What to show of a snapshot.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Only this reason, by name or number; may be repeated
    #[arg(long = "reason", value_name = "NAME|NUMBER")]
    pub reasons: Vec<String>,
    /// Only the VM of this process, or <pid>-<fd> as KVM's debugfs calls it
    #[arg(long, value_name = "PID")]
    pub vm: Option<String>,
    /// Only vCPUs of this number
    #[arg(long, value_name = "N")]
    pub vcpu: Option<u32>,
    /// Of those, only the vCPU with this identity.
    #[arg(skip)]
    pub id: Option<Id>,
    /// What each row is of
    #[arg(long, value_name = "WHAT", default_value = "reason")]
    pub by: By,
    /// Sort by this column, the most first
    #[arg(long, value_name = "COLUMN", default_value = "samples")]
    pub sort: Sort,
    /// Only the first N rows
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Rows without an exit, too
    #[arg(long)]
    pub all: bool,
    /// Take off each exit the cycles that measuring it has added
    #[arg(long)]
    pub net: bool,
}

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// An exit reason
    Reason,
    /// A VM
    Vm,
    /// A vCPU
    Vcpu,
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Number of exits
    Samples,
    /// Cycles of all exits
    Time,
    /// Cycles of an exit on average
    Avg,
    /// Cycles that half of the exits did not exceed
    P50,
    /// Cycles that 99 of 100 exits did not exceed
    P99,
    /// Most cycles of an exit
    Max,
    /// Least cycles of an exit
    Min,
    /// Number of the reason, or name of the VM, the least first
    Reason,
}

/// What a row is of, and its place when nothing else tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The VM, if it is of one.
    pub vm: Option<String>,
    /// The vCPU, if it is of one.
    pub vcpu: Option<u32>,
    /// What tells this vCPU from another of the same name, if that is known.
    pub id: Option<Id>,
    /// The reason, if it is of one that has a number.
    pub reason: Option<u32>,
    /// What it is called.
    pub name: String,
}

impl Selection {
    /// Everything, by reason.
    pub fn everything() -> Selection {
        Selection {
            reasons: Vec::new(),
            vm: None,
            vcpu: None,
            id: None,
            by: By::Reason,
            sort: Sort::Samples,
            top: None,
            all: false,
            net: false,
        }
    }

    /// Whether only some vCPUs are wanted.
    pub fn is_restricted(&self) -> bool {
        self.vm.is_some() || self.vcpu.is_some()
    }

    /// Whether exits of `owner` are wanted at all: by reason, all that there are, or
    /// those of some vCPUs; otherwise those that add up to all.
    pub fn wants_owner(&self, owner: &Owner) -> bool {
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

    /// The row that `counter` is added to.
    pub fn key(&self, counter: &Counter) -> Key {
        let reason = Key {
            vm: None,
            vcpu: None,
            id: None,
            reason: counter.reason,
            name: counter.name.clone(),
        };
        match (self.by, &counter.owner) {
            (By::Reason, _) => reason,
            (by, owner) => owner_key(by, owner),
        }
    }

    /// The rows that are wanted even without an exit.
    pub fn keys(&self, snapshot: &Snapshot) -> Result<BTreeSet<Key>> {
        let isa = snapshot.isa;
        let mut keys = BTreeSet::new();
        match self.by {
            By::Reason => {
                let named = |reason| Key {
                    vm: None,
                    vcpu: None,
                    id: None,
                    reason: Some(reason),
                    name: isa.name(reason).to_string(),
                };
                let wanted = self.wanted_reasons(snapshot)?;
                let numbers = match &wanted {
                    Some(wanted) => wanted.iter().filter_map(|w| w.number).collect(),
                    None if self.all => reasons::defined(isa).collect(),
                    None => Vec::new(),
                };
                keys.extend(numbers.into_iter().map(named));
            }
            by if self.all => {
                let owners = snapshot.attached.iter().cloned().map(Owner::Vcpu);
                let owners = owners.filter(|owner| self.wants_owner(owner));
                keys.extend(owners.map(|owner| owner_key(by, &owner)));
            }
            _ => (),
        }
        Ok(keys)
    }

    /// Whether there are such VMs and vCPUs.
    ///
    /// # Errors
    ///
    /// If not: says which there are.
    pub fn check_owners(&self, snapshot: &Snapshot) -> Result<()> {
        if !self.is_restricted() && self.by == By::Reason {
            return Ok(());
        }
        ensure!(
            snapshot.origin == Origin::Host,
            "a guest is not told of VMs and vCPUs: leave out --vm, --vcpu and --by (the host's parameter scope says whose exits it reads)"
        );
        let owners = snapshot.counters.iter().map(|counter| &counter.owner);
        let counted = owners.filter_map(|owner| match owner {
            Owner::Vcpu(vcpu) => Some(vcpu),
            _ => None,
        });
        let there: BTreeSet<_> = counted.chain(&snapshot.attached).collect();
        let wanted = |vcpu: &&&Vcpu| {
            let vm = self.vm.as_ref();
            self.has_id(vcpu) && vm.is_none_or(|want| is_vm(&vcpu.vm, want))
        };
        let of_vm: BTreeSet<u32> = (there.iter().filter(wanted))
            .map(|vcpu| vcpu.vcpu)
            .collect();
        if let Some(vm) = self.vm.as_ref().filter(|_| of_vm.is_empty()) {
            let vms: BTreeSet<&str> = there.iter().map(|vcpu| vcpu.vm.as_str()).collect();
            bail!("there is no VM {vm}: {}", listed(vms));
        }
        if let Some(number) = self.vcpu.filter(|number| !of_vm.contains(number)) {
            bail!("there is no vCPU {number}: {}", listed(of_vm));
        }
        Ok(())
    }

    /// The reasons that are wanted; `None` if all are.
    ///
    /// # Errors
    ///
    /// If there is one that does not exist.
    pub fn wanted_reasons(&self, snapshot: &Snapshot) -> Result<Option<Vec<Wanted>>> {
        if self.reasons.is_empty() {
            return Ok(None);
        }
        let wanted = self
            .reasons
            .iter()
            .map(|text| Wanted::parse(text, snapshot));
        wanted.collect::<Result<_>>().map(Some)
    }
}

/// A reason that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    number: Option<u32>,
    name: String,
}

impl Wanted {
    /// Whether `counter` is of it.
    pub fn is_of(&self, counter: &Counter) -> bool {
        counter.reason == self.number && (self.number.is_some() || counter.name == self.name)
    }

    fn parse(text: &str, snapshot: &Snapshot) -> Result<Wanted> {
        let isa = snapshot.isa;
        let defined = reasons::defined(isa).map(|reason| Wanted {
            number: Some(reason),
            name: isa.name(reason).to_string(),
        });
        let counted = snapshot.counters.iter().map(|counter| Wanted {
            number: counter.reason,
            name: counter.name.clone(),
        });
        let known: Vec<Wanted> = defined.chain(counted).collect();
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        let found = known.iter().find(|wanted| match number {
            Some(_) => wanted.number == number,
            None => wanted.name.eq_ignore_ascii_case(text),
        });
        if let Some(found) = found {
            return Ok(found.clone());
        }
        let upper = text.to_ascii_uppercase();
        let set = reasons::set_name(isa);
        let near = |wanted: &&Wanted| {
            let likeness = strsim::jaro_winkler(&wanted.name, &upper);
            Reverse((likeness * 1e6) as u64)
        };
        let alike = |wanted: &&Wanted| strsim::jaro_winkler(&wanted.name, &upper) > 0.7;
        match (number, known.iter().filter(alike).min_by_key(near)) {
            (None, Some(near)) => bail!(
                "there is no reason {text:?} on {set}: did you mean {}? (exitprof report --all lists all)",
                near.name
            ),
            _ => bail!("there is no reason {text} on {set} (exitprof report --all lists all)"),
        }
    }
}

/// Whether `wanted` is the VM `vm`, or its process.
fn is_vm(vm: &str, wanted: &str) -> bool {
    vm == wanted || vm.split_once('-').is_some_and(|(pid, _)| pid == wanted)
}

fn owner_key(by: By, owner: &Owner) -> Key {
    let together = |name: &str| Key {
        vm: None,
        vcpu: None,
        id: None,
        reason: None,
        name: name.into(),
    };
    match owner {
        Owner::Vcpu(v) if by == By::Vm => Key {
            vm: Some(v.vm.clone()),
            ..together(&v.vm)
        },
        Owner::Vcpu(v) => Key {
            vm: Some(v.vm.clone()),
            vcpu: Some(v.vcpu),
            id: v.id,
            ..together(&format!("{} vCPU {}", v.vm, v.vcpu))
        },
        Owner::Ended => together("ended"),
        Owner::Unattributed => together("unattributed"),
        Owner::All | Owner::Hidden => together("all"),
    }
}

fn listed<T: ToString>(these: impl IntoIterator<Item = T>) -> String {
    const MOST: usize = 8;
    let all: Vec<String> = these.into_iter().map(|this| this.to_string()).collect();
    match all.len() {
        0 => "there is none with counters of its own".into(),
        n if n > MOST => format!("there are {} … ({n} in all)", all[..MOST].join(", ")),
        1 => format!("there is {}", all[0]),
        _ => format!("there are {}", all.join(", ")),
    }
}
