// SPDX-License-Identifier: GPL-2.0

//! Arguments of `report` and `stat`: what to show, and how.

use super::naming::Naming;
use crate::{
    budget::exit_to_entry,
    render::{Format, rows::Words, units::Unit},
    select::Selection,
    snapshot::Snapshot,
};
use anyhow::Result;

/// The format of what is printed.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Output {
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The same as --format json, as in perf
    #[arg(long, short, conflicts_with = "format")]
    json: bool,
}

impl Output {
    /// The format.
    pub fn format(self) -> Format {
        match self.json {
            true => Format::Json,
            false => self.format,
        }
    }
}

/// What to show, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct Show {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    naming: Naming,
    #[command(flatten)]
    pub output: Output,
    /// Use the words and columns of another tool
    #[arg(long = "as", value_name = "TOOL", conflicts_with_all = ["by", "json", "level"])]
    pub words: Option<Words>,
    /// Show cycles, even if the frequency of the host's TSC is known
    #[arg(long)]
    pub cycles: bool,
}

impl Show {
    /// The same, with names of what is behind exits.
    ///
    /// # Errors
    ///
    /// If a file with names cannot be read, or is wrong.
    pub fn named(&self) -> Result<Show> {
        let mut show = self.clone();
        show.selection.names = self.naming.read()?;
        Ok(show)
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.output.format()
    }

    /// The unit in which to show the cycles of `snapshot`.
    pub fn unit(&self, snapshot: &Snapshot) -> Unit {
        Unit::of(snapshot, self.cycles)
    }

    /// The snapshot with the times that perf means, for its words, if they are known. The
    /// overhead is in the handlers' times alone.
    pub fn perfs(&self, snapshot: &Snapshot) -> Option<Snapshot> {
        let is_perf = self.words == Some(Words::Perf) && self.format().is_for_people();
        let has_net = self.selection.net;
        (is_perf && !has_net)
            .then(|| exit_to_entry(snapshot))
            .flatten()
    }
}
