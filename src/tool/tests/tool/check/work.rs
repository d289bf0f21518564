// SPDX-License-Identifier: GPL-2.0

//! Work whose exits vary from second to second.

use exitprof::{
    recording::frame::{HEAD, encode},
    snapshot::Snapshot,
};
use std::fmt::Write;

/// What a reason does: its number and name, exits per second on average, cycles of most of
/// them, and of the slowest 5%.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    pub number: u32,
    pub name: &'static str,
    pub rate: f64,
    pub cycles: u64,
    pub slow: u64,
}

/// A host with three reasons; of the last there are few.
pub const USUAL: [Reason; 3] = [
    Reason {
        number: 10,
        name: "CPUID",
        rate: 1000.0,
        cycles: 600,
        slow: 5000,
    },
    Reason {
        number: 12,
        name: "HLT",
        rate: 200.0,
        cycles: 50_000,
        slow: 400_000,
    },
    Reason {
        number: 54,
        name: "WBINVD",
        rate: 0.5,
        cycles: 3000,
        slow: 3000,
    },
];

/// A generator of numbers that are the same in each run (Knuth's MMIX).
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many events there are, if they are independent and so many on average: by a normal
    /// distribution if they are many.
    fn events(&mut self, average: f64) -> u64 {
        if average > 30.0 {
            let sum: f64 = (0..12).map(|_| self.next()).sum();
            return (average + (sum - 6.0) * average.sqrt()).round().max(0.0) as u64;
        }
        let limit = (-average).exp();
        let mut product = self.next();
        let mut events = 0;
        while product > limit {
            product *= self.next();
            events += 1;
        }
        events
    }
}

/// What the reasons count in each of so many seconds, on top of that the whole work varies by
/// about a tenth from second to second.
pub fn seconds(reasons: &[Reason], seconds: u64, random: &mut Random) -> Vec<Vec<u64>> {
    let one = |_| {
        let pace = 1.0 + (random.next() + random.next() - 1.0) * 0.2;
        let events = reasons
            .iter()
            .map(|reason| random.events(reason.rate * pace));
        events.collect()
    };
    (0..seconds).map(one).collect()
}

/// The profile after so many seconds with so many exits of each reason.
pub fn profile(reasons: &[Reason], time_ns: u64, exits: &[u64], epoch: u32) -> String {
    let mut text = format!(
        "profile version=2 isa=vmx id=00000000000000aa epoch={epoch} tsc_khz=2000000 \
         time_ns={time_ns} since_ns=0 cpus=2 recording=1 per_vcpu=1 histograms=1 phases=0\n"
    );
    for (reason, &exits) in reasons.iter().zip(exits).filter(|(_, exits)| **exits > 0) {
        let Reason {
            number,
            name,
            cycles,
            slow,
            ..
        } = reason;
        let slowest = exits / 20;
        let most = exits - slowest;
        let sum = most * cycles + slowest * slow;
        write!(
            text,
            "host reason={number} name={name} exits={exits} cycles={sum} untimed=0 \
             min={cycles} max={slow} log2="
        )
        .unwrap();
        match [cycles, slow].map(|cycles| cycles.ilog2()) {
            [same, other] if same == other => writeln!(text, "{same}:{exits}"),
            [bucket, _] if slowest == 0 => writeln!(text, "{bucket}:{exits}"),
            [bucket, slow] => writeln!(text, "{bucket}:{most},{slow}:{slowest}"),
        }
        .unwrap();
    }
    let lines = text.lines().count() + 1;
    format!("{text}end epoch={epoch} lines={lines}\n")
}

/// The snapshots at the ends of these seconds, and before the first.
pub fn snapshots(reasons: &[Reason], seconds: &[Vec<u64>]) -> Vec<Snapshot> {
    let mut sums = vec![0; reasons.len()];
    let mut all = vec![profile(reasons, 1_000_000_000, &sums, 7)];
    for (second, counts) in (2..).zip(seconds) {
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
        all.push(profile(reasons, second * 1_000_000_000, &sums, 7));
    }
    all.iter()
        .map(|text| Snapshot::from_text(text).unwrap())
        .collect()
}

/// A series with these snapshots.
pub fn series(snapshots: &[Snapshot]) -> Vec<u8> {
    let frames = snapshots.iter().map(|snapshot| encode(snapshot).unwrap());
    [HEAD.to_vec()]
        .into_iter()
        .chain(frames)
        .flatten()
        .collect()
}
