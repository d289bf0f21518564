// SPDX-License-Identifier: GPL-2.0

//! What to show, and how: arguments that `report` and `stat` have in common.

use crate::{
    render::{Format, units::Unit},
    select::Selection,
    snapshot::Snapshot,
};

/// What to show, and how.
#[derive(clap::Args, Debug)]
pub struct Show {
    #[command(flatten)]
    pub selection: Selection,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Show cycles even if the frequency of the host's TSC is known
    #[arg(long)]
    pub cycles: bool,
}

impl Show {
    /// What the cycles of `snapshot` are shown as.
    pub fn unit(&self, snapshot: &Snapshot) -> Unit {
        Unit::new(snapshot.tsc_khz, self.cycles)
    }
}
