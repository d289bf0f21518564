// SPDX-License-Identifier: GPL-2.0

//! Profiles and recordings with faults, and command lines that make little sense.

use super::{fuzz, profiles::profile, run, words};
use proptest::prelude::*;
use std::fs;

/// A change: where, how much is taken out, and what is put in.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let text = prop_oneof![
        "[ -~\u{0}-\u{ff}]{0,6}",
        prop::sample::select(vec![
            "0",
            "-1",
            "18446744073709551615",
            "18446744073709551616",
            "null",
            "1e99",
            "\n",
            "",
            "\u{1b}[2J",
            "exits=1",
            "{",
            "\"",
            "id=",
            "vcpu vm=1 vcpu=1",
        ])
        .prop_map(String::from),
    ];
    (any::<prop::sample::Index>(), 0..12_usize, text)
}

fn changed(text: &str, changes: &[(prop::sample::Index, usize, String)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (index, length, new) in changes {
        if text.is_empty() {
            break;
        }
        let at = index.index(text.len());
        let end = (at + length).min(text.len());
        text.splice(at..end, new.chars());
    }
    text.into_iter().collect()
}

/// They are read or refused.
#[test]
fn faults_are_survived() {
    let changes = || prop::collection::vec(change(), 0..4);
    let strategy = (
        [profile(), profile()],
        [changes(), changes()],
        any::<bool>(),
    );
    fuzz(strategy, |dir, (profiles, changes, as_json)| {
        for (name, (profile, changes)) in ["a", "b"].iter().zip(profiles.iter().zip(&changes)) {
            let text = profile.text();
            let snapshot = exitprof::snapshot::Snapshot::from_text(&text);
            let text = match snapshot {
                Ok(snapshot) if as_json => serde_json::to_string(&snapshot).unwrap(),
                _ => text,
            };
            fs::write(dir.join(name), changed(&text, changes)).unwrap();
        }
        for line in [
            "report -i a",
            "report -i a --by vcpu,reason --net --histogram",
            "report -i b --all --cycles --format json --sort p99",
            "diff a b",
            "report -i a --by vcpu --format openmetrics",
            "report -i b --by vm --format prometheus",
            "diff b a b --by vm --net",
        ] {
            let output = run(dir, &words(line))?;
            let text = String::from_utf8(output.stdout).unwrap();
            let is_plain = |c: char| c == '\n' || !c.is_control();
            prop_assert!(text.chars().all(is_plain), "{}: {:?}", line, text);
        }
        Ok(())
    });
}

#[test]
fn any_command_line_is_understood_or_refused() {
    let word = prop::sample::select(vec![
        "report",
        "diff",
        "record",
        "sweep",
        "schema",
        "reset",
        "recording",
        "-i",
        "a",
        "b",
        "-",
        "--by",
        "vm",
        "vm,reason",
        "vcpu",
        "--sort",
        "p99",
        "exits",
        "reason",
        "--top",
        "0",
        "3",
        "-1",
        "18446744073709551616",
        "--format",
        "json",
        "csv",
        "markdown",
        "openmetrics",
        "prometheus",
        "-j",
        "--vm",
        "412",
        "-p",
        "412-11",
        "--vcpu",
        "1",
        "--reason",
        "HLT",
        "48",
        "0x30",
        "--all",
        "--net",
        "--cycles",
        "--histogram",
        "--as",
        "perf",
        "--fail-above",
        "10%",
        "nan",
        "--help",
        "-V",
        "--version",
        "on",
        "--",
        "",
        "\u{1b}",
        "--source",
        "host",
        "guest",
        "--debugfs",
        "/nowhere",
        "--procfs",
        "--sysfs",
        ".",
        "--for",
        "0.001",
    ]);
    let line = prop::collection::vec(word, 0..9);
    fuzz((profile(), line), |dir, (profile, mut line)| {
        for name in ["a", "b"] {
            fs::write(dir.join(name), profile.text()).unwrap();
        }
        // It must not control this machine.
        if ["reset", "recording"]
            .iter()
            .any(|name| line.contains(name))
        {
            line.extend(["--sysfs", "."]);
        }
        run(
            dir,
            &line.iter().map(|word| word.to_string()).collect::<Vec<_>>(),
        )?;
        Ok(())
    });
}
