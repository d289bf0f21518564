// SPDX-License-Identifier: GPL-2.0

//! The judge: reads what scripts built, booted and logged, and says whether it is right.
//! The exit status says so, too.

use anyhow::{Context, Result};
use clap::Parser;
use judge::{complaints::is_complaint, demo::Demo, ktap, libtest::Libtest, msrs, names, reasons};
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Judges what scripts built, booted and logged")]
enum Command {
    /// Compare what the demo's guest read with what its host logged
    Demo {
        /// What the host and its guest printed
        transcript: PathBuf,
        /// The log of the host's console
        console: PathBuf,
    },
    /// Look for kernels' complaints in their logs
    Complaints {
        #[arg(required = true, value_name = "LOG")]
        logs: Vec<PathBuf>,
    },
    /// Copy KTAP from stdin to stdout, and add a failure if results are missing
    Results {
        /// The name of that failure
        name: String,
    },
    /// Count the results in a file of KTAP
    Sum { file: PathBuf },
    /// Turn what `cargo test` prints into KTAP
    Libtest {
        /// The prefix for the names of tests
        prefix: String,
    },
    /// Compare the model's tables of exit reasons with a kernel's source
    Reasons { source: PathBuf },
    /// Compare the tool's table of MSRs with a kernel's source, or print such a table
    Msrs {
        source: PathBuf,
        /// The table
        #[arg(default_value = "src/tool/names/msr_index.rs")]
        table: PathBuf,
        /// Print the table of this source, for the file
        #[arg(long)]
        print: bool,
    },
    /// Print those names on stdin that start with a NAME
    Names {
        /// Other names, to suggest if a NAME is unknown
        #[arg(long, value_name = "NAME", num_args = 1..)]
        family: Vec<String>,
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Gives each line of stdin to `each` as it comes, and prints what that returns.
fn filter(mut each: impl FnMut(&str) -> Option<String>) -> Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if let Some(text) = each(text.trim_end()) {
            writeln!(output, "{text}")?;
        }
        line.clear();
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is right.
fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Demo {
            transcript,
            console,
        } => demo(transcript, console),
        Command::Complaints { logs } => complaints(logs),
        Command::Results { name } => results(name),
        Command::Sum { file } => sum(file),
        Command::Libtest { prefix } => libtest(prefix),
        Command::Reasons { source } => told(&reasons::differences(source)?),
        Command::Msrs { source, print, .. } if *print => {
            print!("{}", msrs::table(source)?);
            Ok(true)
        }
        Command::Msrs { source, table, .. } => told(&msrs::differences(source, &read(table)?)?),
        Command::Names { family, names } => choose(family, names),
    }
}

fn demo(transcript: &Path, console: &Path) -> Result<bool> {
    let text = read(transcript)?;
    let demo = Demo::new(&text);
    let faults = demo.faults(&read(console)?);
    println!();
    demo.table().iter().for_each(|line| println!("{line}"));
    println!();
    if faults.is_empty() {
        demo.screen().iter().for_each(|line| println!("{line}"));
        println!("\nThe whole log: {}", transcript.display());
    }
    for fault in &faults {
        eprintln!("error: {fault}");
    }
    Ok(faults.is_empty())
}

fn complaints(logs: &[PathBuf]) -> Result<bool> {
    let mut good = true;
    for log in logs {
        for line in read(log)?.lines().filter(|line| is_complaint(line)) {
            println!("{line}");
            good = false;
        }
    }
    Ok(good)
}

fn results(name: &str) -> Result<bool> {
    let mut run = ktap::Run::default();
    filter(|line| {
        run.read(line);
        Some(line.to_owned())
    })?;
    let fault = run.fault();
    if let Some(fault) = &fault {
        println!("not ok {name} ended early # {fault}");
    }
    Ok(fault.is_none())
}

fn sum(file: &Path) -> Result<bool> {
    let mut tally = ktap::Tally::default();
    read(file)?.lines().for_each(|line| tally.read(line));
    println!("{tally}");
    Ok(tally.is_good())
}

fn libtest(prefix: &str) -> Result<bool> {
    let mut libtest = Libtest::new(prefix);
    filter(|line| libtest.read(line))?;
    if let Some(plan) = libtest.plan() {
        println!("{plan}");
    }
    Ok(true)
}

fn told(differences: &[String]) -> Result<bool> {
    differences.iter().for_each(|line| println!("{line}"));
    Ok(differences.is_empty())
}

fn choose(families: &[String], wanted: &[String]) -> Result<bool> {
    let known = io::read_to_string(io::stdin())?;
    let known: Vec<_> = known.lines().collect();
    let families: Vec<_> = families.iter().map(String::as_str).collect();
    match names::choose(&known, &families, wanted) {
        Ok(chosen) => chosen.iter().for_each(|name| println!("{name}")),
        Err(said) => {
            eprintln!("error: {said}");
            return Ok(false);
        }
    }
    Ok(true)
}
