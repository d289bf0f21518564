// SPDX-License-Identifier: GPL-2.0

//! Where the time of vCPUs went: `report --phases`.

use crate::{
    growing::Growing,
    host::{Host, PROFILE, data, exitprof, output},
    leaves::{self, cpuid},
    schema::check,
};
use exitprof::snapshot::{Owner, Snapshot};
use profile::{
    isa::Isa,
    leaf::{FEATURE_PHASES, FEATURE_SNAPSHOT, Scope},
    phases::{Spent, Totals},
};
use serde_json::Value;

/// The report on the file `profile` of a host in Bochs, whose guest has booted, worked and
/// ended.
fn report(arguments: &[&str]) -> String {
    let mut report = exitprof();
    let text = output(
        report
            .args(["report", "--phases", "-i"])
            .arg(data("phases.txt"))
            .args(arguments),
    );
    if !arguments.contains(&"--format") {
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
    text
}

/// [`PROFILE`] with phases.
fn profile(scale: [u64; 3]) -> String {
    with_phases(PROFILE, scale)
}

/// A profile like [`PROFILE`] with phases of two VMs and of vCPUs that have ended. The numbers
/// of each are multiples of its own.
pub fn with_phases(profile: &str, scale: [u64; 3]) -> String {
    let profile = profile.replace(" histograms=1\n", " histograms=1 phases=1\n");
    let mut text = profile
        .lines()
        .filter(|line| !line.starts_with("end "))
        .map(|line| line.to_owned() + "\n")
        .collect::<String>();
    let epoch = profile.lines().last().unwrap().split(' ').nth(1).unwrap();
    let owners = [
        ("vcpu", " vm=412-11 vcpu=0 id=b492b66fbe98f273"),
        ("vcpu", " vm=977-14 vcpu=0 id=e0c5a2d6390b8f47"),
        ("ended", ""),
    ];
    for ((kind, fields), scale) in owners.into_iter().zip(scale) {
        if scale == 0 {
            continue;
        }
        let [since, until] = [1000, 1000 + 1000 * scale];
        let of = |number: u64| number * scale;
        text += &format!(
            "{kind}_clock{fields} since={since} until={until} guest={}\n",
            of(400)
        );
        text += &format!(
            "{kind}_phases{fields} reason=12 name=HLT exit_path={} handler={} run_loop={} \
             userspace={} polling={} halted={} preempted={} sleeping={}\n",
            of(10),
            of(20),
            of(30),
            of(40),
            of(50),
            of(60),
            of(70),
            of(80),
        );
        text += &format!(
            "{kind}_phases{fields} reason=none name=none exit_path=0 handler=0 run_loop={} \
             userspace={} polling=0 halted=0 preempted=0 sleeping=0\n",
            of(140),
            of(100),
        );
        text += &format!(
            "{kind}_userspace{fields} reason=12 name=HLT exit=2 exit_name=IO trips={} \
             cycles={}\n",
            of(1),
            of(40)
        );
    }
    let lines = text.lines().count() + 1;
    text + &format!("end {epoch} lines={lines}\n")
}

/// The report of a host with this profile as JSON.
fn json(host: &Host, arguments: &[&str]) -> Value {
    let mut report = host.exitprof("report");
    let text = output(
        report
            .args(["--phases", "--format", "json"])
            .args(arguments),
    );
    check(&text, "PhaseReport");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_budget_is_reported() {
    insta::assert_snapshot!(report(&["--top", "6"]));
}

#[test]
fn a_budget_is_csv() {
    insta::assert_snapshot!(report(&["--top", "2", "--format", "csv"]));
}

#[test]
fn a_budget_adds_up_to_the_time_that_passed() {
    let budget = json(&Host::new(&profile([1, 2, 4])), &[]);
    assert_eq!(budget["elapsed"], 7000);
    let parts = budget["budget"].as_array().unwrap();
    let sum: u64 = parts.iter().map(|p| p["cycles"].as_u64().unwrap()).sum();
    assert_eq!(sum, 7000);
    assert_eq!(parts[0]["phase"], "guest");
    assert_eq!(parts[0]["percent"], 40.0);
    let rows = budget["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["name"], &rows[0]["spent"]),
        (&"HLT".into(), &2520.into())
    );
    assert_eq!(
        (&rows[1]["name"], &rows[1]["spent"]),
        (&"none".into(), &1680.into())
    );
    for (phase, cycles) in [
        ("exit_path", 70),
        ("handler", 140),
        ("run_loop", 210),
        ("userspace", 280),
        ("polling", 350),
        ("halted", 420),
        ("preempted", 490),
        ("sleeping", 560),
    ] {
        assert_eq!(rows[0][phase], cycles, "{phase}");
    }
    let trips = &budget["userspace_exits"][0];
    let wanted = serde_json::json!({
        "reason": 12, "name": "HLT", "exit": 2, "exit_name": "IO", "trips": 7, "cycles": 280
    });
    assert_eq!(*trips, wanted);
}

/// The shares stay those of all reasons.
#[test]
fn the_parts_are_of_all_reasons_even_if_few_are_shown() {
    let host = Host::new(&profile([1, 2, 4]));
    let (all, few) = (json(&host, &[]), json(&host, &["--top", "1"]));
    assert_eq!(all["budget"], few["budget"]);
    assert_eq!(few["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn a_vm_has_a_budget_of_its_own() {
    let host = Host::new(&profile([1, 2, 4]));
    assert_eq!(json(&host, &["--vm", "412"])["elapsed"], 1000);
    assert_eq!(
        json(&host, &["--vm", "977-14", "--vcpu", "0"])["elapsed"],
        2000
    );
}

#[test]
fn without_phases_it_is_said_how_to_get_them() {
    let host = Host::new(PROFILE);
    for arguments in [["report", "--phases"], ["stat", "--phases"]] {
        let mut command = host.exitprof(arguments[0]);
        let run = command.arg(arguments[1]).assert().code(1);
        let text = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(
            text.contains("/sys/module/kvm_exitprof/parameters/phases"),
            "{text}"
        );
    }
}

#[test]
fn reasons_can_be_chosen_and_left_out() {
    let host = Host::new(&profile([1, 2, 4]));
    let hlt = json(&host, &["--reason", "hlt"]);
    assert_eq!(hlt["rows"].as_array().unwrap().len(), 1);
    assert_eq!(hlt["rows"][0]["name"], "HLT");
    assert_eq!(hlt["elapsed"], 7000);
    let trips = |reason| json(&host, &["--reason", reason])["userspace_exits"].clone();
    assert_eq!(trips("HLT").as_array().unwrap().len(), 1);
    assert_eq!(trips("CPUID").as_array().unwrap().len(), 0);
    for arguments in [&["--phases"][..], &[]] {
        let mut report = host.exitprof("report");
        let text = output(report.args(arguments).args(["--top", "0"]));
        assert!(text.contains("In total"), "{text}");
        assert!(
            !text.contains("Reason") && !text.contains("No exits"),
            "{text}"
        );
        assert!(!text.contains("\n\n\n"), "{text}");
    }
}

/// perf measures from exit to entry. Phases know that of exits that KVM did not re-enter at
/// once.
#[test]
fn the_times_of_perf_are_those_from_exit_to_entry() {
    let perf = |file: &str, arguments: &[&str]| {
        let mut report = exitprof();
        report
            .args(["report", "--as", "perf", "-i"])
            .arg(data(file));
        output(report.args(arguments))
    };
    let text = perf(
        "phases.txt",
        &["--cycles", "--top", "100", "--sort", "time"],
    );
    let file = include_str!("data/phases.txt");
    let number = |line: &str, key: &str| -> u64 {
        let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
        fields.find(|(k, _)| *k == key).unwrap().1.parse().unwrap()
    };
    let phases = [
        "exit_path",
        "handler",
        "run_loop",
        "userspace",
        "polling",
        "halted",
        "preempted",
        "sleeping",
    ];
    let of = |kind: &str, name: &str| {
        let mut lines = file.lines().filter(|line| line.starts_with(kind));
        lines
            .find(|line| line.contains(&format!(" name={name} ")))
            .unwrap()
            .to_owned()
    };
    let mut last = f64::INFINITY;
    let mut seen = 0;
    let all: u64 = file
        .lines()
        .filter(|line| line.starts_with("ended_phases ") && !line.contains("name=none"))
        .map(|line| phases.map(|phase| number(line, phase)).iter().sum::<u64>())
        .sum();
    let rows = text.lines().skip(3).take_while(|line| !line.is_empty());
    for row in rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        let line = of("ended_phases ", words[0]);
        let time: u64 = phases.map(|phase| number(&line, phase)).iter().sum();
        let exits = number(&of("host ", words[0]), "exits");
        assert_eq!(words[1], exits.to_string(), "{row}");
        let share = time as f64 / all as f64 * 100.0;
        assert_eq!(words[3], format!("{share:.2}%"), "{row}");
        assert!(share <= last, "{text}");
        last = share;
        assert_eq!(words[4..6], ["-", "-"], "{row}");
        let avg = time as f64 / exits as f64;
        let shown: f64 = words[6].trim_end_matches(['k', 'M']).parse().unwrap();
        let scale = [("k", 1e3), ("M", 1e6)]
            .into_iter()
            .find(|(k, _)| words[6].ends_with(k));
        let shown = shown * scale.map_or(1.0, |(_, scale)| scale);
        assert!((shown - avg).abs() <= avg * 0.01 + 0.5, "{row}: {avg}");
        seen += 1;
    }
    assert_eq!(seen, 16, "{text}");
    assert!(
        text.contains("Times           from exit to entry"),
        "{text}"
    );
    assert!(
        text.contains("Not timed       MSR_WRITE: 4,524 of 4,796\n"),
        "{text}"
    );
    assert!(
        text.contains("takes a") && text.contains("count as 0"),
        "{text}"
    );
    for argument in ["--sort=p99", "--histogram"] {
        let mut report = exitprof();
        report.args(["report", "--as", "perf", argument]);
        let run = report.arg("-i").arg(data("phases.txt")).assert().code(1);
        let error = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(error.contains("leave out --as perf"), "{error}");
    }
    // Halted vCPUs are on no CPU.
    assert!(!text.contains("CPU's time"), "{text}");

    for (file, arguments) in [("boot.txt", &[][..]), ("phases.txt", &["--net"])] {
        let text = perf(file, arguments);
        assert!(
            text.contains("Times           those of KVM's handlers"),
            "{text}"
        );
        assert!(!text.contains("from exit to entry, as perf"), "{text}");
    }
    // Programs read no words.
    let [perf, own] = ["--as=perf", "--sort=exits"].map(|argument| {
        let mut report = exitprof();
        report.args(["report", "--format", "csv", argument, "-i"]);
        output(report.arg(data("phases.txt")))
    });
    assert_eq!(perf, own);
}

/// A VM's exits have the times of that VM. Without phases, they have none.
#[test]
fn the_times_of_perf_are_those_of_the_vm() {
    let host = Growing {
        phases: true,
        ..Growing::new()
    };
    let text = host.profile();
    let is_kept = |line: &&str| !line.contains("_phases ") || !line.contains("name=CPUID");
    let some: Vec<&str> = text.lines().filter(is_kept).collect();
    let end = text.lines().count();
    let some = (some.join("\n") + "\n").replace(
        &format!("lines={end}\n"),
        &format!("lines={}\n", some.len()),
    );
    for (profile, cpuid, share) in [
        (text, ["0.01%", "-", "-", "1100"], "99.99%"),
        (some, ["-", "-", "-", "-"], "100%"),
    ] {
        let host = Host::new(&profile);
        let mut report = host.exitprof("report");
        let text = output(report.args(["--as", "perf", "--cycles", "--vm", "977"]));
        let line = |name: &str| {
            let lines = text.lines();
            let mut lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
            let found = lines.find(|words| words.first() == Some(&name));
            found.unwrap()[3..].to_vec()
        };
        assert_eq!(line("HLT"), [share, "-", "-", "5.16M"], "{text}");
        assert_eq!(line("CPUID"), cpuid, "{text}");
    }
}

/// What vCPUs had before is not part of the difference, even if they have ended meanwhile.
#[test]
fn a_period_has_what_was_added_in_it() {
    let of = |scale| Snapshot::from_text(&profile(scale)).unwrap();
    let (before, after) = (of([1, 2, 4]), of([3, 0, 9]));
    let added = after.since(&before).unwrap().budgets;
    let elapsed: Vec<_> = added
        .iter()
        .map(|b| (&b.owner, b.elapsed, b.guest))
        .collect();
    assert!(
        matches!(elapsed[0], (Owner::Vcpu(_), 2000, 800)),
        "{elapsed:?}"
    );
    // 9 minus 4, and minus the 2 of the vCPU that has ended.
    assert_eq!(elapsed[1], (&Owner::Ended, 3000, 1200));
    assert_eq!(added[1].spent[0].cycles.sleeping, 240);
    assert_eq!(added[1].trips[0].trips, 3);
    assert_eq!(elapsed.len(), 2);
}

#[test]
fn a_recording_keeps_the_budgets() {
    let host = Host::new(&profile([1, 2, 4]));
    let text = output(host.exitprof("record").arg("-"));
    check(&text, "Snapshot");
    let snapshot = Snapshot::from_file(&text).unwrap();
    assert_eq!(snapshot.budgets.len(), 3);
    assert_eq!(snapshot.budgets[2].elapsed, 4000);
}

#[test]
fn a_guest_reads_the_phases_of_its_scope() {
    let host = leaves::Host::new(Isa::Vmx, Scope::Vm);
    let totals = Totals {
        guest: 1 << 40,
        spent: Spent([1, 2, 3, 4, 5, 6, 7, 8]),
    };
    host.0.borrow_mut().phases = Some(totals);
    host.0.borrow_mut().add(cpuid(Isa::Vmx), 3);
    // The host does not say that it records phases.
    assert!(host.guest().read().unwrap().budgets.is_empty());
    host.0.borrow_mut().features = FEATURE_SNAPSHOT | FEATURE_PHASES;
    let budgets = host.guest().read().unwrap().budgets;
    assert_eq!(budgets.len(), 1);
    assert_eq!(
        (budgets[0].guest, budgets[0].elapsed),
        (1 << 40, (1 << 40) + 36)
    );
    assert_eq!(budgets[0].spent[0].cycles.sleeping, 8);
}
