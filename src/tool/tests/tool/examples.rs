// SPDX-License-Identifier: GPL-2.0

//! The examples in the help work as they are printed.

use crate::{
    details::with_details,
    growing::Growing,
    host::{Host, exitprof, later, output},
    phases::with_phases,
    recording::series,
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Writes a program.
fn program(dir: &Path, name: &str, script: &str) {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// The profile after so many seconds.
fn counted(seconds: u64) -> String {
    let profile = later(7, seconds, seconds * 10);
    with_details(&with_phases(&profile, [seconds + 1, 2, 4])).replace("412-11", "4123-11")
}

/// A host with what the examples name. In `bin` are the tool, which reads that host in place
/// of this machine, and programs that stand for others.
fn host() -> Host {
    let host = Host::new(&counted(0));
    let dir = host.0.path();
    fs::create_dir_all(dir.join("module/kvm_exitprof/parameters")).unwrap();
    fs::write(dir.join("module/kvm_exitprof/parameters/recording"), "Y").unwrap();
    fs::create_dir(dir.join("bin")).unwrap();
    let script = format!(
        "root={} tool={}\ncase $1 in\n\
         report) case \"$*\" in *' -i '*) exec $tool \"$@\";; esac;;\n\
         stat | top | record) ;;\n\
         reset | recording) set -- \"$@\" --sysfs $root; exec $tool \"$@\";;\n\
         *) exec $tool \"$@\";;\nesac\n\
         command=$1; shift\n\
         exec $tool $command --debugfs $root --procfs $root \"$@\"",
        dir.display(),
        env!("CARGO_BIN_EXE_exitprof"),
    );
    program(&dir.join("bin"), "exitprof", &script);
    program(&dir.join("bin"), "make", "sleep 0.01");
    program(&dir.join("bin"), "jq", "cat >/dev/null");
    program(&dir.join("bin"), "ssh", "shift; exec \"$@\"");
    host
}

/// The examples of a command's help, without the words that explain them.
fn examples(command: &str) -> Vec<String> {
    let mut help = exitprof();
    help.args(Some(command).filter(|command| !command.is_empty()));
    let text = output(help.arg("--help"));
    let (_, examples) = text.split_once("\nExamples:\n").unwrap();
    let lines = examples.lines().map(|line| line.trim());
    lines
        .map(|line| {
            line.split_once("  ")
                .map_or(line, |(example, _)| example)
                .into()
        })
        .collect()
}

/// Runs an example. What would go on, is interrupted.
fn run(dir: &Path, example: &str) {
    let path = format!("{}:/usr/bin:/bin", dir.join("bin").display());
    let mut sh = Command::new("timeout");
    let script = match example.contains('|') {
        true => example.into(),
        false => format!("exec {example}"),
    };
    sh.args(["-s", "INT", "4", "sh", "-c", &script]);
    // Some write files that others read.
    let own = TempDir::new_in(dir).unwrap();
    fs::write(own.path().join("before.json"), counted(0)).unwrap();
    fs::write(own.path().join("after.json"), counted(10)).unwrap();
    for name in ["minute", "baseline", "new"] {
        let seconds = (0..=60).map(|seconds| Growing::new().later(seconds));
        fs::write(own.path().join(format!("{name}.series")), series(seconds)).unwrap();
    }
    fs::write(own.path().join("devices"), "port 0xc000-0xc03f disk\n").unwrap();
    fs::write(
        own.path().join("System.map"),
        "ffffffff8103c5c0 T native_cpuid\n",
    )
    .unwrap();
    let run = sh
        .current_dir(own.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&run.stderr);
    // 124 says that it was interrupted.
    let status = run.status.code();
    assert!(
        [Some(0), Some(124)].contains(&status),
        "{example}: {status:?}: {error}"
    );
    assert!(!error.contains("exitprof: "), "{example}: {error}");
}

#[test]
fn examples_work() {
    let host = host();
    let dir = host.0.path();
    let all = [
        "",
        "report",
        "stat",
        "record",
        "diff",
        "check",
        "schema",
        "reset",
        "recording",
    ];
    // Some need a terminal, a host's answers, or more time.
    let needs_more = |example: &String| {
        example.starts_with("exitprof top")
            || ["exitprof sweep", "exitprof check baseline.series"].contains(&example.as_str())
    };
    let examples = all
        .into_iter()
        .flat_map(examples)
        .filter(|example| !needs_more(example));
    let examples: Vec<String> = examples.collect();
    assert!(examples.len() > 30, "{examples:?}");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // It goes on counting meanwhile.
        scope.spawn(|| {
            for seconds in (1..).take_while(|_| !done.load(Ordering::Relaxed)) {
                host.load(&counted(seconds));
                thread::sleep(Duration::from_millis(20));
            }
        });
        let runs: Vec<_> = examples
            .iter()
            .map(|example| scope.spawn(move || run(dir, example)))
            .collect();
        let ended: Vec<_> = runs.into_iter().map(|run| run.join().is_ok()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.into_iter().all(|is_ok| is_ok));
    });
    run(dir, "exitprof top -b -n 1");
}
