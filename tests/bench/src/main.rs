// SPDX-License-Identifier: GPL-2.0
//! Makes of what `e2e cost` has measured JSON, README's table and verdicts, and
//! measures what needs no emulator.

mod costs;
mod native;
mod table;
mod verdict;

use anyhow::{Context, Result};
use clap::Parser;
use costs::Costs;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "What benchmarks of kvm-exitprof say")]
enum Command {
    /// Report on measured costs: a table, or verdicts as KTAP
    Report(Report),
    /// Measure on the CPUs of this machine
    Native,
}

#[derive(clap::Args)]
struct Report {
    /// Lines as `e2e cost` writes them, in a file with the configuration's name
    costs: PathBuf,
    /// What they count
    #[arg(long, default_value = "instructions")]
    unit: String,
    /// Hold them against the targets
    #[arg(long)]
    targets: bool,
    /// Costs that ours must not exceed by more than 2
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Write them as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write what they are beyond KVM's own, for publishing
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Put that into the table that the file has
    #[arg(long)]
    table: Option<PathBuf>,
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn main() -> Result<ExitCode> {
    let good = match Command::parse() {
        Command::Report(options) => report(&options)?,
        Command::Native => {
            native::run();
            true
        }
    };
    Ok(ExitCode::from(u8::from(!good)))
}

/// Whether all verdicts are good.
fn report(options: &Report) -> Result<bool> {
    let costs = Costs::parse(&read(&options.costs)?)?;
    let name = options
        .costs
        .file_stem()
        .context("a file")?
        .to_string_lossy();
    if let Some(path) = &options.json {
        fs::write(path, costs.json(&name, &options.unit))?;
    }
    if let Some(path) = &options.markdown {
        fs::write(path, table::markdown(&costs).join("\n") + "\n")?;
    }
    if let Some(path) = &options.table {
        let text = read(path)?;
        let new = table::replaced(&text, &name, &costs)
            .with_context(|| format!("{}: no table {name}", path.display()))?;
        if new != text {
            fs::write(path, new)?;
        }
    }
    let mut verdicts = Vec::new();
    if options.targets {
        verdicts.extend(verdict::targets(&name, &costs));
    }
    if let Some(path) = &options.baseline {
        verdicts.push(verdict::regression(&costs, &Costs::parse(&read(path)?)?));
    }
    println!("KTAP version 1\n1..{}", verdicts.len());
    for line in table::aligned(&costs) {
        println!("# {line}");
    }
    for (number, verdict) in (1..).zip(&verdicts) {
        println!("{}", verdict.ktap(number, &format!("cost.{name}")));
    }
    Ok(verdicts.iter().all(|v| v.is_good()))
}
