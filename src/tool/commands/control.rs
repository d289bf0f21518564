// SPDX-License-Identifier: GPL-2.0

//! `exitprof reset` and `exitprof recording`: control the module.

use crate::source::parameters::Parameters;
use anyhow::Result;
use clap::ValueEnum;
use std::io::Write;

/// Arguments of `exitprof reset`.
#[derive(clap::Args, Debug)]
pub struct Reset {
    #[command(flatten)]
    parameters: Parameters,
}

/// Arguments of `exitprof recording`.
#[derive(clap::Args, Debug)]
pub struct Recording {
    /// What to do [default: print which it is]
    switch: Option<Switch>,
    #[command(flatten)]
    parameters: Parameters,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    /// Record exits
    On,
    /// Record none; what was counted so far stays
    Off,
}

/// Lets all counters start from zero.
///
/// # Errors
///
/// If the module is not loaded, or may not be controlled.
pub fn reset(arguments: &Reset) -> Result<()> {
    arguments.parameters.write("reset", "1")
}

/// Switches recording, or prints whether it is on.
///
/// # Errors
///
/// If the module is not loaded, or may not be controlled.
pub fn recording(arguments: &Recording, out: &mut impl Write) -> Result<()> {
    let parameters = &arguments.parameters;
    match arguments.switch {
        Some(Switch::On) => parameters.write("recording", "1"),
        Some(Switch::Off) => parameters.write("recording", "0"),
        None => {
            let on = parameters.is_on("recording")?;
            writeln!(out, "{}", if on { "on" } else { "off" })?;
            Ok(())
        }
    }
}
