// SPDX-License-Identifier: GPL-2.0

//! Where counters are read: on a host or in a guest; and recordings in files.

mod debugfs;
pub mod file;
pub mod guest;
pub mod leaves;
mod machine;
pub mod parameters;

use crate::snapshot::Snapshot;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use debugfs::{Debugfs, Found};
use guest::Guest;
use leaves::Instruction;
use machine::Names;
use std::path::PathBuf;

/// Arguments that choose a source.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// Read debugfs on this host, or ask the host of this guest [default: host if the module
    /// is loaded, else guest]
    #[arg(long, value_name = "WHERE", help_heading = "Source")]
    pub source: Option<Kind>,
    /// Where debugfs is mounted [default: as in /proc/mounts]
    #[arg(long, value_name = "DIR", help_heading = "Source")]
    pub debugfs: Option<PathBuf>,
    /// Where procfs is mounted, which has the names of VMs
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/proc",
        help_heading = "Source"
    )]
    pub procfs: PathBuf,
}

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The module's file in debugfs
    Host,
    /// The module on the host, through the CPUID instruction
    Guest,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    debugfs: Debugfs,
    names: Names,
    procfs: PathBuf,
}

/// Something whose counters can be read again and again.
#[derive(Debug)]
pub enum Source {
    /// The module's file in debugfs.
    Host(Host),
    /// The module on the host of this guest.
    Guest(Guest<Instruction>),
}

impl Source {
    /// Finds the source that `choice` asks for. By default, that is debugfs if the module is
    /// loaded here, and the leaves otherwise.
    ///
    /// # Errors
    ///
    /// If there is none: says why, and what to do.
    pub fn find(choice: &Choice) -> Result<Source> {
        let debugfs = || Debugfs::find(choice.debugfs.as_deref());
        let host = |debugfs| Host {
            debugfs,
            names: Names::default(),
            procfs: choice.procfs.clone(),
        };
        match choice.source {
            Some(Kind::Host) => match debugfs() {
                Found::Profile(debugfs) => Ok(Source::Host(host(debugfs))),
                Found::Shut(why) | Found::Nothing(why) => bail!(why),
            },
            Some(Kind::Guest) => Ok(Source::Guest(Guest::find(Instruction)?)),
            None => match debugfs() {
                Found::Profile(debugfs) => Ok(Source::Host(host(debugfs))),
                Found::Shut(why) => bail!(why),
                Found::Nothing(why) => match Guest::find(Instruction) {
                    Ok(guest) => Ok(Source::Guest(guest)),
                    Err(e) => bail!(
                        "there is nothing to read here\n  \
                         on a host: {why}\n  \
                         in a guest: {e:#}"
                    ),
                },
            },
        }
    }

    /// Reads the counters.
    ///
    /// # Errors
    ///
    /// If they cannot be read now. They may be later, when the module is loaded again.
    pub fn read(&mut self) -> Result<Snapshot> {
        let mut snapshot = match self {
            Source::Host(host) => {
                let snapshot = host.debugfs.read()?;
                let vm_names = host.names.of(&snapshot.attached, &host.procfs);
                Snapshot {
                    vm_names,
                    ..snapshot
                }
            }
            Source::Guest(guest) => guest.read()?,
        };
        snapshot.clock = machine::now();
        snapshot.machine = machine::hostname();
        Ok(snapshot)
    }
}
