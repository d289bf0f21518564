// SPDX-License-Identifier: GPL-2.0

//! The files of the model and of the module know each other one way only.
//!
//! Whoever changes who may know whom changes the lists here.

mod c;
mod graph;
mod rust;
mod token;

use graph::{Layers, Sources, faults, sources};
use std::path::Path;

const MODEL: Layers = Layers {
    order: &[
        "query_log, text",
        "query",
        "leaf",
        "cells",
        "counts, histogram",
        "isa",
        "vmx, svm",
        "reason, throttle, queue, table",
    ],
    alone: &["throttle", "queue", "table"],
    elsewhere: &[],
    private: &[],
};

/// `sys` has all that differs between kernels, so nobody else knows the bindings.
const MODULE: Layers = Layers {
    order: &[
        "main",
        "params",
        "kvm",
        "files",
        "table, text",
        "guest, log, calibrate",
        "record, reading",
        "vms",
        "vm",
        "snapshot, host",
        "block",
        "spread",
        "epoch, config",
        "profile",
        "sys",
        "bindings",
    ],
    alone: &[],
    elsewhere: &["profile", "bindings"],
    private: &[("bindings", "sys")],
};

fn folder(name: &str) -> Sources {
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(name),
    )
    .unwrap()
}

/// That there are none, or all of them.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_model_has_layers() {
    let files = folder("src/profile");
    assert_none(&faults(&MODEL, &["profile"], &files));
}

#[test]
fn the_module_has_layers() {
    assert_none(&faults(&MODULE, &[], &folder("src/kernel")));
}

/// Of a module that is made up.
const MADE_UP: Layers = Layers {
    order: &[
        "main",
        "files, log",
        "record",
        "lists",
        "profile",
        "sys",
        "bindings",
    ],
    alone: &["lists"],
    elsewhere: &["profile", "bindings"],
    private: &[("bindings", "sys")],
};

const FILES: [(&str, &str); 9] = [
    (
        "main.rs",
        "mod bindings;\nmod files;\nmod lists;\nmod log;\n#[path = \"../profile/mod.rs\"]\n\
         mod profile;\nmod record;\nmod sys;\nuse files::Dir;\nfn f() { log::flush() }",
    ),
    (
        "files.rs",
        "use crate::{\n    log::{self, Line},\n    sys::percpu::PerCpu,\n};\n\
         #[no_mangle] extern \"C\" fn exitprof_show() {}",
    ),
    ("log.rs", "use super::record; use crate::profile::isa::Isa;"),
    (
        "record.rs",
        "use crate::{lists::List, sys};\nfn f() { sys::work::queue() }",
    ),
    ("lists.rs", "//! For [`crate::record`].\nuse core::mem;"),
    ("sys/mod.rs", "pub(crate) mod percpu; pub(crate) mod work;"),
    ("sys/percpu.rs", "use super::work; use crate::bindings;"),
    (
        "sys/work.rs",
        "use crate::bindings;\nfn f() { unsafe { bindings::exitprof_queue() } }",
    ),
    (
        "helpers.c",
        "void exitprof_queue(void)\n{\n\tqueue_work(&exitprof_work);\n}\n",
    ),
];

/// The faults if `added` stands in `file`, too.
fn faults_with(file: &str, added: &str) -> Vec<String> {
    let mut files: Sources = FILES
        .iter()
        .map(|(name, source)| (name.to_string(), source.to_string()))
        .collect();
    *files.entry(file.to_string()).or_default() += added;
    faults(&MADE_UP, &[], &files)
}

#[test]
fn what_goes_one_way_has_no_faults() {
    assert_none(&faults_with("main.rs", ""));
}

#[test]
fn a_circle_is_found_and_shown() {
    for (file, added, want) in [
        (
            "log.rs",
            "\nuse crate::files;",
            "circle: files.rs:2 -> log.rs:2 -> files.rs",
        ),
        (
            "log.rs",
            "\nfn f() {\n    crate::files::show()\n}",
            "circle: files.rs:2 -> log.rs:3 -> files.rs",
        ),
        (
            "sys/work.rs",
            "\nuse super::percpu;",
            "circle: sys/percpu.rs:1 -> sys/work.rs:3 -> sys/percpu.rs",
        ),
        (
            "sys/work.rs",
            "\nuse crate::sys;\nfn g() -> sys::percpu::PerCpu {}",
            "circle: sys/percpu.rs:1 -> sys/work.rs:4 -> sys/percpu.rs",
        ),
        // C calls the upper layer.
        (
            "helpers.c",
            "static int show(void)\n{\n\treturn exitprof_show();\n}\nDECLARE_WORK(exitprof_work, show);\n",
            "circle: files.rs:3 -> sys/percpu.rs:1 -> sys/work.rs:2 -(exitprof_queue)-> files.rs",
        ),
        (
            "log.rs",
            "\nfn f() { crate::sys::exitprof_show() }",
            "circle: files.rs:2 -> log.rs:2 -(exitprof_show)-> files.rs",
        ),
    ] {
        let faults = faults_with(file, added);
        assert!(faults.contains(&want.to_string()), "{added}: {faults:#?}");
    }
}

#[test]
fn each_circle_is_shown_once() {
    let faults = faults_with("log.rs", "\nuse crate::files;\nuse crate::main::X;");
    let circles = faults.iter().filter(|fault| fault.starts_with("circle"));
    assert_eq!(circles.count(), 2, "{faults:#?}");
}

#[test]
fn whoever_knows_more_than_it_may_is_named() {
    for (file, added, want) in [
        (
            "record.rs",
            "\nuse crate::log::Line;",
            "record.rs:3 -> log.rs: that is above it",
        ),
        (
            "sys/work.rs",
            "\nconst X: usize = crate::profile::SIZE;",
            "sys/work.rs:3 -> profile: that is above it",
        ),
        (
            "log.rs",
            "\nuse crate::errno;",
            "log.rs:2 -> main.rs: that is above it",
        ),
        (
            "lists.rs",
            "\nuse crate::sys::percpu;",
            "lists.rs:3 -> sys/percpu.rs: lists is to know nobody",
        ),
        (
            "record.rs",
            "\nuse crate::bindings::kfree;",
            "record.rs:3 -> bindings: that is not for record",
        ),
    ] {
        let faults = faults_with(file, added);
        assert!(faults.contains(&want.to_string()), "{added}: {faults:#?}");
    }
}

#[test]
fn nothing_is_passed_over() {
    for (file, added, want) in [
        ("other.rs", "", "other.rs is in no layer"),
        ("other/mod.rs", "", "other/mod.rs is in no layer"),
        ("other/part.rs", "", "other/part.rs is in no layer"),
        ("mod.rs", "use crate::log;", "mod.rs is in no layer"),
        ("log.rs", "\nmod part;", "log.rs:2: module part has no file"),
    ] {
        let faults = faults_with(file, added);
        assert!(faults.contains(&want.to_string()), "{file}: {faults:#?}");
    }
    let more = Layers {
        elsewhere: &["profile", "bindings", "generated"],
        ..MADE_UP
    };
    let unlisted = faults(&more, &[], &Sources::new());
    assert!(unlisted.contains(&"generated is in no layer".to_string()));
    let nobody = faults(&MADE_UP, &[], &Sources::new());
    assert!(nobody.contains(&"layer log has no file".to_string()));
    assert!(!nobody.contains(&"layer bindings has no file".to_string()));
}

/// With folders in it, and without what the build has made.
#[test]
fn a_folder_is_read_as_a_whole() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layers");
    std::fs::create_dir_all(folder.join("sys")).unwrap();
    let made = [("bindings.rs", "use crate::main;"), ("helpers.o", "\0")];
    for (name, source) in FILES.iter().chain(&made) {
        std::fs::write(folder.join(name), source).unwrap();
    }
    let files = sources(&folder).unwrap();
    assert_eq!(files.len(), FILES.len() + 1);
    assert_none(&faults(&MADE_UP, &[], &files));
}
