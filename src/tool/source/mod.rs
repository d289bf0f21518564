// SPDX-License-Identifier: GPL-2.0

//! Where counters are read: on a host, by BPF, or in a guest; and recordings in files.

mod bpf;
mod debugfs;
pub mod file;
pub mod guest;
pub mod leaves;
mod machine;
pub mod parameters;

use crate::snapshot::Snapshot;
use anyhow::{Result, anyhow, bail};
use bpf::Bpf;
use clap::{Args, ValueEnum};
use debugfs::{Debugfs, Found};
use guest::Guest;
use leaves::Instruction;
use machine::Names;
use std::path::PathBuf;

/// Why BPF has nothing to tell of what was counted so far.
const ONLY_WHILE_ATTACHED: &str = "BPF counts only while exitprof runs: use report --for 10, \
                                   record --for 10 FILE, stat, top, or exporter --source bpf";

/// Arguments that choose a source.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// Read debugfs on this host, ask the host of this guest, or count the exits of this host by
    /// BPF [default: host if the module is loaded, guest if the host answers, else bpf; for
    /// exporter, never bpf]
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
    /// A BPF program of its own on KVM's tracepoints, which counts while exitprof runs
    Bpf,
}

/// A host.
#[derive(Debug)]
pub struct Host<R> {
    reader: R,
    names: Names,
    procfs: PathBuf,
}

/// A BPF program, and where debugfs may be, which tells what VMs are called.
#[derive(Debug)]
pub struct Counting {
    bpf: Bpf,
    debugfs: PathBuf,
}

/// Which exits a source must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Those that were counted so far. BPF has none.
    SoFar,
    /// Those that are counted from now on.
    FromNow,
    /// The same, but for others than who runs exitprof. To them, times must not mean one thing or
    /// the other by what is loaded first, so BPF must be asked for.
    ForOthers,
}

/// Something whose counters can be read again and again.
#[derive(Debug)]
pub enum Source {
    /// The module's file in debugfs.
    Host(Host<Debugfs>),
    /// A BPF program on this host.
    Bpf(Box<Host<Counting>>),
    /// The module on the host of this guest.
    Guest(Guest<Instruction>),
}

impl Source {
    /// Finds the source that `choice` asks for. By default, that is debugfs if the module is
    /// loaded here, the leaves if the host of this guest answers, or else BPF, if that is enough.
    ///
    /// # Errors
    ///
    /// If there is none: says why, and what to do.
    pub fn find(choice: &Choice, need: Need) -> Result<Source> {
        let debugfs = || Debugfs::find(choice.debugfs.as_deref());
        let host = |debugfs| Source::Host(choice.host(debugfs));
        let guest = || Guest::find(Instruction).map(Source::Guest);
        let bpf = |is_enough| match is_enough {
            true => choice.bpf(),
            false => bail!("{ONLY_WHILE_ATTACHED}"),
        };
        match choice.source {
            Some(Kind::Host) => match debugfs() {
                Found::Profile(debugfs) => Ok(host(debugfs)),
                Found::Shut(why) | Found::Nothing(why) => bail!(why),
            },
            Some(Kind::Guest) => guest(),
            Some(Kind::Bpf) => bpf(need != Need::SoFar),
            None => match debugfs() {
                Found::Profile(debugfs) => Ok(host(debugfs)),
                Found::Shut(why) => bail!(why),
                Found::Nothing(module) => guest().or_else(|guest| {
                    bpf(need == Need::FromNow).map_err(|bpf| {
                        anyhow!(
                            "there is nothing to read here\n  \
                             on a host: {module}\n  \
                             on a host, by BPF: {bpf:#}\n  \
                             in a guest: {guest:#}"
                        )
                    })
                }),
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
                let snapshot = host.reader.read()?;
                host.named(snapshot)
            }
            Source::Bpf(host) => {
                let Counting { bpf, debugfs } = &mut host.reader;
                let snapshot = bpf.read(debugfs, &host.procfs);
                host.named(snapshot)
            }
            Source::Guest(guest) => guest.read()?,
        };
        snapshot.clock = machine::now();
        snapshot.machine = machine::hostname();
        Ok(snapshot)
    }
}

impl Choice {
    fn host<R>(&self, reader: R) -> Host<R> {
        Host {
            reader,
            names: Names::default(),
            procfs: self.procfs.clone(),
        }
    }

    fn bpf(&self) -> Result<Source> {
        let counting = Counting {
            bpf: Bpf::attach()?,
            debugfs: debugfs::folder(self.debugfs.as_deref()).unwrap_or_default(),
        };
        Ok(Source::Bpf(Box::new(self.host(counting))))
    }
}

impl<R> Host<R> {
    /// The snapshot with the names of its VMs.
    fn named(&mut self, snapshot: Snapshot) -> Snapshot {
        Snapshot {
            vm_names: self.names.of(&snapshot.attached, &self.procfs),
            ..snapshot
        }
    }
}
