// SPDX-License-Identifier: GPL-2.0

//! The text that monitoring systems read: OpenMetrics 1.0, and Prometheus' own format.

mod families;
mod page;
mod text;
mod write;

use super::sheet::{Exporter, Sheet};
use crate::{
    select::{By as Rows, Selection, Sort},
    series::{By, Series},
    snapshot::{Owner, Snapshot},
};
use anyhow::{Result, bail, ensure};
pub use page::Page;
use std::io::Write;
pub use text::Text;

/// Writes one reading, with the series of what is selected.
#[derive(Debug)]
pub struct Metrics(pub Text);

impl Exporter for Metrics {
    fn sheet(&mut self, sheet: &Sheet<'_>, out: &mut dyn Write) -> Result<()> {
        let Some((snapshot, selection)) = sheet.reading else {
            bail!("OpenMetrics and Prometheus are formats of report and stat: use --format json");
        };
        let all_rows = selection.top.is_none() && !selection.all && !selection.net;
        ensure!(
            all_rows && selection.sort == Sort::Exits,
            "OpenMetrics and Prometheus have all rows with exits, in no order: leave out --top, \
             --sort, --all and --net"
        );
        ensure!(
            selection.level.is_none(),
            "OpenMetrics and Prometheus do not tell L1 from L2: leave out --level"
        );
        let by = match selection.by {
            Rows::Vcpu | Rows::VcpuReason => By::Vcpu,
            Rows::Vm | Rows::VmReason => By::Vm,
            Rows::Reason if selection.vcpu.is_some() => By::Vcpu,
            Rows::Reason if selection.is_restricted() => By::Vm,
            Rows::Reason => By::Host,
            Rows::Detail | Rows::Rip | Rows::RipReason => bail!(
                "OpenMetrics and Prometheus have no details and no code, which are too many: use \
                 --format json"
            ),
        };
        let snapshot = selected(snapshot, selection);
        let values = Series::new(by, usize::MAX).next(&snapshot);
        let page = Page::new(snapshot, values);
        out.write_all(page.text(self.0)?.as_bytes())?;
        Ok(())
    }
}

/// A snapshot with only what is selected.
fn selected(snapshot: &Snapshot, selection: &Selection) -> Snapshot {
    let reasons = selection.selected_reasons(snapshot);
    let by_vcpu = Selection {
        by: Rows::Vcpu,
        ..selection.clone()
    };
    // The host's are not those of the selected VMs.
    let has_owner =
        |owner: &Owner| !selection.is_restricted() || by_vcpu.has_owner(owner, snapshot);
    let counters = snapshot.counters.iter().filter(|counter| {
        let mut reasons = reasons.iter().flatten();
        has_owner(&counter.owner)
            && (selection.reasons.is_empty() || reasons.any(|r| r.is_counted_by(counter)))
    });
    let attached = snapshot.attached.iter();
    let budgets = snapshot.budgets.iter().filter(|b| has_owner(&b.owner));
    Snapshot {
        attached: attached
            .filter(|vcpu| has_owner(&Owner::Vcpu((*vcpu).clone())))
            .cloned()
            .collect(),
        // The times of phases are not those of some reasons alone.
        budgets: match selection.reasons.is_empty() {
            true => budgets.cloned().collect(),
            false => Vec::new(),
        },
        ..snapshot.with(counters.cloned().collect())
    }
}
