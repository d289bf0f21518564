// SPDX-License-Identifier: GPL-2.0

//! Pictures of a snapshot, or of two.

use super::{Arguments, Figure, What};
use crate::{
    budget::{self, Breakdown},
    comparison::{Comparison, Order},
    plot::{Picture, exits, latency, phases, vcpus},
    render::{units, verdict, words},
    select::{By, Selection},
    snapshot::Snapshot,
    view::View,
};
use anyhow::{Result, bail, ensure};

impl Arguments {
    /// A picture of one snapshot.
    pub(super) fn of_snapshot(
        &self,
        snapshot: &Snapshot,
        selection: &Selection,
    ) -> Result<Picture> {
        let (unit, time_of) = (self.unit(snapshot), snapshot.origin.time_of());
        let mut picture = match self.what {
            What::Exits => exits::of_view(&View::new(snapshot, selection)?, unit, time_of),
            What::Histogram => {
                self.check_by(&[By::Reason], "--by reason")?;
                latency::of_view(&View::new(snapshot, &few(selection))?, unit, time_of)?
            }
            What::Rate => {
                bail!("rates over time need a series: exitprof record --interval 1 FILE makes one")
            }
            What::Phases => self.phases(snapshot, selection)?,
            What::Heatmap => {
                check_host(snapshot, "")?;
                let vms = [By::Vm, By::VmReason];
                self.check_by(&[By::Vcpu, By::VcpuReason, By::Vm, By::VmReason], "--by vm")?;
                let by = match self.by {
                    Some(by) if vms.contains(&by) => By::VmReason,
                    _ => By::VcpuReason,
                };
                let selection = Selection {
                    by,
                    ..selection.clone()
                };
                vcpus::of_view(
                    &View::new(snapshot, &selection)?,
                    selection.sort,
                    unit,
                    time_of,
                )?
            }
        };
        picture.head = match self.what {
            What::Phases => vec![words::time_head(snapshot, selection, unit)],
            _ => vec![words::head(snapshot, selection, unit)],
        };
        picture.notes.extend(lasted(snapshot));
        picture.notes.extend(words::recorded(snapshot));
        Ok(picture)
    }

    fn phases(&self, snapshot: &Snapshot, selection: &Selection) -> Result<Picture> {
        self.check_by(&[By::Reason, By::Vm, By::Vcpu], "--by vm or --by vcpu")?;
        let breakdown = Breakdown::new(snapshot, selection)?;
        let (top, unit) = (self.top(), self.unit(snapshot));
        Ok(match selection.by {
            By::Reason => phases::of_breakdown(&breakdown, top, unit),
            _ => {
                let times = budget::by_owner(snapshot, selection);
                phases::of_owners(&times, snapshot, top, unit)
            }
        })
    }

    /// A picture of two snapshots.
    pub(super) fn of_both(
        &self,
        both: Vec<(String, Snapshot)>,
        selection: &Selection,
    ) -> Result<Picture> {
        let order = match self.sort {
            Some(Figure::Exits) => Order::Exits,
            _ => Order::Time,
        };
        let comparison = Comparison::new(both, selection, order, self.cycles)?;
        let [a, b] = comparison.parts.as_slice() else {
            bail!("a picture compares two recordings");
        };
        let units = [a, b].map(|part| self.unit(&part.snapshot));
        let mut picture = match self.what {
            What::Exits => exits::of_comparison(&comparison, self.top()),
            What::Histogram => {
                self.check_by(&[By::Reason], "--by reason")?;
                let view = |snapshot| View::of_part(snapshot, &few(selection));
                let views = [&view(&a.snapshot)?, &view(&b.snapshot)?];
                latency::of_views(views, units, comparison.time_of())?
            }
            What::Phases => {
                self.check_by(&[By::Reason], "--by reason")?;
                let breakdown = |snapshot| Breakdown::new(snapshot, selection);
                let both = [&breakdown(&a.snapshot)?, &breakdown(&b.snapshot)?];
                phases::of_both(both, self.top(), units)
            }
            What::Rate | What::Heatmap => {
                bail!("this picture is of one recording: name one with -i")
            }
        };
        picture.head = verdict::title(&comparison);
        Ok(picture)
    }

    /// Checks that the picture can be grouped as asked for.
    pub(super) fn check_by(&self, possible: &[By], which: &str) -> Result<()> {
        ensure!(
            self.by.is_none_or(|by| possible.contains(&by)),
            "this picture has no such groups: leave out --by, or say {which}"
        );
        Ok(())
    }
}

/// The selection of a few reasons, unless others are named.
fn few(selection: &Selection) -> Selection {
    let few = if selection.reasons.is_empty() {
        Some(3)
    } else {
        None
    };
    Selection {
        top: selection.top.or(few),
        ..selection.clone()
    }
}

/// Checks that a snapshot tells vCPUs apart; `instead` says what else there is.
pub(super) fn check_host(snapshot: &Snapshot, instead: &str) -> Result<()> {
    ensure!(
        snapshot.origin.is_host(),
        "a guest cannot see VMs and vCPUs{instead}"
    );
    Ok(())
}

/// How long a snapshot counted.
fn lasted(snapshot: &Snapshot) -> Option<String> {
    Some(format!(
        "Counted for {}",
        units::duration(snapshot.seconds()?)
    ))
}
