// SPDX-License-Identifier: GPL-2.0

//! What is printed for known profiles.

use crate::host::{Host, PROFILE, data, diff, exitprof, output};
use exitprof::{
    render::{Format, rows, units::Unit},
    select::Selection,
    snapshot::Snapshot,
    view::View,
};

/// The report on a data file.
fn report(file: &str, arguments: &[&str]) -> String {
    let text = output(
        exitprof()
            .arg("report")
            .arg("--input")
            .arg(data(file))
            .args(arguments),
    );
    if !arguments.contains(&"--format") {
        let longest = text.lines().max_by_key(|line| line.len());
        assert!(longest.is_some_and(|line| line.len() <= 80), "{longest:?}");
    }
    text
}

/// The figures of the document that this project began with.
#[test]
fn the_first_users_figures_are_reported() {
    insta::assert_snapshot!(report("seed.json", &[]));
}

#[test]
fn a_host_is_reported() {
    insta::assert_snapshot!(report("host.txt", &[]));
}

/// A guest's recording, in version 2.
#[test]
fn a_guest_is_reported() {
    insta::assert_snapshot!(report("guest-v2.json", &[]));
}

/// The file `profile` of a host in Bochs, whose guest has booted and sleeps.
#[test]
fn a_recorded_boot_is_reported() {
    insta::assert_snapshot!(report("boot.txt", &[]));
}

#[test]
fn a_host_is_reported_by_time_in_cycles() {
    let arguments = ["--sort", "time", "--top", "3", "--cycles", "--net"];
    insta::assert_snapshot!(report("host.txt", &arguments));
}

#[test]
fn vms_are_reported() {
    insta::assert_snapshot!(report("host.txt", &["--by", "vm"]));
}

#[test]
fn a_vms_vcpus_are_reported() {
    let arguments = [
        "--vm", "412", "--by", "vcpu", "--reason", "hlt", "--reason", "48",
    ];
    insta::assert_snapshot!(report("host.txt", &arguments));
}

#[test]
fn a_vcpu_is_reported() {
    let arguments = ["--vm", "412-11", "--vcpu", "1", "--top", "4"];
    insta::assert_snapshot!(report("host.txt", &arguments));
}

#[test]
fn reasons_are_csv() {
    insta::assert_snapshot!(report("host.txt", &["--format", "csv", "--top", "3"]));
}

#[test]
fn reasons_are_json() {
    insta::assert_snapshot!(report("host.txt", &["--format", "json", "--top", "2"]));
}

#[test]
fn a_change_is_told() {
    let slower = include_str!("data/host.txt")
        .replace("epoch=7", "epoch=9")
        .replace("time_ns=184", "time_ns=124")
        .replace(
            "reason=48 name=EPT_VIOLATION exits=9241 cycles=40671938",
            "reason=48 name=EPT_VIOLATION exits=4620 cycles=30503953",
        )
        .replace(
            "reason=29 name=DR_ACCESS",
            "reason=37 name=MONITOR_TRAP_FLAG",
        );
    let host = Host::new(&slower);
    let file = host.0.path().join("kvm_exitprof/profile");
    insta::assert_snapshot!(diff([&data("host.txt"), &file]));
}

/// Every column, with the longest names and the largest numbers.
#[test]
fn tables_fit_their_width() {
    let mut snapshot = Snapshot::from_text(PROFILE).unwrap();
    for (index, counter) in snapshot.counters.iter_mut().enumerate() {
        let digits = 10_u64.pow(index as u32 % 20);
        counter.exits = digits.saturating_mul(9);
        counter.cycles = u64::MAX / (index as u64 + 1);
        if let Some(histogram) = &mut counter.histogram {
            histogram.max = u64::MAX - 1;
            histogram.buckets[29] = digits;
        }
        counter.name = "AVIC_UNACCELERATED_ACCESS".into();
    }
    for width in [80, 100, 120, 200] {
        for unit in [Unit::Cycles, Unit::Time(1), Unit::Time(2_400_000)] {
            let selection = Selection::everything();
            let view = View::new(&snapshot, &selection).unwrap();
            let mut text = Vec::new();
            let grid = rows::grid(&snapshot, &view);
            let mut sheet = rows::sheet(&grid, &(), &selection, unit, None);
            sheet.look.width = width;
            Format::Table.exporter().sheet(&sheet, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            let bare = anstream::adapter::strip_str(&text).to_string();
            for line in bare.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(bare.contains("p99"), "{bare}");
            assert!(bare.contains("p50") || width == 80, "{bare}");
            assert!(bare.contains("#"), "{bare}");
        }
    }
}

#[test]
fn reasons_that_occurred_as_often_are_named_together() {
    let head = PROFILE.lines().next().unwrap();
    let row = |reason, name| format!("host reason={reason} name={name} exits=7 cycles=70");
    let text = format!(
        "{head}\n{}\n{}\nend epoch=7 lines=4\n",
        row(10, "CPUID"),
        row(12, "HLT")
    );
    let mut command = exitprof();
    let text = output(command.args(["report", "-i", "-"]).write_stdin(text));
    for words in ["Most frequent   ", "Least frequent  "] {
        assert!(
            text.contains(&format!("{words}CPUID, HLT: 7 exits each")),
            "{text}"
        );
    }
}

#[test]
fn histograms_are_reported() {
    let arguments = ["--histogram", "--reason", "MSR_READ", "--reason", "XSETBV"];
    insta::assert_snapshot!(report("host.txt", &arguments));
    // Those of VMs do not exist.
    let mut command = exitprof();
    command
        .args(["report", "--histogram", "--by", "vm", "-i"])
        .arg(data("host.txt"));
    command.assert().code(1);
    let text = report(
        "host.txt",
        &["--histogram", "--format", "markdown", "--top", "1"],
    );
    assert!(text.contains("\n\n    EPT_VIOLATION\n"), "{text}");
    assert!(text.contains("\n      from    below    Exits\n"), "{text}");
    assert!(text.contains("\nexitprof 0.1.0, commit "), "{text}");
    assert!(text.contains("\n| EPT\\_VIOLATION | 9241 |"), "{text}");
}

#[test]
fn words_of_perf_are_known() {
    let text = report("host.txt", &["--as", "perf", "--top", "2", "-k", "time"]);
    let head = "VM-EXIT       Samples Samples%  Time% Min Time Max Time Avg time\n";
    assert!(text.contains(head), "{text}");
    assert!(!text.contains("Exits"), "{text}");
    let mut command = exitprof();
    let text = output(command.args(["report", "-j", "-i"]).arg(data("host.txt")));
    assert!(text.starts_with("{\"version\":3"), "{text}");
}

/// Nothing is wider than the terminal, if its words are not.
#[test]
fn words_are_wrapped() {
    for (width, widest) in [(20, 32), (40, 40), (60, 60), (80, 80), (120, 120)] {
        let mut command = exitprof();
        command.env("COLUMNS", width.to_string());
        let text = output(command.args(["report", "-i"]).arg(data("host-v2.txt")));
        let longest = text.lines().map(str::len).max().unwrap();
        assert!(longest <= widest, "{width}: {text}");
    }
    let mut command = exitprof();
    let text = output(
        command
            .env("COLUMNS", "50")
            .args(["report", "-i"])
            .arg(data("host.txt")),
    );
    let total =
        "In total        14,470 exits, 44,033,663 cycles or\n                18.3ms: 0.01% ";
    assert!(text.contains(total), "{text}");
}

/// Buckets without exits are shown, and with the overhead taken off all begin earlier.
#[test]
fn histograms_have_no_gaps() {
    let text = include_str!("data/host.txt").replace("log2=9:2", "log2=6:1,9:1");
    let host = Host::new(&text);
    let run = |arguments: &[&str]| {
        let mut command = host.exitprof("report");
        output(
            command
                .args(["--histogram", "--reason", "XSETBV", "--cycles"])
                .args(arguments),
        )
    };
    for (arguments, want) in [
        (
            &[][..],
            [
                "64 -    128        1 ",
                "128 -    256        0",
                "256 -    512        0",
                "512 -   1024        1 ",
            ],
        ),
        (
            &["--net"],
            [
                "40 -    104        1 ",
                "104 -    232        0",
                "232 -    488        0",
                "488 -   1000        1 ",
            ],
        ),
    ] {
        let text = run(arguments);
        assert!(want.iter().all(|line| text.contains(line)), "{text}");
    }
}

#[test]
fn a_report_tells_when_it_was_read() {
    let host = Host::new(PROFILE);
    let text = output(host.exitprof("report").env("TZ", "UTC"));
    let (_, read) = text.split_once("\nRead            20").unwrap();
    let (when, machine) = read.trim_end().split_once(" on ").unwrap();
    assert_eq!(when.len(), "26-11-26 08:50:01".len(), "{when}");
    assert!(!machine.is_empty() && !machine.contains('\n'));
}
