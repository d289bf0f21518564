// SPDX-License-Identifier: GPL-2.0

//! The text of the debugfs file `profile`, which programs read.
//!
//! Each line consists of a kind and fields: `kind key=value key=value …`. One space
//! separates them. A value has no space. Numbers are decimal unless noted.
//!
//! ```text
//! profile version=2 isa=vmx id=c3a5c85c97cb3127 epoch=7 tsc_khz=2400000 time_ns=9000000 since_ns=1000 cpus=2 recording=1 per_vcpu=1 histograms=1 phases=1 details=io,cpuid code=page
//! account sample_cycles=24 record_cycles=61 memory_bytes=51200 suppressed=0
//! host reason=10 name=CPUID exits=3 cycles=1900 untimed=0 min=600 max=700 log2=9:3
//! attached vm=412-11 vcpu=0 id=b492b66fbe98f273
//! vcpu vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID exits=3 cycles=1900 untimed=0
//! vcpu_clock vm=412-11 vcpu=0 id=b492b66fbe98f273 since=100000 until=904000 guest=700000
//! vcpu_phases vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID exit_path=900 handler=1900 run_loop=1200 userspace=100000 polling=0 halted=0 preempted=0 sleeping=0
//! vcpu_userspace vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=30 name=IO_INSTRUCTION exit=2 exit_name=IO trips=1 cycles=100000
//! vcpu_detail vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID kind=cpuid level=1 key=000000004ffffffc exits=2 cycles=1300 error=0
//! vcpu_code vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID level=1 rip=ffffffff81000000 cpl=0 exits=3 cycles=1900 error=0
//! end epoch=7 lines=11
//! ```
//!
//! | kind         | content                                                        |
//! |--------------|----------------------------------------------------------------|
//! | profile      | the first line: [`Head`]                                       |
//! | account      | what the profiler itself uses: [`Account`]                     |
//! | host         | exits of all guests, by reason: [`Row`]                        |
//! | attached     | a vCPU that has its own counters: [`Owner::Vcpu`]              |
//! | vcpu         | exits of this vCPU, by reason                                  |
//! | ended        | exits of vCPUs that have ended, by reason                      |
//! | unattributed | exits of vCPUs without their own counters, by reason           |
//! | vcpu_clock, ended_clock | the period in which phases were recorded: [`ClockRow`] |
//! | vcpu_phases, ended_phases | the cycles in each phase, by reason: [`PhasesRow`] |
//! | vcpu_userspace, ended_userspace | exits to userspace, by reason and KVM_EXIT_*: [`TripsRow`] |
//! | vcpu_detail, ended_detail | exits of a reason with the same detail: [`DetailRow`] |
//! | vcpu_code, ended_code | exits of a reason from the same place in the guest: [`CodeRow`] |
//! | end          | the last line: the epoch again, and the number of lines        |
//!
//! A reason without an exit has no line. All lines are read at one time, apart from
//! exits that are handled meanwhile. The counters never restart from zero between two
//! lines. While nothing runs, the lines `vcpu`, `ended` and `unattributed` of a reason add
//! up to its line `host`. With `per_vcpu=0`, all exits are `unattributed`. While a vCPU is in
//! userspace or halted, its `guest` and the phases of all its reasons add up to `until` minus
//! `since`. While a vCPU does not run, the lines `vcpu_detail` of a reason have no more exits than its
//! line `vcpu`. The others were counted before details were, or their keys lost their entries.
//! While it runs, the details may have some exits more, because they are read later.
//!
//! The version changes when a reader of the old version would misunderstand the new one. A
//! reader must skip kinds and keys that it does not know. Version 1 had no `id` and
//! no `untimed`, and its names of `recording` and `histograms` were `sampling` and
//! `distributions`. The parser still accepts it.

use super::{
    counts::Tally,
    detail::{code_of, Code, Kind, Kinds, Nested},
    heavy::Entry,
    histogram::{Histogram, BUCKETS},
    isa::Isa,
    phases::{Phase, Spent, PHASES},
    trips::{userspace_exit_name, Trips, USERSPACE_EXITS},
};
use core::{fmt, str::FromStr};

/// The version of the text.
pub const VERSION: u32 = 2;
/// The oldest version that the parser accepts.
pub const OLDEST: u32 = 1;

/// The properties of the whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The version of the text: [`VERSION`].
    pub version: u32,
    /// The instruction set of the reasons: `vmx` or `svm`.
    pub isa: Isa,
    /// The host's random number, in hexadecimal, as in
    /// [`leaf::Identity`](super::leaf::Identity). 0 in version 1.
    pub id: u64,
    /// Changes when the counters restart from zero; never 0.
    pub epoch: u32,
    /// The frequency of the host's TSC in kHz, 0 if unknown.
    pub tsc_khz: u32,
    /// The time of the reading, in nanoseconds of CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// The time at which the counters started from zero, by the same clock.
    pub since_ns: u64,
    /// The number of online CPUs of the host.
    pub cpus: u32,
    /// 1 if exits are recorded, 0 if not.
    pub recording: bool,
    /// 1 if vCPUs have their own counters, 0 if not.
    pub per_vcpu: bool,
    /// 1 if the lines `host` have histograms, 0 if not.
    pub histograms: bool,
    /// 1 if phases are recorded, 0 if not or if it is not told.
    pub phases: bool,
    /// The kinds of details that are recorded: names with commas between, or `none`.
    pub details: Kinds,
    /// How much of the guest's instruction pointer is recorded: `off`, `page` or `exact`.
    pub code: Code,
}

/// What the profiler itself uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Account {
    /// The cycles by which each exit's cycles are too high, because they include a reading
    /// of the TSC: the lowest number that was measured at load, or 0.
    pub sample_cycles: u64,
    /// The cycles that a sample adds to an exit, measured in the same way.
    pub record_cycles: u64,
    /// The bytes of memory that the counters take, without snapshots and the allocator's
    /// overhead.
    pub memory_bytes: u64,
    /// The number of log lines that were suppressed because there were too many.
    pub suppressed: u64,
}

/// Whose exits a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of the fields.
pub enum Owner<'a> {
    /// All guests: `host`.
    Host,
    /// A vCPU: `vcpu`, with the name of its VM and its number. The name is `<pid>-<fd>` as in
    /// KVM's debugfs, or `<pid>` if the VM is not there. A new VM of the same process may
    /// get the name of one that is ending. Only `id` tells their vCPUs apart: a random
    /// number in hexadecimal, 0 in version 1.
    Vcpu { vm: &'a str, vcpu: u32, id: u64 },
    /// vCPUs that have ended: `ended`.
    Ended,
    /// vCPUs without their own counters: `unattributed`.
    Unattributed,
}

/// The exits of one owner and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a, N> {
    /// Whose exits they are.
    pub owner: Owner<'a>,
    /// The reason's number. `None` is written as `other`: all reasons without a slot of their
    /// own.
    pub reason: Option<u32>,
    /// The reason's name, or `other`.
    pub name: N,
    /// `exits`, `cycles`, and `untimed` (not in version 1).
    pub tally: Tally,
    /// Those exits that came from a nested guest, if any did: `l2` and `l2_cycles`; and of
    /// these, those that KVM gave to its hypervisor: `reflected` and `reflected_cycles`. The
    /// lines `host` and `unattributed` do not have them.
    pub nested: Nested,
    /// The distribution of the timed exits' cycles. `min` and `max` are the lowest and
    /// the highest number of cycles since the counters started from zero. `log2` has
    /// `bucket:exits` for each bucket with exits, separated by commas. Bucket `b` counts
    /// exits of 2^b to 2^(b+1) - 1 cycles. The first (0) also counts shorter ones, and the
    /// last (29) longer ones.
    pub histogram: Option<Histogram>,
}

/// The time of a vCPU in which phases were recorded, or that of all vCPUs that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRow<'a> {
    /// Whose time it is: [`Owner::Vcpu`] or [`Owner::Ended`].
    pub owner: Owner<'a>,
    /// The TSC when phases were recorded first, plus the cycles in which they were not; or
    /// 0 for ended vCPUs.
    pub since: u64,
    /// The TSC until which the numbers are; for ended vCPUs, the cycles of all of them.
    pub until: u64,
    /// The cycles in the guest.
    pub guest: u64,
}

/// What a reason led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An exit of this reason. `None` is written as `other`.
    Exit(Option<u32>),
    /// KVM_RUN, before the first exit: `none`.
    Run,
}

/// The cycles in each phase after exits of one owner and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhasesRow<'a, N> {
    /// Whose cycles they are: [`Owner::Vcpu`] or [`Owner::Ended`].
    pub owner: Owner<'a>,
    /// What led there.
    pub cause: Cause,
    /// The reason's name, `other` or `none`.
    pub name: N,
    /// The cycles by phase: see [`Phase::key`].
    pub spent: Spent,
}

/// The exits to userspace of one owner and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TripsRow<'a, N> {
    /// Whose exits they are: [`Owner::Vcpu`] or [`Owner::Ended`].
    pub owner: Owner<'a>,
    /// What led there. `other` also stands for all that do not fit into a vCPU's table.
    pub cause: Cause,
    /// The reason's name, `other` or `none`.
    pub name: N,
    /// The KVM_EXIT_*: `exit`, with its name as `exit_name`. The last one,
    /// [`USERSPACE_EXITS`] - 1, stands for later ones, too.
    pub exit: usize,
    /// `trips` and `cycles`.
    pub trips: Trips,
}

/// The exits of one owner and reason that have the same detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetailRow<'a, N> {
    /// Whose exits they are: [`Owner::Vcpu`] or [`Owner::Ended`].
    pub owner: Owner<'a>,
    /// The reason's number.
    pub reason: u32,
    /// The reason's name.
    pub name: N,
    /// What the key is: [`Kind::name`].
    pub kind: Kind,
    /// 2 if the exits came from a nested guest, L2, or else 1.
    pub level: u8,
    /// `key` in hexadecimal, as [`Kind`] describes it; `exits`, `cycles` and `error`.
    pub entry: Entry,
}

/// The exits of one owner and reason that came from the same place in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRow<'a, N> {
    /// Whose exits they are: [`Owner::Vcpu`] or [`Owner::Ended`].
    pub owner: Owner<'a>,
    /// The reason's number, or `other`.
    pub reason: Option<u32>,
    /// The reason's name, or `other`.
    pub name: N,
    /// 2 if the exits came from a nested guest, L2, or else 1.
    pub level: u8,
    /// The instruction pointer in hexadecimal as `rip`, perhaps only of its page, and `cpl`: as
    /// a key, see [`Code::key`]; `exits`, `cycles` and `error`.
    pub entry: Entry,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Described above.
#[allow(clippy::large_enum_variant)] // There is one at a time, and no `Box` in `core`.
pub enum Line<'a, N> {
    Head(Head),
    Account(Account),
    Row(Row<'a, N>),
    Clock(ClockRow<'a>),
    Phases(PhasesRow<'a, N>),
    Trips(TripsRow<'a, N>),
    Detail(DetailRow<'a, N>),
    Code(CodeRow<'a, N>),
    Attached {
        vm: &'a str,
        vcpu: u32,
        id: u64,
    },
    End {
        epoch: u32,
        lines: u64,
    },
    /// A line of an unknown kind.
    Unknown,
}

impl<N: fmt::Display> fmt::Display for Line<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Head(head) => write!(
                f,
                "profile version={} isa={} id={:016x} epoch={} tsc_khz={} time_ns={} since_ns={} \
                 cpus={} recording={} per_vcpu={} histograms={} phases={} details={} code={}",
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
                u8::from(head.phases),
                head.details,
                head.code.name(),
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
            Line::Clock(row) => {
                row.owner.fmt(f, "_clock")?;
                let (since, until, guest) = (row.since, row.until, row.guest);
                write!(f, " since={since} until={until} guest={guest}")
            }
            Line::Phases(row) => {
                row.owner.fmt(f, "_phases")?;
                row.cause.fmt(f, &row.name)?;
                for phase in Phase::ALL {
                    write!(f, " {}={}", phase.key(), row.spent.of(phase))?;
                }
                Ok(())
            }
            Line::Trips(row) => {
                row.owner.fmt(f, "_userspace")?;
                row.cause.fmt(f, &row.name)?;
                let name = userspace_exit_name(row.exit).unwrap_or("other");
                write!(f, " exit={} exit_name={name}", row.exit)?;
                let Trips { trips, cycles } = row.trips;
                write!(f, " trips={trips} cycles={cycles}")
            }
            Line::Detail(row) => {
                row.owner.fmt(f, "_detail")?;
                let (reason, name, kind) = (row.reason, &row.name, row.kind.name());
                write!(f, " reason={reason} name={name} kind={kind}")?;
                write!(f, " level={} key={:016x}", row.level, row.entry.key)?;
                counted(f, row.entry)
            }
            Line::Code(row) => {
                row.owner.fmt(f, "_code")?;
                Cause::Exit(row.reason).fmt(f, &row.name)?;
                let (rip, cpl) = code_of(row.entry.key);
                write!(f, " level={} rip={rip:x} cpl={cpl}", row.level)?;
                counted(f, row.entry)
            }
            Line::Attached { vm, vcpu, id } => {
                write!(f, "attached vm={vm} vcpu={vcpu} id={id:016x}")
            }
            Line::End { epoch, lines } => write!(f, "end epoch={epoch} lines={lines}"),
            Line::Unknown => Ok(()),
        }
    }
}

/// Writes the numbers of an entry.
fn counted(f: &mut fmt::Formatter<'_>, entry: Entry) -> fmt::Result {
    let (exits, cycles, error) = (entry.exits, entry.cycles, entry.error);
    write!(f, " exits={exits} cycles={cycles} error={error}")
}

impl Owner<'_> {
    /// Writes the kind of a line, with `suffix`, and the owner's fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>, suffix: &str) -> fmt::Result {
        match self {
            Owner::Host => write!(f, "host{suffix}"),
            Owner::Vcpu { vm, vcpu, id } => {
                write!(f, "vcpu{suffix} vm={vm} vcpu={vcpu} id={id:016x}")
            }
            Owner::Ended => write!(f, "ended{suffix}"),
            Owner::Unattributed => write!(f, "unattributed{suffix}"),
        }
    }
}

impl Cause {
    /// The number of the exit's reason, if it has one.
    pub fn reason(self) -> Option<u32> {
        match self {
            Cause::Exit(reason) => reason,
            Cause::Run => None,
        }
    }

    fn fmt(self, f: &mut fmt::Formatter<'_>, name: &impl fmt::Display) -> fmt::Result {
        match self {
            Cause::Exit(Some(reason)) => write!(f, " reason={reason} name={name}"),
            Cause::Exit(None) => f.write_str(" reason=other name=other"),
            Cause::Run => f.write_str(" reason=none name=none"),
        }
    }
}

impl<N: fmt::Display> fmt::Display for Row<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.fmt(f, "")?;
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
        if self.nested != Nested::default() {
            let (l2, l2_cycles) = (self.nested.l2_exits, self.nested.l2_cycles);
            write!(f, " l2={l2} l2_cycles={l2_cycles}")?;
            let (exits, cycles) = (self.nested.reflected_exits, self.nested.reflected_cycles);
            write!(f, " reflected={exits} reflected_cycles={cycles}")?;
        }
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

/// Why a line cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The line lacks a field.
    Missing(&'static str),
    /// A field has an invalid value.
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
struct Fields<'a> {
    /// Keys and values. No line has more of them today.
    first: [(&'a str, &'a str); 16],
    rest: &'a str,
}

/// What is before and after the first `byte`, which is ASCII. With fields this short, it is
/// faster than `split_once()`.
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|other| other == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

impl<'a> Fields<'a> {
    fn new(text: &'a str) -> Fields<'a> {
        let (mut first, mut rest) = ([("", ""); 16], text);
        for field in &mut first {
            let (own, others) = cut(rest, b' ').unwrap_or((rest, ""));
            *field = cut(own, b'=').unwrap_or(("", ""));
            rest = others;
        }
        Fields { first, rest }
    }

    fn get(&self, key: &'static str) -> Option<&'a str> {
        let first = self.first.iter().find(|(other, _)| *other == key);
        let in_rest = || {
            let mut fields = self.rest.split(' ');
            fields.find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
        };
        first.map(|(_, value)| *value).or_else(in_rest)
    }

    fn text(&self, key: &'static str) -> Result<&'a str, Malformed> {
        match self.get(key) {
            Some("") => Err(Malformed::Invalid(key)),
            Some(text) => Ok(text),
            None => Err(Malformed::Missing(key)),
        }
    }

    fn number<T: FromStr>(&self, key: &'static str) -> Result<T, Malformed> {
        let text = self.text(key)?;
        text.parse().map_err(|_| Malformed::Invalid(key))
    }

    fn flag(&self, key: &'static str) -> Result<bool, Malformed> {
        match self.text(key)? {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(Malformed::Invalid(key)),
        }
    }

    fn hex(&self, key: &'static str) -> Result<u64, Malformed> {
        let text = self.text(key)?;
        u64::from_str_radix(text, 16).map_err(|_| Malformed::Invalid(key))
    }

    fn id(&self) -> Result<u64, Malformed> {
        self.hex("id")
    }

    /// The id of a line that does not tell its version: 0 if there is none.
    fn id_since_version_2(&self) -> Result<u64, Malformed> {
        self.get("id").map_or(Ok(0), |_| self.id())
    }

    fn head(&self) -> Result<Head, Malformed> {
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
            phases: self
                .get("phases")
                .map_or(Ok(false), |_| self.flag("phases"))?,
            details: match self.get("details") {
                Some(_) => Kinds::known(self.text("details")?),
                None => Kinds::NONE,
            },
            code: match self.get("code") {
                Some(name) => Code::parse(name).ok_or(Malformed::Invalid("code"))?,
                None => Code::Off,
            },
        })
    }

    fn account(&self) -> Result<Account, Malformed> {
        Ok(Account {
            sample_cycles: self.number("sample_cycles")?,
            record_cycles: self.number("record_cycles")?,
            memory_bytes: self.number("memory_bytes")?,
            suppressed: self.number("suppressed")?,
        })
    }

    fn histogram(&self) -> Result<Option<Histogram>, Malformed> {
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

    fn row(&self, owner: Owner<'a>) -> Result<Row<'a, &'a str>, Malformed> {
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
            nested: match self.get("l2") {
                Some(_) => Nested {
                    l2_exits: self.number("l2")?,
                    l2_cycles: self.number("l2_cycles")?,
                    reflected_exits: self.number("reflected")?,
                    reflected_cycles: self.number("reflected_cycles")?,
                },
                None => Nested::default(),
            },
            histogram: self.histogram()?,
        })
    }
}

impl<'a> Fields<'a> {
    fn clock(&self, owner: Owner<'a>) -> Result<ClockRow<'a>, Malformed> {
        Ok(ClockRow {
            owner,
            since: self.number("since")?,
            until: self.number("until")?,
            guest: self.number("guest")?,
        })
    }

    fn phases(&self, owner: Owner<'a>) -> Result<PhasesRow<'a, &'a str>, Malformed> {
        let mut cycles = [0; PHASES];
        for (cycles, phase) in cycles.iter_mut().zip(Phase::ALL) {
            *cycles = self.number(phase.key())?;
        }
        Ok(PhasesRow {
            owner,
            cause: self.cause()?,
            name: self.text("name")?,
            spent: Spent(cycles),
        })
    }

    fn cause(&self) -> Result<Cause, Malformed> {
        Ok(match self.text("reason")? {
            "none" => Cause::Run,
            "other" => Cause::Exit(None),
            _ => Cause::Exit(Some(self.number("reason")?)),
        })
    }

    fn trips(&self, owner: Owner<'a>) -> Result<TripsRow<'a, &'a str>, Malformed> {
        let exit = self.number("exit")?;
        Ok(TripsRow {
            owner,
            cause: self.cause()?,
            name: self.text("name")?,
            exit: match exit < USERSPACE_EXITS {
                true => exit,
                false => return Err(Malformed::Invalid("exit")),
            },
            trips: Trips {
                trips: self.number("trips")?,
                cycles: self.number("cycles")?,
            },
        })
    }
}

impl<'a> Fields<'a> {
    fn entry(&self, key: u64) -> Result<Entry, Malformed> {
        Ok(Entry {
            key,
            exits: self.number("exits")?,
            cycles: self.number("cycles")?,
            error: self.number("error")?,
        })
    }

    fn level(&self) -> Result<u8, Malformed> {
        match self.number("level")? {
            level @ 1..=2 => Ok(level),
            _ => Err(Malformed::Invalid("level")),
        }
    }

    fn detail(&self, owner: Owner<'a>) -> Result<Line<'a, &'a str>, Malformed> {
        let name = self.text("kind")?;
        // Later modules may know more.
        let kind = Kind::ALL.iter().find(|kind| kind.name() == name);
        let (reason, name) = (self.number("reason")?, self.text("name")?);
        let (level, entry) = (self.level()?, self.entry(self.hex("key")?)?);
        Ok(kind.map_or(Line::Unknown, |kind| {
            Line::Detail(DetailRow {
                owner,
                reason,
                name,
                kind: *kind,
                level,
                entry,
            })
        }))
    }

    fn code(&self, owner: Owner<'a>) -> Result<CodeRow<'a, &'a str>, Malformed> {
        let (rip, cpl) = match (self.hex("rip")?, self.number("cpl")?) {
            (rip, cpl @ 0..=3) => (rip, cpl),
            _ => return Err(Malformed::Invalid("cpl")),
        };
        Ok(CodeRow {
            owner,
            reason: match self.text("reason")? {
                "other" => None,
                _ => Some(self.number("reason")?),
            },
            name: self.text("name")?,
            level: self.level()?,
            entry: self.entry(Code::Exact.key(rip, cpl))?,
        })
    }
}

impl<'a> Line<'a, &'a str> {
    /// Parses a line without its line feed.
    ///
    /// # Errors
    ///
    /// Says which field is wrong.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let (kind, fields) = text.split_once(' ').unwrap_or((text, ""));
        let fields = Fields::new(fields);
        let vcpu = || {
            let id = fields.id_since_version_2()?;
            Ok((fields.text("vm")?, fields.number("vcpu")?, id))
        };
        let owner = || {
            let (vm, vcpu, id) = vcpu()?;
            Ok(Owner::Vcpu { vm, vcpu, id })
        };
        Ok(match kind {
            "vcpu_clock" => Line::Clock(fields.clock(owner()?)?),
            "ended_clock" => Line::Clock(fields.clock(Owner::Ended)?),
            "vcpu_phases" => Line::Phases(fields.phases(owner()?)?),
            "ended_phases" => Line::Phases(fields.phases(Owner::Ended)?),
            "vcpu_userspace" => Line::Trips(fields.trips(owner()?)?),
            "ended_userspace" => Line::Trips(fields.trips(Owner::Ended)?),
            "vcpu_detail" => fields.detail(owner()?)?,
            "ended_detail" => fields.detail(Owner::Ended)?,
            "vcpu_code" => Line::Code(fields.code(owner()?)?),
            "ended_code" => Line::Code(fields.code(Owner::Ended)?),
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
