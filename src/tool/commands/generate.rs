// SPDX-License-Identifier: GPL-2.0

//! `exitprof generate`: man pages and completions, from the definition of the command line.

use anyhow::{Context, Result};
use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Arguments of `exitprof generate`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// What to write
    what: What,
    /// Output directory
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Man pages of section 1
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// Writes the files for `command`, and creates their directory.
///
/// # Errors
///
/// If they cannot be written.
pub fn run(arguments: &Arguments, mut command: Command) -> Result<()> {
    let Arguments { what, dir } = arguments;
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
            None => man(command.disable_help_subcommand(true), dir),
        }
    };
    write().with_context(|| dir.display().to_string())
}

/// Writes a page for the program and for each of its commands.
fn man(mut program: Command, dir: &Path) -> io::Result<()> {
    program.build();
    let commands = program.get_subcommands().chain([&program]);
    for page in commands.map(|command| Man::new(command.clone())) {
        let mut text = Vec::new();
        page.render(&mut text)?;
        // clap calls the text below the options EXTRA; man pages call it NOTES.
        let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH NOTES\n");
        fs::write(dir.join(page.get_filename()), text)?;
    }
    Ok(())
}
