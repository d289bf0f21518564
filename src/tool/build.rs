// SPDX-License-Identifier: GPL-2.0

//! Tells the tool which commit it is built from, and compiles its BPF program.

use std::{env, path::Path, process::Command};

/// The BPF program, which the tool embeds.
const PROGRAM: &str = "source/bpf/exits.bpf.c";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    commit();
    compile();
}

fn commit() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success()).then(|| text.trim().to_owned())
    };
    // A new commit, or another branch.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let commit = commit.unwrap_or("unknown".into());
    println!("cargo:rustc-env=EXITPROF_COMMIT={commit}");
}

/// Compiles the BPF program: with types, which say what its maps hold and where it reads fields;
/// and for Linux 5.12, the first with the atomic instructions that it has.
fn compile() {
    println!("cargo:rerun-if-changed={PROGRAM}");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = env::var("CLANG").unwrap_or("clang".into());
    let object = Path::new(&env::var_os("OUT_DIR").unwrap()).join("exits.bpf.o");
    let status = Command::new(&clang)
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g"])
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"])
        .args(["-c", PROGRAM, "-o"])
        .arg(object)
        .status();
    match status {
        Ok(status) => assert!(status.success(), "{clang} cannot compile {PROGRAM}"),
        Err(e) => panic!("{clang}, which compiles the BPF program: {e} (apt install clang)"),
    }
}
