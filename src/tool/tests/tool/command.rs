// SPDX-License-Identifier: GPL-2.0

//! The tool as a command: errors, exit statuses, pipes, help.

use crate::host::{Host, PROFILE, complaints, data, exitprof, output};
use std::{
    fs,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// The exit status and the errors of a run.
fn complaint(arguments: &[&str]) -> (Option<i32>, String) {
    let host = Host::new(PROFILE);
    let mut command = exitprof();
    command.args(arguments);
    let reads = |name: &&str| ["report", "record"].contains(name);
    if arguments.first().is_some_and(reads) && !arguments.contains(&"-i") {
        command.arg("--debugfs").arg(host.0.path());
    }
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn mistakes_are_explained() {
    for (arguments, says) in [
        (&["report", "--reason", "CPUDI"][..], "did you mean CPUID?"),
        (&["report", "--reason", "35"], "no reason 35 on VMX"),
        (&["report", "--vm", "413"], "there are 412-11, 977-14"),
        (
            &["report", "--vm", "977", "--vcpu", "1"],
            "no vCPU 1: there is 0",
        ),
        (
            &["report", "--by", "vm", "--sort", "p99"],
            "sort by exits, time or avg",
        ),
        (&["report", "-i", "/nowhere"], "/nowhere: No such file"),
        (&["report", "-i", "/proc/self/mounts"], "not a profile"),
        (&["record", "/nowhere/file"], "/nowhere/file: No such file"),
        (&["diff", "/nowhere", "/nowhere"], "/nowhere: No such file"),
        (&["report", "--reason", "HTL"], "did you mean HLT?"),
    ] {
        let (code, text) = complaint(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        assert!(
            text.starts_with("exitprof: ") && text.contains(says),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for arguments in [
        &["reprot"][..],
        &["report", "--sort", "size"],
        &["report", "--rate", "0"],
        &["stat", "-1"],
        &["stat", "nan"],
        &["stat", "1", "0"],
        &["stat", "1", "--", "true"],
        &["report", "--source", "host", "-i", "-"],
        &["diff", "--source", "host", "a", "b"],
        &[],
    ] {
        let (code, text) = complaint(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
    }
}

#[test]
fn a_guest_knows_no_vms() {
    let mut report = exitprof();
    report
        .args(["report", "--by", "vm", "-i"])
        .arg(data("seed.json"));
    let output = report.assert().code(1).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("a guest cannot see VMs"), "{text}");
    let mut report = exitprof();
    report
        .args(["report", "--net", "-i"])
        .arg(data("seed.json"));
    report.assert().code(1);
}

#[test]
fn a_host_without_the_module_is_told_what_to_do() {
    let empty = TempDir::new().unwrap();
    let mut report = exitprof();
    report
        .args(["report", "--source", "host", "--debugfs"])
        .arg(empty.path());
    let output = report.assert().code(1).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("insmod kvm_exitprof.ko"), "{text}");
    fs::create_dir(empty.path().join("kvm_exitprof")).unwrap();
    let output = report.assert().code(1).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("older than this exitprof"), "{text}");
}

#[test]
fn whoever_reads_no_further_is_no_error() {
    for format in ["table", "json", "csv"] {
        let mut report = Command::new(env!("CARGO_BIN_EXE_exitprof"));
        report
            .args(["report", "--all", "--format", format, "-i"])
            .arg(data("host.txt"));
        let mut child = report
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let text = complaints(&mut child);
        assert_eq!(
            (child.wait().unwrap().code(), text.as_str()),
            (Some(0), ""),
            "{format}"
        );
    }
}

#[test]
fn help_ends_in_examples_within_80_columns() {
    for command in [
        "", "report", "stat", "record", "diff", "check", "sweep", "schema", "generate",
    ] {
        let mut help = exitprof();
        help.args(Some(command).filter(|command| !command.is_empty()));
        let text = output(help.arg("--help"));
        let (_, examples) = text.split_once("\nExamples:\n").unwrap();
        assert!(
            examples.lines().all(|line| line.starts_with("  exitprof ")),
            "{text}"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        // What was typed too wide would leave a word in a line of its own.
        let (_, words) = text.split_once("Print help").unwrap();
        let is_alone = |line: &str| line.len() > 1 && line.len() < 12 && !line.contains(' ');
        let alone = words
            .lines()
            .filter(|line| is_alone(line) && !line.ends_with(':'));
        assert_eq!(alone.count(), 0, "{words}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let text = output(exitprof().args(["report", "-i"]).arg(data("host.txt")));
    assert!(!text.contains('\x1b'), "{text}");
    let coloured = |name: &str, value: &str| {
        let mut report = exitprof();
        report.args(["report", "-i"]).arg(data("host.txt"));
        output(report.env("CLICOLOR_FORCE", "1").env(name, value)).contains('\x1b')
    };
    assert!(coloured("TERM", "xterm"));
}

#[test]
fn man_pages_and_completions_are_made() {
    let dir = TempDir::new().unwrap();
    for what in ["man", "bash", "zsh", "fish"] {
        exitprof()
            .args(["generate", what])
            .arg(dir.path())
            .assert()
            .success();
    }
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    for page in ["exitprof", "exitprof-report", "exitprof-record"] {
        let text = read(&format!("{page}.1"));
        let title = text.lines().find(|line| line.starts_with(".TH ")).unwrap();
        assert!(
            title.contains(&format!("{page} 1  \"exitprof 0.")),
            "{title}"
        );
        let (_, examples) = text.split_once("\n.SH EXAMPLES\n.nf\n").unwrap();
        let (examples, _) = examples.split_once("\n.fi\n").unwrap();
        assert!(
            examples.lines().all(|line| line.starts_with("  exitprof ")),
            "{examples}"
        );
    }
    assert!(read("exitprof.1").contains("\n.SH EXIT STATUS\n0 on success"));
    let schema = read("exitprof-schema.1");
    let (_, table) = schema.split_once("report and stat:\n.nf\n").unwrap();
    assert!(table.starts_with("  vm ") && table.contains("\n.fi\n"));
    assert!(read("exitprof-report.1").contains("p99"));
    assert!(read("exitprof-report.1").contains("\n.SH NOTES\n"));
    for file in ["exitprof.bash", "_exitprof", "exitprof.fish"] {
        assert!(read(file).contains("exits"), "{file}");
    }
    // The name of a reason is no file.
    let bash = read("exitprof.bash");
    let (_, after) = bash.split_once("--reason)").unwrap();
    let (after, _) = after.split_once(";;").unwrap();
    assert!(!after.contains("compgen -f"), "{after}");
}

/// What is selected is what is summed up, and what is not there is said.
#[test]
fn every_figure_is_of_what_is_selected() {
    let report = |arguments: &[&str]| {
        let host = Host::new(PROFILE);
        output(host.exitprof("report").args(arguments))
    };
    let text = report(&["--reason", "CPUID"]);
    assert!(
        text.contains("In total        444 exits, 228,442 cycles"),
        "{text}"
    );
    assert!(
        text.contains("\n                (of 14,470 of any reason)\n"),
        "{text}"
    );
    assert!(text.contains("Rate            3.7 exits/s"), "{text}");
    let text = report(&["--reason", "CPUID", "--reason", "HLT"]);
    let rows = text
        .lines()
        .filter(|line| line.starts_with("CPUID") || line.starts_with("HLT"));
    let exits = rows.map(|row| {
        row.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    });
    let sum: u64 = exits.sum();
    assert!(
        text.contains(&format!("In total        {sum} exits,")),
        "{text}"
    );
    let text = report(&["--vm", "977", "--by", "vm", "--reason", "XSETBV"]);
    assert!(text.contains("\n\nNo exits.\n\n"), "{text}");
}

#[test]
fn a_recording_is_like_itself() {
    for (file, rows) in [("host.txt", 10), ("empty.txt", 0)] {
        let host = Host::new("");
        let text = match file {
            "empty.txt" => later_empty(),
            _ => fs::read_to_string(data(file)).unwrap(),
        };
        host.load(&text);
        let file = host.0.path().join("kvm_exitprof/profile");
        let text = output(exitprof().arg("diff").args([&file, &file]));
        assert!(text.contains("it is the same recording"), "{text}");
        let changes = text.lines().filter(|line| line.contains("+0.0%")).count();
        assert!(
            changes >= rows && !text.contains("-100") && !text.contains("-0,"),
            "{text}"
        );
    }
}

/// A profile without an exit.
fn later_empty() -> String {
    let mut lines = PROFILE.lines();
    format!("{}\nend epoch=7 lines=2\n", lines.next().unwrap())
}

#[test]
fn tables_fit_into_few_columns() {
    for width in [20, 40, 60, 79, 120] {
        let mut report = exitprof();
        report.args(["report", "-i"]).arg(data("host.txt"));
        let text = output(report.env("COLUMNS", width.to_string()));
        let table = text.split("\n\n").nth(1).unwrap();
        let longest = table.lines().map(str::len).max().unwrap();
        assert!(longest <= width.max(28), "{width}: {table}");
        assert!(width < 100 || longest > 80, "{width}: {table}");
    }
}

#[test]
fn vms_are_sorted_by_their_numbers() {
    let host = Host::new(&PROFILE.replace("977-14", "9-14"));
    let text = output(
        host.exitprof("report")
            .args(["--by", "vm", "--sort", "reason"]),
    );
    let at = |name: &str| text.find(&format!("\n{name} ")).unwrap();
    assert!(at("9-14") < at("412-11"), "{text}");
}

#[test]
fn versions_are_told() {
    let text = output(exitprof().arg("--version"));
    let commit = text.lines().find_map(|line| line.strip_prefix("commit "));
    let commit = commit.unwrap().trim();
    assert!(commit.len() >= 7, "{text}");
    for line in [
        "exitprof 0.1.0",
        "profile in debugfs        versions 1 to 2",
        "protocol of CPUID leaves  versions 1 to 3",
        "recordings                versions 1 to 2",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    assert_eq!(output(exitprof().arg("-V")), "exitprof 0.1.0\n");
}
