// SPDX-License-Identifier: GPL-2.0

//! `exitprof generate`: man pages and completions, from the command line's definition.

use crate::cli;
use anyhow::{Context, Result};
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::{fs, path::PathBuf};

/// What `exitprof generate` is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// What to make
    what: What,
    /// Where to put it
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Man pages, of section 1
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// Makes the files in a directory, which is made too.
///
/// # Errors
///
/// If they cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { what, dir } = arguments;
    let mut command = cli::Arguments::command();
    let shell = match what {
        What::Man => None,
        What::Bash => Some(Shell::Bash),
        What::Zsh => Some(Shell::Zsh),
        What::Fish => Some(Shell::Fish),
    };
    let write = || {
        fs::create_dir_all(dir)?;
        match shell {
            Some(shell) => {
                clap_complete::generate_to(shell, &mut command, "exitprof", dir).map(|_| ())
            }
            None => clap_mangen::generate_to(command.disable_help_subcommand(true), dir),
        }
    };
    write().with_context(|| dir.display().to_string())
}
