// SPDX-License-Identifier: GPL-2.0

//! The profile of a host whose guests exit at steady rates.

use std::fmt::Write;

/// VM, vCPU, identity, and CPUIDs and HLTs per second.
const VCPUS: [(&str, u32, &str, u64, u64); 3] = [
    ("412-11", 0, "c4920000000000aa", 600, 0),
    ("412-11", 1, "17fb0000000000aa", 300, 0),
    ("977-14", 0, "e0c50000000000aa", 100, 200),
];
/// A reason's number and name, the cycles of an exit, and their bucket.
const CPUID: (u32, &str, u64, usize) = (10, "CPUID", 600, 9);
const HLT: (u32, &str, u64, usize) = (12, "HLT", 50_000, 15);

/// A host.
#[derive(Clone, Copy, Debug)]
pub struct Growing {
    /// The epoch of the counters.
    pub epoch: u32,
    /// How many seconds they have counted.
    pub seconds: u64,
    /// Whether VM 977-14 has ended. For simplicity, it goes on counting.
    pub ended: bool,
    /// Whether there are histograms.
    pub histograms: bool,
    /// Whether phases are recorded.
    pub phases: bool,
}

/// The cycles after an exit, in the order of the file `profile`. Those in the handler are those
/// of the exit.
const AFTER_CPUID: [u64; 8] = [200, CPUID.2, 300, 0, 0, 0, 0, 0];
const AFTER_HLT: [u64; 8] = [400, HLT.2, 9600, 0, 100_000, 5_000_000, 0, 0];
/// The cycles of a second.
const SECOND: u64 = 2_000_000_000;

impl Growing {
    /// A host that has counted for 100 seconds.
    pub fn new() -> Growing {
        Growing {
            epoch: 7,
            seconds: 100,
            ended: false,
            histograms: true,
            phases: false,
        }
    }

    /// The host `seconds` later.
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
            "profile version=2 isa=vmx id=00000000000000aa epoch={epoch} tsc_khz=2000000 \
             time_ns={} since_ns=0 cpus=2 recording=1 per_vcpu=1 histograms={} phases={}\n",
            seconds * 1_000_000_000,
            u8::from(self.histograms),
            u8::from(self.phases),
        );
        let mut row = |whose: &str, (reason, name, cycles, bucket), exits: u64, spread: bool| {
            if exits == 0 {
                return;
            }
            let all = exits * cycles;
            write!(
                text,
                "{whose} reason={reason} name={name} exits={exits} cycles={all} untimed=0"
            )
            .unwrap();
            if spread {
                write!(text, " min={cycles} max={cycles} log2={bucket}:{exits}").unwrap();
            }
            text.push('\n');
        };
        row("host", CPUID, 1000 * seconds, self.histograms);
        row("host", HLT, 200 * seconds, self.histograms);
        let mut attached = String::new();
        for (vm, vcpu, id, cpuids, hlts) in VCPUS {
            let mut whose = "ended".into();
            if !(self.ended && vm == "977-14") {
                let name = format!("vm={vm} vcpu={vcpu} id={id}");
                writeln!(attached, "attached {name}").unwrap();
                whose = format!("vcpu {name}");
            }
            row(&whose, CPUID, cpuids * seconds, false);
            row(&whose, HLT, hlts * seconds, false);
        }
        text += &attached;
        if self.phases {
            text += &self.budgets();
        }
        let lines = text.lines().count() + 1;
        format!("{text}end epoch={epoch} lines={lines}\n")
    }

    /// Where the time of its vCPUs went. What no exit led to is the guest's, but a tenth is
    /// vCPU 1's in userspace, and a quarter another task's.
    fn budgets(self) -> String {
        let seconds = self.seconds;
        let mut text = String::new();
        for (vm, vcpu, id, cpuids, hlts) in VCPUS {
            let (kind, fields) = match self.ended && vm == "977-14" {
                true => ("ended", String::new()),
                false => ("vcpu", format!(" vm={vm} vcpu={vcpu} id={id}")),
            };
            let mut spent = [
                (CPUID, AFTER_CPUID.map(|cycles| cycles * cpuids * seconds)),
                (HLT, AFTER_HLT.map(|cycles| cycles * hlts * seconds)),
            ];
            if vcpu == 1 {
                spent[0].1[3] = SECOND / 10 * seconds;
                spent[0].1[6] = SECOND / 4 * seconds;
            }
            let all: u64 = spent.iter().flat_map(|(_, cycles)| cycles).sum();
            let (until, guest) = (SECOND * seconds, SECOND * seconds - all);
            writeln!(
                text,
                "{kind}_clock{fields} since=0 until={until} guest={guest}"
            )
            .unwrap();
            for ((reason, name, ..), cycles) in spent {
                let [
                    path,
                    handler,
                    run_loop,
                    user,
                    polling,
                    halted,
                    preempted,
                    sleeping,
                ] = cycles;
                if cycles.iter().any(|&cycles| cycles > 0) {
                    writeln!(
                        text,
                        "{kind}_phases{fields} reason={reason} name={name} exit_path={path} \
                         handler={handler} run_loop={run_loop} userspace={user} \
                         polling={polling} halted={halted} preempted={preempted} \
                         sleeping={sleeping}"
                    )
                    .unwrap();
                }
            }
        }
        text
    }
}
