// SPDX-License-Identifier: GPL-2.0

//! The demo's transcript: whether what the guest read agrees with what the host logged.

use crate::complaints::is_complaint;
use profile::leaf::{CYCLES, EXITS, TOTAL_CYCLES, TOTAL_EXITS, join};
use std::collections::{HashMap, VecDeque};
use std::fmt;

/// A query of a leaf that the host logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Query {
    leaf: u32,
    /// The subleaf, where it names a reason.
    reason: Option<u32>,
}

impl Query {
    fn new(leaf: u32, subleaf: u32) -> Option<Self> {
        let reason = match leaf {
            TOTAL_EXITS | TOTAL_CYCLES => None,
            EXITS | CYCLES => Some(subleaf),
            _ => return None,
        };
        Some(Self { leaf, reason })
    }

    fn is_of_exits(self) -> bool {
        [TOTAL_EXITS, EXITS].contains(&self.leaf)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_of_exits() {
            "exits"
        } else {
            "cycles"
        };
        let text = match self.reason {
            Some(reason) => format!("{:#x} {what} of reason {reason}", self.leaf),
            None => format!("{:#x} {what}", self.leaf),
        };
        f.pad(&text)
    }
}

/// A number as programs print it, in decimal or in hexadecimal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Reads a line of the host's log:
/// `kvm_exitprof: 0x4ffffffe, Exit number 48. Total exits=10777 (pid 34, vCPU 0)`.
fn logged(line: &str) -> Option<(Query, u64)> {
    let (_, message) = line.split_once("kvm_exitprof: ")?;
    let (leaf, rest) = message.split_once(", ")?;
    let (reason, rest) = match rest.strip_prefix("Exit number ") {
        Some(rest) => rest.split_once(". ")?,
        None => ("0", rest),
    };
    let query = Query::new(number(leaf)?, number(reason)?)?;
    let what = if query.is_of_exits() {
        "exits"
    } else {
        "cycles"
    };
    let value = rest.strip_prefix("Total ")?.strip_prefix(what)?;
    let value = value.strip_prefix('=')?.split_whitespace().next()?;
    Some((query, value.parse().ok()?))
}

/// Reads a line that cpuid prints:
/// `0x4ffffffc 0x00: eax=0x00003606 ebx=0x00000000 ecx=0x00000000 edx=0x00000000`.
fn by_cpuid(line: &str) -> Option<(Query, u64)> {
    let mut words = line.split_whitespace();
    let leaf = number(words.next()?)?;
    let query = Query::new(leaf, number(words.next()?.strip_suffix(':')?)?)?;
    let mut register = |name: &str| {
        let value = words.next()?.strip_prefix(name)?;
        number(value.strip_prefix('=')?)
    };
    let (eax, ebx, ecx) = (register("eax")?, register("ebx")?, register("ecx")?);
    let low = if query.is_of_exits() { eax } else { ecx };
    Some((query, join(low, ebx)))
}

/// Reads a row of `exitprof sweep`, which asks two leaves:
/// `48 EPT_VIOLATION                      10777          52479211`.
fn by_sweep(line: &str) -> Option<[(Query, u64); 2]> {
    let words: Vec<_> = line.split_whitespace().collect();
    let &[reason, _, exits, cycles] = words.as_slice() else {
        return None;
    };
    let reason = number(reason)?;
    Some([
        (Query::new(EXITS, reason)?, exits.parse().ok()?),
        (Query::new(CYCLES, reason)?, cycles.parse().ok()?),
    ])
}

/// An answer that the guest read, and the one that the host logged.
struct Answer {
    query: Query,
    read: u64,
    logged: Option<u64>,
    /// Whether it was read by cpuid, and not by exitprof.
    by_cpuid: bool,
}

impl Answer {
    fn agrees(&self) -> bool {
        self.logged == Some(self.read)
    }
}

/// A command of the guest and what it printed.
fn output<'a>(transcript: &'a str, command: &str) -> Vec<&'a str> {
    let lines = transcript.lines();
    let mut lines = lines.skip_while(|line| !line.starts_with(command));
    let first = lines.next();
    let rest = lines.take_while(|line| !line.contains("# ") || line.starts_with(' '));
    first.into_iter().chain(rest).collect()
}

/// The demo, after its end.
pub struct Demo<'a> {
    transcript: &'a str,
    answers: Vec<Answer>,
}

impl<'a> Demo<'a> {
    pub fn new(transcript: &'a str) -> Self {
        // A query may be made twice: its answers are in order.
        let mut log: HashMap<_, VecDeque<_>> = HashMap::new();
        for (query, value) in transcript.lines().filter_map(logged) {
            log.entry(query).or_default().push_back(value);
        }
        let mut answers = Vec::new();
        let mut compare = |by_cpuid, (query, read)| {
            answers.push(Answer {
                query,
                read,
                logged: log.get_mut(&query).and_then(VecDeque::pop_front),
                by_cpuid,
            });
        };
        for line in transcript.lines() {
            if let Some(answer) = by_cpuid(line) {
                compare(true, answer);
            } else if let Some(answers) = by_sweep(line) {
                answers
                    .into_iter()
                    .for_each(|answer| compare(false, answer));
            }
        }
        Self {
            transcript,
            answers,
        }
    }

    /// The exits of the guest's boot: its first answer.
    fn boot(&self) -> u64 {
        self.answers.first().map_or(0, |answer| answer.read)
    }

    fn read_by_cpuid(&self) -> usize {
        self.answers.iter().filter(|answer| answer.by_cpuid).count()
    }

    /// What is wrong, in the transcript and in the log of the host's console.
    pub fn faults(&self, console: &str) -> Vec<String> {
        let lines = || self.transcript.lines();
        let mut faults = Vec::new();
        let failed = lines().filter(|line| line.contains(" failed with status "));
        faults.extend(failed.map(|line| format!("a command failed: {line}")));
        let complaints = lines()
            .chain(console.lines())
            .filter(|line| is_complaint(line));
        faults.extend(complaints.map(|line| format!("a kernel complained: {line}")));
        let asked = lines().filter(|line| line.starts_with("guest# cpuid"));
        let ended = lines().any(|line| line.starts_with("guest# reboot"));
        if !ended || asked.count() != self.read_by_cpuid() {
            faults.push("the guest did not come to its end".into());
        } else if self.boot() == 0 {
            faults.push("the guest counted no exits".into());
        }
        let differ = self
            .answers
            .iter()
            .filter(|answer| !answer.agrees())
            .count();
        if differ > 0 {
            let all = self.answers.len();
            faults.push(format!(
                "{differ} of the guest's {all} answers differ from the host's log"
            ));
        }
        faults
    }

    /// The answers that cpuid read or that differ, as a table.
    pub fn table(&self) -> Vec<String> {
        let mut table = vec![format!(
            "{:36} {:>14} {:>14}",
            "leaf", "guest read", "host logged"
        )];
        let rows = self.answers.iter().filter(|a| a.by_cpuid || !a.agrees());
        table.extend(rows.map(|answer| {
            let logged = answer.logged.map_or("nothing".into(), |n| n.to_string());
            let verdict = if answer.agrees() { "agree" } else { "DIFFER" };
            format!(
                "{:36} {:>14} {logged:>14}  {verdict}",
                answer.query, answer.read
            )
        }));
        table
    }

    /// The result on one screen: an answer, the host's line for it, that all answers agree,
    /// and a table of exits.
    pub fn screen(&self) -> Vec<String> {
        let total = output(self.transcript, "guest# cpuid");
        let mut log = self
            .transcript
            .lines()
            .filter(|line| logged(line).is_some());
        let log = log.find_map(|line| Some(&line[line.find("kvm_exitprof: ")?..]));
        let (all, typed) = (self.answers.len(), self.read_by_cpuid());
        let report = output(self.transcript, "guest# exitprof report");
        // The table's rows end at the second blank line.
        let mut blank = 0;
        let report = report.into_iter().take_while(|line| {
            blank += usize::from(line.is_empty());
            blank < 2
        });

        let mut screen: Vec<String> = Vec::new();
        let mut say = |line: &str| screen.push(line.to_owned());
        total.iter().for_each(|line| say(line));
        say("host# dmesg | grep 0x4ffffffc");
        log.into_iter().for_each(&mut say);
        say("");
        say(&format!(
            "They agree: booting the guest took {} exits.",
            self.boot()
        ));
        say(&format!("All {all} answers agree with the host's log:"));
        say(&format!(
            "{typed} that cpuid read, {} that exitprof read.",
            all - typed
        ));
        say("");
        report.for_each(say);
        screen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSCRIPT: &str = "\
host# uname -sr
Linux 6.1.192
guest# cpuid -1 -l 0x4ffffffc
CPU:
   0x4ffffffc 0x00: eax=0x00003606 ebx=0x00000001 ecx=0x00000000 edx=0x00000000
guest# cpuid -1 -l 0x4fffffff -s 48
CPU:
   0x4fffffff 0x30: eax=0x00000000 ebx=0x00000000 ecx=0x0320c72b edx=0x00000000
guest# exitprof sweep
reason name                             exits            cycles
    10 CPUID                              444            246787
    48 EPT_VIOLATION                    10777          52479211
guest# exitprof report --top 1
Exits of all guests of the host of this guest; TSC of 0.050 GHz

Reason           Exits   Exits%  Time% Min Max    Avg
EPT_VIOLATION    10777   62.96% 92.84%   -   - 97.4us #############

In total        17,116 exits, 56,528,019 cycles or 1.13s
guest# reboot -f
reboot: Restarting system
host# dmesg | grep kvm_exitprof: | grep -v '=0'
kvm_exitprof: loaded: answering CPUID 0x4fffff00-0x4fffffff
kvm_exitprof: 0x4ffffffc, Total exits=4294981126 (pid 34, vCPU 0)
[    9.1] kvm_exitprof: 0x4fffffff, Exit number 48. Total cycles=52479787 (pid 34, vCPU 0)
kvm_exitprof: 0x4ffffffe, Exit number 10. Total exits=444 (pid 34, vCPU 0)
kvm_exitprof: 0x4fffffff, Exit number 10. Total cycles=246787 (pid 34, vCPU 0)
kvm_exitprof: 0x4ffffffe, Exit number 48. Total exits=10777 (pid 34, vCPU 0)
kvm_exitprof: 0x4fffffff, Exit number 48. Total cycles=52479211 (pid 34, vCPU 0)
host# rmmod kvm_exitprof
kvm_exitprof:     48 EPT_VIOLATION                    10810          52653603
";

    fn faults(transcript: &str) -> String {
        Demo::new(transcript).faults("").join("; ")
    }

    #[test]
    fn a_demo_in_which_all_agrees_has_no_faults() {
        assert_eq!(faults(TRANSCRIPT), "");
        assert_eq!(Demo::new(TRANSCRIPT).boot(), 0x1_0000_3606);
        let table = Demo::new(TRANSCRIPT).table();
        let want = "0x4fffffff cycles of reason 48             52479787       52479787  agree";
        assert_eq!(table.len(), 3);
        assert_eq!(table[2], want);
    }

    #[test]
    fn exit_codes_of_svm_are_read() {
        let row = by_sweep("  0x72 CPUID                              444            246787");
        let reasons = row.unwrap().map(|(query, _)| query.reason);
        assert_eq!(reasons, [Some(0x72); 2]);
    }

    #[test]
    fn an_answer_that_the_host_did_not_log_so_differs() {
        let other = TRANSCRIPT.replace("Total exits=10777", "Total exits=10778");
        let want = "1 of the guest's 6 answers differ from the host's log";
        assert_eq!(faults(&other), want);
        let row = "0x4ffffffe exits of reason 48                 10777          10778  DIFFER";
        assert!(Demo::new(&other).table().contains(&row.to_owned()));
        let none = TRANSCRIPT.replace("Exit number 10.", "Exit number 11.");
        assert!(faults(&none).starts_with("2 of the guest's 6"));
        assert!(Demo::new(&none).table()[3].ends_with("nothing  DIFFER"));
    }

    #[test]
    fn a_guest_that_does_not_come_to_its_end_is_noticed() {
        let want = "the guest did not come to its end";
        for without in ["guest# reboot -f", "eax=0x00000000"] {
            let other = TRANSCRIPT.replace(without, "");
            assert!(faults(&other).contains(want), "{without}");
        }
        assert!(faults("").contains(want));
        let nothing = TRANSCRIPT.replace("eax=0x00003606 ebx=0x00000001", "eax=0x0 ebx=0x0");
        assert!(faults(&nothing).contains("counted no exits"));
    }

    #[test]
    fn a_command_that_fails_and_a_kernel_that_complains_are_told() {
        let failed = format!("{TRANSCRIPT}insmod failed with status 1\n");
        assert_eq!(
            faults(&failed),
            "a command failed: insmod failed with status 1"
        );
        let demo = Demo::new(TRANSCRIPT);
        let faults = demo.faults("all is well\nBUG: kernel NULL pointer dereference");
        assert_eq!(
            faults,
            ["a kernel complained: BUG: kernel NULL pointer dereference"]
        );
    }

    #[test]
    fn what_there_was_to_see_fits_on_a_screen() {
        let screen = Demo::new(TRANSCRIPT).screen();
        assert!(screen.iter().all(|line| line.len() <= 80), "{screen:#?}");
        let lines: Vec<_> = screen.iter().map(String::as_str).collect();
        assert_eq!(lines[0], "guest# cpuid -1 -l 0x4ffffffc");
        let log = "kvm_exitprof: 0x4ffffffc, Total exits=4294981126 (pid 34, vCPU 0)";
        assert_eq!(lines[3..5], ["host# dmesg | grep 0x4ffffffc", log]);
        assert!(lines[6].ends_with("took 4294981126 exits."), "{}", lines[6]);
        assert!(lines[8].starts_with("2 that cpuid read, 4 that"));
        assert_eq!(
            lines.last().unwrap().split(' ').next(),
            Some("EPT_VIOLATION")
        );
        // The demo's table has five rows; main adds two lines.
        assert!(screen.len() + 4 + 2 <= 24);
    }
}
