// SPDX-License-Identifier: GPL-2.0

//! Arguments of `report` and `stat`: what to show, and how.

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
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Show cycles, even if the frequency of the host's TSC is known
    #[arg(long)]
    pub cycles: bool,
}

impl Show {
    /// The unit in which to show the cycles of `snapshot`.
    pub fn unit(&self, snapshot: &Snapshot) -> Unit {
        Unit::new(snapshot.tsc_khz, self.cycles)
    }
}
