// SPDX-License-Identifier: GPL-2.0

//! Random profiles.

use profile::phases::Phase;
use proptest::prelude::*;
use std::fmt::Write;

/// Reasons and their names.
pub const REASONS: [(u32, &str); 7] = [
    (0, "EXCEPTION_NMI"),
    (1, "EXTERNAL_INTERRUPT"),
    (10, "CPUID"),
    (12, "HLT"),
    (30, "IO_INSTRUCTION"),
    (48, "EPT_VIOLATION"),
    (52, "PREEMPTION_TIMER"),
];
/// vCPUs: their VM and number.
pub const VCPUS: [(&str, u32); 6] = [
    ("412-11", 0),
    ("412-11", 1),
    ("412-12", 0),
    ("9-3", 0),
    ("10-3", 7),
    ("977", 0),
];

/// A profile.
#[derive(Clone, Debug)]
pub struct Profile {
    pub version: u32,
    pub id: u64,
    pub epoch: u32,
    pub tsc_khz: u32,
    pub seconds: u64,
    pub overhead: u64,
    pub rows: Vec<Row>,
    /// If it is of version 2.
    pub budgets: Vec<Budget>,
    /// Those that have ended or have no exits yet are indices of [`VCPUS`], too.
    pub attached: Vec<usize>,
}

/// Whose exits a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    Host,
    Vcpu(usize),
    Ended,
    Unattributed,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    pub owner: Owner,
    /// An index of [`REASONS`].
    pub reason: usize,
    pub exits: u64,
    pub cycles: u64,
    pub untimed: u64,
    /// The cycles of exits in a histogram, if it has one.
    pub spread: Vec<u64>,
}

/// Where time went.
#[derive(Clone, Debug)]
pub struct Budget {
    /// A vCPU, or those that have ended.
    pub owner: Owner,
    pub guest: u64,
    /// An index of [`REASONS`], and the cycles in each phase.
    pub spent: Vec<(usize, [u64; 8])>,
}

impl Budget {
    pub fn elapsed(&self) -> u64 {
        let spent = self.spent.iter().flat_map(|(_, cycles)| cycles);
        self.guest + spent.sum::<u64>()
    }
}

/// One whose sum fits into 64 bits.
fn budget() -> impl Strategy<Value = Budget> {
    let owner = prop_oneof![
        4 => (0..VCPUS.len()).prop_map(Owner::Vcpu),
        1 => Just(Owner::Ended),
    ];
    let cycles = || number().prop_map(|cycles| cycles >> 12);
    let spent = (0..REASONS.len(), prop::array::uniform8(cycles()));
    (owner, cycles(), prop::collection::vec(spent, 0..4)).prop_map(|(owner, guest, spent)| Budget {
        owner,
        guest,
        spent,
    })
}

/// A number that is near a limit, or ordinary.
pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..1000_u64,
        2 => any::<u32>().prop_map(u64::from),
        1 => prop::sample::select(vec![0, 1, (1 << 53) + 1, 1 << 63, u64::MAX - 1, u64::MAX]),
        1 => any::<u64>(),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let owner = prop_oneof![
        4 => Just(Owner::Host),
        4 => (0..VCPUS.len()).prop_map(Owner::Vcpu),
        1 => Just(Owner::Ended),
        1 => Just(Owner::Unattributed),
    ];
    let cycles = prop_oneof![0..10_u64, 0..1_u64 << 29, any::<u64>()];
    let spread = prop::collection::vec(cycles, 0..8);
    (
        owner,
        0..REASONS.len(),
        [number(), number(), number()],
        spread,
    )
        .prop_map(|(owner, reason, [exits, cycles, untimed], spread)| Row {
            owner,
            reason,
            exits,
            cycles,
            untimed: untimed % exits.saturating_add(2).max(1),
            spread: if owner == Owner::Host {
                spread
            } else {
                Vec::new()
            },
        })
}

/// Any profile. Now and then, it has two rows of an owner and reason.
pub fn profile() -> impl Strategy<Value = Profile> {
    let head = (
        prop_oneof![1 => Just(1_u32), 3 => Just(2)],
        1_u32..3,
        prop::sample::select(vec![0, 1, 2_400_000, u32::MAX]),
        prop::sample::select(vec![0, 1, 100, 1_000_000]),
        prop::sample::select(vec![0, 24, 1 << 40]),
    );
    let rows = prop::collection::vec(row(), 0..24);
    let attached = prop::collection::vec(0..VCPUS.len(), 0..3);
    let budgets = prop::collection::vec(budget(), 0..5);
    (head, rows, attached, budgets, 0..10).prop_map(|(head, mut rows, attached, budgets, twice)| {
        let (version, epoch, tsc_khz, seconds, overhead) = head;
        if twice > 0 {
            rows.sort_by_key(|row| (row.owner, row.reason));
            rows.dedup_by_key(|row| (row.owner, row.reason));
        }
        Profile {
            version,
            id: 7,
            epoch,
            tsc_khz,
            seconds,
            overhead,
            rows,
            budgets: if version == 1 { Vec::new() } else { budgets },
            attached,
        }
    })
}

impl Profile {
    /// The text of the file in debugfs.
    pub fn text(&self) -> String {
        let is_old = self.version == 1;
        let id = |number: u64| match is_old {
            true => String::new(),
            false => format!(" id={number:016x}"),
        };
        let [recording, histograms] = match is_old {
            true => ["sampling", "distributions"],
            false => ["recording", "histograms"],
        };
        let mut text = format!(
            "profile version={} isa=vmx{} epoch={} tsc_khz={} time_ns={} since_ns=5 cpus=2 \
             {recording}=1 per_vcpu=1 {histograms}=1\n\
             account sample_cycles={} record_cycles=1 memory_bytes=1 suppressed=0\n",
            self.version,
            id(self.id),
            self.epoch,
            self.tsc_khz,
            self.seconds * 1_000_000_000 + 5,
            self.overhead,
        );
        let vcpu = |index: usize| {
            let (vm, vcpu) = VCPUS[index];
            format!("vm={vm} vcpu={vcpu}{}", id(index as u64 + 1))
        };
        for &index in &self.attached {
            writeln!(text, "attached {}", vcpu(index)).unwrap();
        }
        for row in &self.rows {
            let owner = match row.owner {
                Owner::Host => "host".into(),
                Owner::Vcpu(index) => format!("vcpu {}", vcpu(index)),
                Owner::Ended => "ended".into(),
                Owner::Unattributed => "unattributed".into(),
            };
            let (number, name) = REASONS[row.reason];
            let Row { exits, cycles, .. } = row;
            write!(
                text,
                "{owner} reason={number} name={name} exits={exits} cycles={cycles}"
            )
            .unwrap();
            if !is_old {
                write!(text, " untimed={}", row.untimed).unwrap();
            }
            if let (Some(min), Some(max)) = (row.spread.iter().min(), row.spread.iter().max()) {
                write!(text, " min={min} max={max} log2=").unwrap();
                let mut buckets = [0; 30];
                for &cycles in &row.spread {
                    buckets[log2(cycles)] += 1;
                }
                let taken = (0..30).filter(|&bucket| buckets[bucket] > 0);
                let taken = taken.map(|bucket| format!("{bucket}:{}", buckets[bucket]));
                text += &taken.collect::<Vec<_>>().join(",");
            }
            text.push('\n');
        }
        for budget in self.budgets.iter().filter(|_| !is_old) {
            let (kind, owner) = match budget.owner {
                Owner::Vcpu(index) => ("vcpu", format!(" {}", vcpu(index))),
                _ => ("ended", String::new()),
            };
            let (guest, until) = (budget.guest, budget.elapsed());
            writeln!(
                text,
                "{kind}_clock{owner} since=0 until={until} guest={guest}"
            )
            .unwrap();
            for (reason, cycles) in &budget.spent {
                let (number, name) = REASONS[*reason];
                write!(text, "{kind}_phases{owner} reason={number} name={name}").unwrap();
                for (phase, cycles) in Phase::ALL.into_iter().zip(cycles) {
                    write!(text, " {}={cycles}", phase.key()).unwrap();
                }
                text.push('\n');
            }
        }
        let lines = text.lines().count() + 1;
        text + &format!("end epoch={} lines={lines}\n", self.epoch)
    }
}

/// The bucket of an exit, by counting.
pub fn log2(cycles: u64) -> usize {
    (0..29).filter(|&bucket| cycles >= 2 << bucket).count()
}
