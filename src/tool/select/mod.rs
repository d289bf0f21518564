// SPDX-License-Identifier: GPL-2.0

//! Which exits to show, and how to group them.

mod key;
mod level;
mod reason;

use crate::{
    columns::{self, Meta},
    names::Names,
    reasons,
    snapshot::{Counter, Owner, Snapshot, Vcpu, id::Id},
};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum, ValueHint, builder::PossibleValue};
pub use key::{Key, What};
pub use level::Level;
pub use reason::Reason;
use std::{collections::BTreeSet, sync::Arc};

/// Which rows to make of a snapshot.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Only this reason, by name or number (repeatable)
    #[arg(long = "reason", value_name = "NAME|NUMBER", value_hint = ValueHint::Other)]
    pub reasons: Vec<String>,
    /// Only this VM: the process's PID, <pid>-<fd> as in KVM's debugfs, or the name
    /// (repeatable)
    #[arg(long = "vm", short = 'p', value_name = "VM", value_hint = ValueHint::Other)]
    pub vms: Vec<String>,
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
    #[arg(
        long,
        short,
        visible_short_alias = 'k',
        value_name = "COLUMN",
        default_value = "exits"
    )]
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
    /// Only exits from this level of nested guests
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<Level>,
    /// What names details and code.
    #[arg(skip)]
    pub names: Arc<Names>,
}

/// The name of the row of what is in no other row.
pub const OTHERS: &str = "others";

/// What rows are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Exit reason
    Reason,
    /// VM
    Vm,
    /// vCPU
    #[value(alias = "vm,vcpu")]
    Vcpu,
    /// VM, and then reason
    #[value(name = "vm,reason", alias = "reason,vm")]
    VmReason,
    /// vCPU, and then reason
    #[value(name = "vcpu,reason", aliases = ["reason,vcpu", "vm,vcpu,reason"])]
    VcpuReason,
    /// Reason, and then its details: ports, MSRs and so on, as far as they are recorded
    #[value(name = "reason,detail", alias = "detail")]
    Detail,
    /// Place in the guest's code, as far as it is recorded
    Rip,
    /// Place in the guest's code, and then reason
    #[value(name = "rip,reason", alias = "reason,rip")]
    RipReason,
}

impl By {
    /// Whether rows are of two things.
    pub fn has_owner(self) -> bool {
        matches!(
            self,
            By::VmReason | By::VcpuReason | By::Detail | By::RipReason
        )
    }

    /// Whether rows are of details, or of places in the guest's code.
    pub fn is_of_keys(self) -> bool {
        matches!(self, By::Detail | By::Rip | By::RipReason)
    }

    /// Whether rows are of reasons alone, of all VMs.
    fn is_reason(self) -> bool {
        self == By::Reason
    }
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Number of exits.
    Exits,
    /// Total time.
    Time,
    /// Average time of an exit.
    Avg,
    /// Median time of an exit.
    P50,
    /// 90th percentile of the time of an exit.
    P90,
    /// 99th percentile of the time of an exit.
    P99,
    /// Time of the slowest exit.
    Max,
    /// Time of the fastest exit.
    Min,
    /// Reason's number, or name of the VM or vCPU, in ascending order.
    Reason,
}

impl Sort {
    /// The column.
    pub fn meta(self) -> &'static Meta {
        match self {
            Sort::Exits => &columns::EXITS,
            Sort::Time => &columns::CYCLES,
            Sort::Avg => &columns::AVG,
            Sort::P50 => &columns::P50,
            Sort::P90 => &columns::P90,
            Sort::P99 => &columns::P99,
            Sort::Max => &columns::MAX,
            Sort::Min => &columns::MIN,
            Sort::Reason => &columns::REASON,
        }
    }
}

impl Sort {
    /// Whether only histograms have the column.
    pub fn is_of_histogram(self) -> bool {
        use Sort::{Max, Min, P50, P90, P99};
        matches!(self, P50 | P90 | P99 | Max | Min)
    }
}

impl ValueEnum for Sort {
    fn value_variants<'a>() -> &'a [Sort] {
        use Sort::{Avg, Exits, Max, Min, P50, P90, P99, Reason, Time};
        &[Exits, Time, Avg, P50, P90, P99, Max, Min, Reason]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let Meta { name, help, .. } = *self.meta();
        Some(match self {
            Sort::Exits => PossibleValue::new(name).alias("samples").help(help),
            Sort::Time => PossibleValue::new("time").alias(name).help(help),
            Sort::Reason => PossibleValue::new(name)
                .help("number of the reason, or name of the VM or vCPU, in ascending order"),
            _ => PossibleValue::new(name).help(help),
        })
    }
}

impl Selection {
    /// All exits, by reason.
    pub fn everything() -> Selection {
        Selection {
            reasons: Vec::new(),
            vms: Vec::new(),
            vcpu: None,
            id: None,
            by: By::Reason,
            sort: Sort::Exits,
            top: None,
            all: false,
            net: false,
            level: None,
            names: Arc::default(),
        }
    }

    /// Whether only some VMs or vCPUs are selected.
    pub fn is_restricted(&self) -> bool {
        !self.vms.is_empty() || self.vcpu.is_some()
    }

    /// Whether exits of `owner` are selected. Grouped by reason, these are all exits, or
    /// those of some vCPUs; otherwise, those of all owners that add up to all exits.
    pub fn has_owner(&self, owner: &Owner, snapshot: &Snapshot) -> bool {
        let is_reason = self.by.is_reason();
        match owner {
            Owner::All | Owner::Hidden => is_reason && !self.is_restricted(),
            Owner::Ended | Owner::Unattributed => !is_reason && !self.is_restricted(),
            Owner::Vcpu(vcpu) => {
                (!is_reason || self.is_restricted())
                    && (self.vms.is_empty()
                        || self.vms.iter().any(|vm| is_vm(&vcpu.vm, vm, snapshot)))
                    && self.vcpu.is_none_or(|number| vcpu.vcpu == number)
                    && self.has_id(vcpu)
            }
        }
    }

    fn has_id(&self, vcpu: &Vcpu) -> bool {
        self.id.is_none_or(|id| vcpu.id == Some(id))
    }

    /// The key of the row that `counter` belongs to. `owner` is the key of its owner.
    pub fn key(&self, owner: &Key, counter: &Counter) -> Key {
        let reason = || Key {
            reason: counter.reason,
            ..Key::named(Arc::clone(&counter.name))
        };
        match self.by {
            By::Reason => reason(),
            By::Vm | By::Vcpu => owner.clone(),
            By::VmReason | By::VcpuReason => reason().owned_by(owner),
            By::Detail | By::Rip | By::RipReason => {
                self.key_of(What::Others, counter.reason, &counter.name, false)
            }
        }
    }

    /// The key of the row of a detail or place, and perhaps of a reason. `is_page` says that
    /// places are pages.
    pub fn key_of(&self, what: What, reason: Option<u32>, name: &Arc<str>, is_page: bool) -> Key {
        let said: Arc<str> = match what {
            What::Detail(detail) => self.names.detail(detail).into(),
            What::Place(place) => self.names.place(place, is_page).into(),
            What::Others => OTHERS.into(),
        };
        let (owner, reason, name) = match self.by {
            By::Rip => (None, None, said),
            By::RipReason => (Some(said), reason, Arc::clone(name)),
            _ => (Some(Arc::clone(name)), reason, said),
        };
        Key {
            owner,
            reason,
            what: Some(what),
            ..Key::named(name)
        }
    }

    /// The key of an owner: a vCPU's is that of its VM, if rows are of VMs.
    pub fn owner_key(&self, owner: &Owner) -> Key {
        match owner {
            Owner::Vcpu(v) if matches!(self.by, By::Vm | By::VmReason) => Key {
                vm: Some(Arc::clone(&v.vm)),
                ..Key::named(Arc::clone(&v.vm))
            },
            Owner::Vcpu(v) => Key {
                vm: Some(Arc::clone(&v.vm)),
                vcpu: Some(v.vcpu),
                id: v.id,
                ..Key::named(format!("{} vCPU {}", v.vm, v.vcpu))
            },
            Owner::Ended => Key::named("ended"),
            Owner::Unattributed => Key::named("unattributed"),
            Owner::All | Owner::Hidden => Key::named("all"),
        }
    }

    /// The keys of the rows to show even without exits.
    pub fn keys(&self, snapshot: &Snapshot) -> BTreeSet<Key> {
        let isa = snapshot.isa;
        let mut keys = BTreeSet::new();
        let numbers: Vec<u32> = match self.selected_reasons(snapshot) {
            Some(selected) => selected.iter().filter_map(|r| r.number).collect(),
            None if self.all => reasons::defined(isa).collect(),
            None => Vec::new(),
        };
        let reasons = numbers.into_iter().map(|reason| Key {
            reason: Some(reason),
            ..Key::named(isa.name(reason).to_string())
        });
        let attached = snapshot.attached.iter().cloned().map(Owner::Vcpu);
        let owners = attached.filter(|owner| self.all && self.has_owner(owner, snapshot));
        let owners = owners.map(|owner| self.owner_key(&owner));
        match self.by {
            By::Reason => keys.extend(reasons),
            By::Vm | By::Vcpu => keys.extend(owners),
            By::VmReason | By::VcpuReason => {
                let owners: Vec<Key> = owners.collect();
                let of_all = |key: Key| {
                    let owners = owners.iter();
                    owners.map(move |owner| key.clone().owned_by(owner))
                };
                keys.extend(reasons.flat_map(of_all));
            }
            By::Detail | By::Rip | By::RipReason => (),
        }
        keys
    }

    /// Checks that what is selected exists: each VM, vCPU and reason in one of the snapshots.
    ///
    /// # Errors
    ///
    /// If it does not: says what there is in the first snapshot.
    pub fn check(&self, snapshots: &[&Snapshot]) -> Result<()> {
        self.check_owners(snapshots)?;
        self.reasons
            .iter()
            .try_for_each(|text| in_any(snapshots, |s| Reason::parse(text, s).map(drop)))
    }

    /// The same, but of the VMs and vCPUs alone.
    ///
    /// # Errors
    ///
    /// As of [`check`](Self::check).
    pub fn check_owners(&self, snapshots: &[&Snapshot]) -> Result<()> {
        if !self.is_restricted() && self.by.is_reason() {
            return Ok(());
        }
        in_any(snapshots, |snapshot| {
            ensure!(
                snapshot.origin.is_host(),
                "a guest cannot see VMs and vCPUs: leave out --vm, --vcpu and --by (the host's module parameter scope decides whose exits a guest sees)"
            );
            Ok(())
        })?;
        for vm in &self.vms {
            in_any(snapshots, |snapshot| self.check_vm(vm, snapshot))?;
        }
        in_any(snapshots, |snapshot| self.check_vcpu(snapshot))
    }

    fn check_vm(&self, vm: &str, snapshot: &Snapshot) -> Result<()> {
        let all = self.vcpus(snapshot);
        if !all.iter().any(|vcpu| is_vm(&vcpu.vm, vm, snapshot)) {
            let vms: BTreeSet<&str> = all.iter().map(|vcpu| &*vcpu.vm).collect();
            let named = vms.into_iter().map(|vm| match snapshot.vm_names.get(vm) {
                Some(name) => format!("{vm} ({name})"),
                None => vm.into(),
            });
            bail!("there is no VM {vm}: {}", existing(named));
        }
        Ok(())
    }

    fn check_vcpu(&self, snapshot: &Snapshot) -> Result<()> {
        let is_of_vm = |vcpu: &&Vcpu| {
            let is_it = |vm: &String| is_vm(&vcpu.vm, vm, snapshot);
            self.vms.is_empty() || self.vms.iter().any(is_it)
        };
        let of_vm = self.vcpus(snapshot).into_iter().filter(is_of_vm);
        let vcpus: BTreeSet<u32> = of_vm.map(|vcpu| vcpu.vcpu).collect();
        if let Some(number) = self.vcpu.filter(|number| !vcpus.contains(number)) {
            bail!("there is no vCPU {number}: {}", existing(vcpus));
        }
        Ok(())
    }

    /// All vCPUs of a snapshot, or the one with the selected identity.
    fn vcpus<'a>(&self, snapshot: &'a Snapshot) -> BTreeSet<&'a Vcpu> {
        let owners = snapshot.counters.iter().map(|counter| &counter.owner);
        let counted = owners.filter_map(|owner| match owner {
            Owner::Vcpu(vcpu) => Some(vcpu),
            _ => None,
        });
        let all = counted.chain(&snapshot.attached);
        all.filter(|vcpu| self.has_id(vcpu)).collect()
    }

    /// The selected reasons that `snapshot` knows; `None` if all are selected.
    pub fn selected_reasons(&self, snapshot: &Snapshot) -> Option<Vec<Reason>> {
        let texts = self.reasons.iter();
        let known = texts.filter_map(|text| Reason::find(text, snapshot));
        (!self.reasons.is_empty()).then(|| known.collect())
    }
}

/// The result of a check of which one success suffices: the first error, if there is none.
fn in_any(snapshots: &[&Snapshot], check: impl Fn(&Snapshot) -> Result<()>) -> Result<()> {
    let mut results = snapshots.iter().map(|snapshot| check(snapshot));
    let first = results.next().unwrap_or(Ok(()));
    first.or_else(|e| {
        if results.any(|r| r.is_ok()) {
            Ok(())
        } else {
            Err(e)
        }
    })
}

/// Whether `name` names `vm`, or its process.
fn is_vm(vm: &str, name: &str, snapshot: &Snapshot) -> bool {
    let given = || snapshot.vm_names.get(vm);
    vm == name
        || vm.split_once('-').is_some_and(|(pid, _)| pid == name)
        || given().is_some_and(|given| given == name)
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
