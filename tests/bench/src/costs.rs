// SPDX-License-Identifier: GPL-2.0
//! What was measured.

use anyhow::{Context, Result};

/// The setup that all others are compared with.
pub const UNPATCHED: &str = "unpatched";

/// What an exit of a workload costs, by what is set up on the host.
pub struct Cost {
    pub workload: String,
    pub setup: String,
    /// Over all exits, with all that interrupts the guest.
    pub mean: f64,
    /// Of an exit in the cheapest batch, which nothing interrupted.
    pub least: f64,
}

#[derive(Default)]
pub struct Costs {
    pub costs: Vec<Cost>,
    /// Locked instructions in the path of an exit, by setup: each writes a cache
    /// line that it takes from other CPUs.
    pub locked: Vec<(String, u32)>,
}

impl Costs {
    /// Of lines `cost WORKLOAD SETUP MEAN LEAST` and `locked SETUP NUMBER`, among
    /// any others.
    pub fn parse(text: &str) -> Result<Self> {
        let mut all = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["cost", workload, setup, mean, least] => all.costs.push(Cost {
                    workload: workload.into(),
                    setup: setup.into(),
                    mean: mean.parse().context(line.to_owned())?,
                    least: least.parse().context(line.to_owned())?,
                }),
                ["locked", setup, number] => all
                    .locked
                    .push((setup.into(), number.parse().context(line.to_owned())?)),
                _ => (),
            }
        }
        Ok(all)
    }

    pub fn find(&self, workload: &str, setup: &str) -> Option<&Cost> {
        let mut costs = self.costs.iter();
        costs.find(|c| c.workload == workload && c.setup == setup)
    }

    /// How much more than with KVM as it is, by the least costs.
    pub fn more(&self, workload: &str, setup: &str) -> Option<f64> {
        self.more_than(workload, setup, UNPATCHED)
    }

    /// How much more than with another setup, by the least costs.
    pub fn more_than(&self, workload: &str, setup: &str, other: &str) -> Option<f64> {
        let other = self.find(workload, other)?;
        Some(self.find(workload, setup)?.least - other.least)
    }

    /// The workloads, in their order.
    pub fn workloads(&self) -> impl Iterator<Item = &str> {
        let unpatched = self.costs.iter().filter(|c| c.setup == UNPATCHED);
        unpatched.map(|c| c.workload.as_str())
    }

    /// An object of the `configuration`, the `unit` of all costs, `costs`, an object
    /// for each workload and setup, and `locked`, a number for each setup.
    pub fn json(&self, configuration: &str, unit: &str) -> String {
        let cost = |c: &Cost| {
            let (mean, least) = (c.mean, c.least);
            let more = self.more(&c.workload, &c.setup);
            let more = more.map_or("null".into(), |m| format!("{m:.2}"));
            format!(
                r#"{{"workload": "{}", "setup": "{}", "mean": {mean:.2}, "least": {least:.2}, "more": {more}}}"#,
                c.workload, c.setup,
            )
        };
        let costs: Vec<_> = self.costs.iter().map(cost).collect();
        let locked = self.locked.iter().map(|(s, n)| format!(r#""{s}": {n}"#));
        let locked: Vec<_> = locked.collect();
        format!(
            "{{\n\"configuration\": \"{configuration}\",\n\"unit\": \"{unit}\",\n\"costs\": [\n{}\n],\n\"locked\": {{{}}}\n}}\n",
            costs.join(",\n"),
            locked.join(", "),
        )
    }
}
