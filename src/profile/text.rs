// SPDX-License-Identifier: GPL-2.0

//! The profile as text for programs: the file `profile` in debugfs.
//!
//! Each line is a kind and fields, `kind key=value key=value …`, with one space
//! between them and none in a value. Numbers are decimal, unless said otherwise.
//!
//! ```text
//! profile version=2 isa=vmx id=c3a5c85c97cb3127 epoch=7 tsc_khz=2400000 time_ns=9000000 since_ns=1000 cpus=2 recording=1 per_vcpu=1 histograms=1
//! account sample_cycles=24 record_cycles=61 memory_bytes=51200 suppressed=0
//! host reason=10 name=CPUID exits=3 cycles=1900 untimed=0 min=600 max=700 log2=9:3
//! attached vm=412-11 vcpu=0 id=b492b66fbe98f273
//! vcpu vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID exits=3 cycles=1900 untimed=0
//! end epoch=7 lines=6
//! ```
//!
//! | kind         | lines                                                          |
//! |--------------|----------------------------------------------------------------|
//! | profile      | the first: [`Head`]                                            |
//! | account      | the profiler's own account: [`Account`]                        |
//! | host         | the exits of all guests, by reason: [`Row`]                    |
//! | attached     | a vCPU that has counters of its own: [`Owner::Vcpu`]           |
//! | vcpu         | its exits, by reason                                           |
//! | ended        | those of vCPUs that had counters and have ended, by reason     |
//! | unattributed | those of vCPUs that had none, by reason                        |
//! | end          | the last: the epoch again, and how many lines there are        |
//!
//! Reasons without an exit have no line. The lines of a file are of one time, to the
//! exits that are handled meanwhile: the counters never start from zero between two
//! of them. While nothing runs, the lines `vcpu`, `ended` and `unattributed` of a
//! reason add up to that of `host`; if there are none of the first (`per_vcpu=0`),
//! all are `unattributed`. The version changes when a reader of the old one would
//! misunderstand the new one; kinds and keys that it does not know are to be passed
//! over. Version 1, of the first edition, had no `id` and `untimed`, and called
//! `recording` and `histograms` `sampling` and `distributions`; it is still parsed.

use super::{
    counts::Tally,
    histogram::{Histogram, BUCKETS},
    isa::Isa,
};
use core::{fmt, str::FromStr};

/// The version of the text.
pub const VERSION: u32 = 2;
/// The oldest that is parsed.
pub const OLDEST: u32 = 1;

/// What all lines have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The version of the text: [`VERSION`].
    pub version: u32,
    /// The instruction set that the reasons belong to: `vmx` or `svm`.
    pub isa: Isa,
    /// A random number of this loading of the module, in hexadecimal: that of
    /// [`leaf::Identity`](super::leaf::Identity) for the host. 0 in version 1.
    pub id: u64,
    /// Another number when the counters start from zero; never 0.
    pub epoch: u32,
    /// The frequency of the host's TSC in kHz, 0 if unknown.
    pub tsc_khz: u32,
    /// When the profile was read: nanoseconds of CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// When the counters started from zero, by the same clock.
    pub since_ns: u64,
    /// The number of the host's CPUs that are online.
    pub cpus: u32,
    /// 1 if exits are recorded, 0 if not.
    pub recording: bool,
    /// 1 if vCPUs have counters of their own, 0 if not.
    pub per_vcpu: bool,
    /// 1 if the lines `host` have histograms, 0 if not.
    pub histograms: bool,
}

/// What the profiler costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Account {
    /// The cycles that an exit's figure is too high by, for it holds a reading of
    /// the TSC: the least that was measured when the module was loaded, or 0.
    pub sample_cycles: u64,
    /// The cycles that taking and recording a sample adds to an exit, measured so.
    pub record_cycles: u64,
    /// The bytes of memory that the counters take, without snapshots and what the
    /// allocator adds.
    pub memory_bytes: u64,
    /// Lines that were not put into the host's log, as there were too many.
    pub suppressed: u64,
}

/// Whose exits a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of the fields.
pub enum Owner<'a> {
    /// All guests': `host`.
    Host,
    /// A vCPU's: `vcpu`, by its VM, `<pid>-<fd>` as in KVM's debugfs, and number. Of a VM
    /// that KVM's debugfs does not have, that is `<pid>`; and while one ends, the next of
    /// its process may have its name: so two may be alike but for `id`, a random number
    /// of the vCPU in hexadecimal. It is 0 in version 1.
    Vcpu { vm: &'a str, vcpu: u32, id: u64 },
    /// Those of vCPUs that have ended: `ended`.
    Ended,
    /// Those of vCPUs without counters: `unattributed`.
    Unattributed,
}

/// The exits of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a, N> {
    /// Whose they are.
    pub owner: Owner<'a>,
    /// The reason's number; `other` is all without a line of their own.
    pub reason: Option<u32>,
    /// What it is called; `other` has no other name.
    pub name: N,
    /// How many, their cycles, and how many were not timed (not in version 1).
    pub tally: Tally,
    /// How the cycles of those that were timed are distributed. `min` and `max` are
    /// those of any exit since the counters started from zero; `log2` has
    /// `bucket:exits` for each bucket with exits, separated by commas, where bucket `b`
    /// is of 2^b to 2^(b+1) - 1 cycles, and the first (0) and last (29) also of fewer
    /// and of more.
    pub histogram: Option<Histogram>,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of what is described above.
#[allow(clippy::large_enum_variant)] // There is one at a time, and no `Box` in `core`.
pub enum Line<'a, N> {
    Head(Head),
    Account(Account),
    Row(Row<'a, N>),
    Attached {
        vm: &'a str,
        vcpu: u32,
        id: u64,
    },
    End {
        epoch: u32,
        lines: u64,
    },
    /// Of a kind that is not known.
    Unknown,
}

impl<N: fmt::Display> fmt::Display for Line<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Head(head) => write!(
                f,
                "profile version={} isa={} id={:016x} epoch={} tsc_khz={} time_ns={} since_ns={} \
                 cpus={} recording={} per_vcpu={} histograms={}",
                head.version,
                match head.isa {
                    Isa::Vmx => "vmx",
                    Isa::Svm => "svm",
                },
                head.id,
                head.epoch,
                head.tsc_khz,
                head.time_ns,
                head.since_ns,
                head.cpus,
                u8::from(head.recording),
                u8::from(head.per_vcpu),
                u8::from(head.histograms),
            ),
            Line::Account(account) => write!(
                f,
                "account sample_cycles={} record_cycles={} memory_bytes={} suppressed={}",
                account.sample_cycles,
                account.record_cycles,
                account.memory_bytes,
                account.suppressed,
            ),
            Line::Row(row) => row.fmt(f),
            Line::Attached { vm, vcpu, id } => {
                write!(f, "attached vm={vm} vcpu={vcpu} id={id:016x}")
            }
            Line::End { epoch, lines } => write!(f, "end epoch={epoch} lines={lines}"),
            Line::Unknown => Ok(()),
        }
    }
}

impl<N: fmt::Display> fmt::Display for Row<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Owner::Host => f.write_str("host")?,
            Owner::Vcpu { vm, vcpu, id } => write!(f, "vcpu vm={vm} vcpu={vcpu} id={id:016x}")?,
            Owner::Ended => f.write_str("ended")?,
            Owner::Unattributed => f.write_str("unattributed")?,
        }
        match self.reason {
            Some(reason) => write!(f, " reason={reason} name={}", self.name)?,
            None => f.write_str(" reason=other name=other")?,
        }
        let Tally {
            exits,
            cycles,
            untimed,
        } = self.tally;
        write!(f, " exits={exits} cycles={cycles} untimed={untimed}")?;
        if let Some(Histogram { min, max, buckets }) = &self.histogram {
            write!(f, " min={min} max={max} log2=")?;
            let taken = buckets.iter().enumerate().filter(|(_, &exits)| exits > 0);
            for (nth, (bucket, exits)) in taken.enumerate() {
                let comma = if nth > 0 { "," } else { "" };
                write!(f, "{comma}{bucket}:{exits}")?;
            }
        }
        Ok(())
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A field that the line must have is not there.
    Missing(&'static str),
    /// A field's value is not one that it can have.
    Invalid(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Missing(key) => write!(f, "no field {key}"),
            Malformed::Invalid(key) => write!(f, "field {key} has no valid value"),
        }
    }
}

/// The fields of a line.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn get(self, key: &'static str) -> Option<&'a str> {
        self.0
            .split(' ')
            .find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
    }

    fn text(self, key: &'static str) -> Result<&'a str, Malformed> {
        match self.get(key) {
            Some("") => Err(Malformed::Invalid(key)),
            Some(text) => Ok(text),
            None => Err(Malformed::Missing(key)),
        }
    }

    fn number<T: FromStr>(self, key: &'static str) -> Result<T, Malformed> {
        let text = self.text(key)?;
        text.parse().map_err(|_| Malformed::Invalid(key))
    }

    fn flag(self, key: &'static str) -> Result<bool, Malformed> {
        match self.text(key)? {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(Malformed::Invalid(key)),
        }
    }

    fn id(self) -> Result<u64, Malformed> {
        let text = self.text("id")?;
        u64::from_str_radix(text, 16).map_err(|_| Malformed::Invalid("id"))
    }

    /// That of a line which does not tell its version: 0 if there is none.
    fn id_since_version_2(self) -> Result<u64, Malformed> {
        self.get("id").map_or(Ok(0), |_| self.id())
    }

    fn head(self) -> Result<Head, Malformed> {
        let version = self.number("version")?;
        let (id, recording, histograms) = match version {
            1 => (0, "sampling", "distributions"),
            _ => (self.id()?, "recording", "histograms"),
        };
        Ok(Head {
            version,
            id,
            isa: match self.text("isa")? {
                "vmx" => Isa::Vmx,
                "svm" => Isa::Svm,
                _ => return Err(Malformed::Invalid("isa")),
            },
            epoch: self.number("epoch")?,
            tsc_khz: self.number("tsc_khz")?,
            time_ns: self.number("time_ns")?,
            since_ns: self.number("since_ns")?,
            cpus: self.number("cpus")?,
            recording: self.flag(recording)?,
            per_vcpu: self.flag("per_vcpu")?,
            histograms: self.flag(histograms)?,
        })
    }

    fn account(self) -> Result<Account, Malformed> {
        Ok(Account {
            sample_cycles: self.number("sample_cycles")?,
            record_cycles: self.number("record_cycles")?,
            memory_bytes: self.number("memory_bytes")?,
            suppressed: self.number("suppressed")?,
        })
    }

    fn histogram(self) -> Result<Option<Histogram>, Malformed> {
        let text = match self.get("log2") {
            Some(text) => text,
            None => return Ok(None),
        };
        let invalid = Malformed::Invalid("log2");
        let mut buckets = [0; BUCKETS];
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (bucket, exits) = pair.split_once(':').ok_or(invalid)?;
            let bucket: usize = bucket.parse().map_err(|_| invalid)?;
            let own = buckets.get_mut(bucket).ok_or(invalid)?;
            *own = exits.parse().map_err(|_| invalid)?;
        }
        Ok(Some(Histogram {
            min: self.number("min")?,
            max: self.number("max")?,
            buckets,
        }))
    }

    fn row(self, owner: Owner<'a>) -> Result<Row<'a, &'a str>, Malformed> {
        Ok(Row {
            owner,
            reason: match self.text("reason")? {
                "other" => None,
                _ => Some(self.number("reason")?),
            },
            name: self.text("name")?,
            tally: Tally {
                exits: self.number("exits")?,
                cycles: self.number("cycles")?,
                untimed: match self.get("untimed") {
                    Some(_) => self.number("untimed")?,
                    None => 0,
                },
            },
            histogram: self.histogram()?,
        })
    }
}

impl<'a> Line<'a, &'a str> {
    /// The line that `text` is, which has no line feed.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let (kind, fields) = text.split_once(' ').unwrap_or((text, ""));
        let fields = Fields(fields);
        let vcpu = || {
            let id = fields.id_since_version_2()?;
            Ok((fields.text("vm")?, fields.number("vcpu")?, id))
        };
        Ok(match kind {
            "profile" => Line::Head(fields.head()?),
            "account" => Line::Account(fields.account()?),
            "host" => Line::Row(fields.row(Owner::Host)?),
            "attached" => {
                let (vm, vcpu, id) = vcpu()?;
                Line::Attached { vm, vcpu, id }
            }
            "vcpu" => {
                let (vm, vcpu, id) = vcpu()?;
                Line::Row(fields.row(Owner::Vcpu { vm, vcpu, id })?)
            }
            "ended" => Line::Row(fields.row(Owner::Ended)?),
            "unattributed" => Line::Row(fields.row(Owner::Unattributed)?),
            "end" => Line::End {
                epoch: fields.number("epoch")?,
                lines: fields.number("lines")?,
            },
            _ => Line::Unknown,
        })
    }
}
