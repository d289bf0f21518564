// SPDX-License-Identifier: GPL-2.0

//! Where the time of vCPUs went: what bars show, and their order.

use crate::{
    budget::{Time, by_owner},
    select::{By, Key, Selection},
    snapshot::Snapshot,
};
use profile::phases::Phase;

/// The guest, and the phases.
const PARTS: usize = 1 + Phase::ALL.len();

/// Where the time of a vCPU or VM went.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Whose time.
    pub key: Key,
    /// The VM's name, if it has one.
    pub vm_name: Option<String>,
    /// Where it went.
    pub time: Time,
}

/// What bars are sorted by: by name, or by the share of a part, the greatest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartOrder {
    /// The part: the guest is 0. Without one, by name.
    pub part: Option<usize>,
}

impl PartOrder {
    /// The order one column to the right.
    pub fn next(self) -> PartOrder {
        let next = self.part.map_or(0, |part| part + 1);
        PartOrder {
            part: Some(next).filter(|&part| part < PARTS),
        }
    }

    /// The order one column to the left.
    pub fn previous(self) -> PartOrder {
        PartOrder {
            part: self
                .part
                .map_or(Some(PARTS - 1), |part| part.checked_sub(1)),
        }
    }
}

/// Whose bars take the place of such rows: VMs', or vCPUs'.
pub fn group(by: By) -> By {
    match by {
        By::Vm | By::VmReason => By::Vm,
        By::Reason | By::Vcpu | By::VcpuReason => By::Vcpu,
        By::Detail | By::Rip | By::RipReason => By::Vcpu,
    }
}

/// The bars of the VMs that `selection` selects, if it groups by VM, or of the vCPUs.
pub fn bars(interval: &Snapshot, selection: &Selection, order: PartOrder) -> Vec<Bar> {
    let selection = Selection {
        by: group(selection.by),
        ..selection.clone()
    };
    let times = by_owner(interval, &selection).into_iter();
    let bar = |(key, time): (Key, Time)| Bar {
        vm_name: (key.vm.as_ref()).and_then(|vm| interval.vm_names.get(&**vm).cloned()),
        key,
        time,
    };
    let mut bars: Vec<Bar> = times.map(bar).collect();
    if let Some(part) = order.part {
        let share = |bar: &Bar| {
            let part = bar.time.parts().nth(part);
            part.and_then(|part| part.percent).unwrap_or(0.0)
        };
        // The sort is stable: bars that are equal stay in the order of their names.
        bars.sort_by(|a, b| share(b).total_cmp(&share(a)));
    }
    bars
}
