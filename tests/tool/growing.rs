// SPDX-License-Identifier: GPL-2.0

//! The profile of a host whose guests exit at steady rates.

use std::fmt::Write;

/// A VM and vCPU, and its CPUIDs and HLTs per second.
const VCPUS: [(&str, u32, u64, u64); 3] = [
    ("412-11", 0, 600, 0),
    ("412-11", 1, 300, 0),
    ("977-14", 0, 100, 200),
];
/// A reason's number, its name, an exit's cycles, and the bucket of these.
const CPUID: (u32, &str, u64, usize) = (10, "CPUID", 600, 9);
const HLT: (u32, &str, u64, usize) = (12, "HLT", 50_000, 15);

/// A host.
#[derive(Clone, Copy, Debug)]
pub struct Growing {
    /// The epoch of its counters.
    pub epoch: u32,
    /// The seconds that these have counted.
    pub seconds: u64,
    /// Whether VM 977-14 has ended. It goes on counting, as nothing here needs more.
    pub ended: bool,
    /// Whether there are distributions.
    pub distributions: bool,
}

impl Growing {
    /// One that has counted for 100 seconds.
    pub fn new() -> Growing {
        Growing {
            epoch: 7,
            seconds: 100,
            ended: false,
            distributions: true,
        }
    }

    /// The same `seconds` later.
    pub fn later(self, seconds: u64) -> Growing {
        Growing {
            seconds: self.seconds + seconds,
            ..self
        }
    }

    /// Its profile.
    pub fn profile(self) -> String {
        let Growing { epoch, seconds, .. } = self;
        let mut text = format!(
            "profile version=1 isa=vmx epoch={epoch} tsc_khz=2000000 time_ns={} since_ns=0 cpus=2 \
             sampling=1 per_vcpu=1 distributions={}\n",
            seconds * 1_000_000_000,
            u8::from(self.distributions),
        );
        let mut row = |whose: &str, (reason, name, cycles, bucket), exits: u64, spread: bool| {
            if exits == 0 {
                return;
            }
            let all = exits * cycles;
            write!(
                text,
                "{whose} reason={reason} name={name} exits={exits} cycles={all}"
            )
            .unwrap();
            if spread {
                write!(text, " min={cycles} max={cycles} log2={bucket}:{exits}").unwrap();
            }
            text.push('\n');
        };
        row("host", CPUID, 1000 * seconds, self.distributions);
        row("host", HLT, 200 * seconds, self.distributions);
        let mut attached = String::new();
        for (vm, vcpu, cpuids, hlts) in VCPUS {
            let mut whose = "ended".into();
            if !(self.ended && vm == "977-14") {
                whose = format!("vcpu vm={vm} vcpu={vcpu}");
                writeln!(attached, "attached vm={vm} vcpu={vcpu}").unwrap();
            }
            row(&whose, CPUID, cpuids * seconds, false);
            row(&whose, HLT, hlts * seconds, false);
        }
        text += &attached;
        let lines = text.lines().count() + 1;
        format!("{text}end epoch={epoch} lines={lines}\n")
    }
}
