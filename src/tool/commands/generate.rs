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
    let source = concat!("exitprof ", env!("CARGO_PKG_VERSION"));
    for page in commands.map(|command| Man::new(command.clone()).source(source)) {
        let mut text = Vec::new();
        page.render(&mut text)?;
        let text = sections(&String::from_utf8_lossy(&text));
        fs::write(dir.join(page.get_filename()), text)?;
    }
    Ok(())
}

/// Divides the text below the options, which clap calls EXTRA, into the usual sections, and
/// keeps the lines of tables and examples, which are indented.
fn sections(page: &str) -> String {
    let mut text = String::new();
    let mut is_kept = false;
    for line in page.lines() {
        if line.starts_with(' ') != is_kept {
            text += if is_kept { ".fi\n" } else { ".nf\n" };
            is_kept = !is_kept;
        }
        match line.strip_prefix("Exit status: ") {
            Some(status) => text += &format!(".SH EXIT STATUS\n{status}"),
            None if line == ".SH EXTRA" => text += ".SH NOTES",
            None if line == "Examples:" => text += ".SH EXAMPLES",
            None => text += line,
        }
        text.push('\n');
    }
    text += if is_kept { ".fi\n" } else { "" };
    // Where there is nothing else.
    text.replace(".SH NOTES\n.SH", ".SH")
}
