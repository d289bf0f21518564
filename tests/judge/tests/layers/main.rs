// SPDX-License-Identifier: GPL-2.0

//! The files of the model and of the module know each other one way only.
//!
//! Change the lists here to change who may know whom.

mod c;
mod rust;

use rust::{File, Path};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::{fs, path};

/// The layers of a folder of Rust, and perhaps some C.
struct Layers {
    /// From top to bottom, each as the names of its files or folders. A file may know those
    /// of its own layer and of those below.
    order: &'static str,
    /// Those that know nobody, whatever is below.
    alone: &'static [&'static str],
    /// Modules that are not in the folder, or made by the build.
    elsewhere: &'static [&'static str],
    /// Modules that one layer alone knows: (which, that layer).
    private: &'static [(&'static str, &'static str)],
}

const MODEL: Layers = Layers {
    order: "lib > query_log text > query > leaf > phases trips heavy > cells > counts histogram detail > isa > vmx svm \
            > reason throttle queue table",
    alone: &["throttle", "queue", "table"],
    elsewhere: &[],
    private: &[],
};

/// `sys` has all that differs between kernels, so nobody else knows the bindings.
const MODULE: Layers = Layers {
    order: "main > params > kvm > files > table text > guest log calibrate > record reading \
            > vms > vm > phases details > snapshot host > block > spread > epoch config > profile > sys > bindings",
    alone: &[],
    elsewhere: &["profile", "bindings"],
    private: &[("bindings", "sys")],
};

const E2E: Layers = Layers {
    order: "main > scenarios cost > oracle > host > vmm > harness",
    alone: &[],
    elsewhere: &[],
    private: &[],
};

const TOOL: Layers = Layers {
    order: "main build > lib > cli > commands > plot > render > phase_changes > comparison budget series baseline \
            > view > parts > select rate > source > recording > delta names > continuity > snapshot \
            > reasons columns > profile",
    alone: &["rate", "columns"],
    elsewhere: &["profile"],
    private: &[],
};

/// The text of each file, by its name in the folder.
type Sources = BTreeMap<String, String>;

/// The files of Rust and C in `folder` and below, without tests, which may know all.
fn sources(folder: &str) -> Sources {
    let root = path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    let (mut sources, mut folders) = (Sources::new(), vec![root.clone()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|e| e.to_str());
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if let Some("rs" | "c" | "h") = extension {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                sources.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    sources
}

/// One file knows another: from, to, the line that says so, and the function of C through
/// which it does, if any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge(String, String, usize, String);

impl Edge {
    fn shown(&self) -> String {
        let Edge(from, _, line, through) = self;
        format!("{from}:{line} -{through}> ")
    }
}

/// The module of a file, and nothing for the crate's root.
fn module(file: &str) -> Path {
    let parts = file.trim_end_matches(".rs").split('/');
    let named = parts.filter(|part| !["main", "lib", "mod"].contains(part));
    named.map(str::to_owned).collect()
}

/// The layer's entry that a file or a module elsewhere belongs to.
fn entry(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

/// The faults of the folder of module `base`, whose files are `sources`.
fn faults(layers: &Layers, base: &[String], sources: &Sources) -> Vec<String> {
    let mut faults = Vec::new();
    let path = |name: &str| [base, &module(name)].concat();
    let is_made = |name: &str| {
        module(name)
            .last()
            .is_some_and(|m| layers.elsewhere.contains(&&**m))
    };
    let rust = sources
        .iter()
        .filter(|(name, _)| name.ends_with(".rs") && !is_made(name));
    let files = rust.map(|(name, source)| (name.as_str(), File::read(source)));
    let files: BTreeMap<&str, File> = files.collect();

    // The file of each module, or its name if it is elsewhere.
    let mut modules: BTreeMap<Path, &str> = files.keys().map(|&name| (path(name), name)).collect();
    for (name, file) in &files {
        for (last, line) in &file.modules {
            let module = [path(name), vec![last.clone()]].concat();
            if layers.elsewhere.contains(&&**last) {
                modules.insert(module, last);
            } else if !modules.contains_key(&module) {
                faults.push(format!("{name}:{line}: module {last} has no file"));
            }
        }
    }

    let mut edges = c_edges(&files, sources);
    for (&from, file) in &files {
        for (to, line) in file.paths(&path(from)) {
            // Without globs and its own folder's names, each path names its file itself.
            let is_glob = to.last().is_some_and(|last| last == "*");
            if is_glob && modules.contains_key(&to[..to.len() - 1]) {
                faults.push(format!("{from}:{line}: a glob hides what is used"));
            }
            if from.contains('/') && path(from).starts_with(&to) {
                faults.push(format!("{from}:{line}: it imports its own folder"));
            }
            let mut lengths = (0..=to.len()).rev();
            let to = lengths.find_map(|length| modules.get(&to[..length]));
            let to = to.copied().unwrap_or("nowhere").to_owned();
            edges.push(Edge(from.into(), to, line, String::new()));
        }
    }
    // One line is enough.
    edges.retain(|Edge(from, to, ..)| from != to);
    edges.sort();
    edges.dedup_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1));
    check_layers(layers, &files, &edges, &mut faults);
    check_circles(&edges, &mut faults);
    faults
}

/// The edges through names that C knows.
fn c_edges(files: &BTreeMap<&str, File>, sources: &Sources) -> Vec<Edge> {
    let c = sources.iter().filter(|(name, _)| !name.ends_with(".rs"));
    let items: Vec<c::Item> = c.flat_map(|(_, source)| c::items(source)).collect();
    let names = |(file, exports): (_, _)| File::exported(exports).map(move |name| (name, file));
    let exporters: BTreeMap<&str, &&str> = files.iter().flat_map(|(f, e)| names((f, e))).collect();
    let mut edges = Vec::new();
    for (&from, file) in files {
        for (word, line) in &file.words {
            let mut reached = BTreeSet::from([word.clone()]);
            if items
                .iter()
                .any(|item| item.name == *word && !item.is_local)
            {
                reached.extend(c::reached(&items, word));
            }
            for to in reached
                .iter()
                .filter_map(|word| exporters.get(word.as_str()))
            {
                edges.push(Edge(
                    from.into(),
                    to.to_string(),
                    *line,
                    format!("({word})-"),
                ));
            }
        }
    }
    edges
}

fn check_layers(
    layers: &Layers,
    files: &BTreeMap<&str, File>,
    edges: &[Edge],
    faults: &mut Vec<String>,
) {
    let down = layers.order.split('>').enumerate();
    let depths =
        down.flat_map(|(depth, names)| names.split_whitespace().map(move |name| (name, depth)));
    let depths: BTreeMap<&str, usize> = depths.collect();
    let all: BTreeSet<&str> = files
        .keys()
        .chain(layers.elsewhere)
        .map(|name| entry(name))
        .collect();
    let listed: BTreeSet<&str> = depths.keys().copied().collect();
    faults.extend(
        all.difference(&listed)
            .map(|name| format!("{name} is in no layer")),
    );
    faults.extend(
        listed
            .difference(&all)
            .map(|name| format!("layer {name} has no file")),
    );
    for edge in edges {
        let (from, to) = (entry(&edge.0), entry(&edge.1));
        let mut fault = |what: String| faults.push(format!("{}{}: {what}", edge.shown(), edge.1));
        if depths.get(from) > depths.get(to) {
            fault("that is above it".into());
        }
        if layers.alone.contains(&from) && from != to {
            fault(format!("{from} is to know nobody"));
        }
        if layers
            .private
            .iter()
            .any(|&(which, whose)| which == to && whose != from)
        {
            fault(format!("that is not for {from}"));
        }
    }
}

/// Names circles, each as the shortest one through a file that no other circle has.
fn check_circles(edges: &[Edge], faults: &mut Vec<String>) {
    let mut done = BTreeSet::new();
    for Edge(start, ..) in edges {
        let (mut ways, mut seen) = (VecDeque::from([Vec::<&Edge>::new()]), BTreeSet::new());
        while let Some(way) = ways.pop_front().filter(|_| !done.contains(start)) {
            let end = way.last().map_or(start, |edge| &edge.1);
            if end == start && !way.is_empty() {
                let shown: String = way.iter().map(|edge| edge.shown()).collect();
                faults.push(format!("circle: {shown}{start}"));
                done.extend(way.iter().map(|edge| &edge.0));
            }
            let next = edges
                .iter()
                .filter(|Edge(from, to, ..)| from == end && seen.insert(to));
            ways.extend(next.map(|edge| [&way[..], &[edge]].concat()));
        }
        done.insert(start);
    }
}

#[test]
fn all_sources_have_layers() {
    let model = faults(&MODEL, &["profile".into()], &sources("src/profile"));
    let module = faults(&MODULE, &[], &sources("src/kernel"));
    let e2e = faults(&E2E, &[], &sources("tests/e2e/src"));
    let tool = faults(&TOOL, &[], &sources("src/tool"));
    assert_eq!([model, module, e2e, tool].concat().join("\n"), "");
}

/// Of a module that is made up.
const MADE_UP: Layers = Layers {
    order: "main > files log > record > lists > profile > sys > bindings",
    alone: &["lists"],
    elsewhere: &["profile", "bindings"],
    private: &[("bindings", "sys")],
};

const FILES: &str = "\
main.rs| mod bindings; mod files; mod lists; mod log; mod profile; mod record; mod sys; use files::Dir;
main.rs| fn f() { log::flush() }
files.rs| use crate::{log::{self, Line}, sys::percpu::PerCpu};
files.rs| #[no_mangle] extern \"C\" fn exitprof_show() {}
log.rs| use super::record; use crate::profile::isa::Isa;
record.rs| use crate::{lists::List, sys}; fn f() { sys::work::queue() }
lists.rs| //! For [`crate::record`].
sys/mod.rs| pub(crate) mod percpu; pub(crate) mod work;
sys/percpu.rs| use super::work; use crate::bindings;
sys/work.rs| use crate::bindings; fn f() { unsafe { bindings::exitprof_queue() } }
helpers.c|void exitprof_queue(void) { queue_work(&exitprof_work); }
helpers.c|DECLARE_WORK(exitprof_work, show);
";

/// What is added to them, and the fault of that.
const CASES: &str = "\
log.rs| use crate::files; => circle: files.rs:1 -> log.rs:2 -> files.rs
log.rs| fn f() { crate::files::show() } => circle: files.rs:1 -> log.rs:2 -> files.rs
log.rs| fn f() { crate::sys::exitprof_show() } => circle: files.rs:1 -> log.rs:2 -(exitprof_show)-> files.rs
sys/work.rs| use super::percpu; => circle: sys/percpu.rs:1 -> sys/work.rs:2 -> sys/percpu.rs
helpers.c|static int show(void) { return exitprof_show(); } => \
circle: files.rs:1 -> sys/percpu.rs:1 -> sys/work.rs:1 -(exitprof_queue)-> files.rs
sys/work.rs| use crate::sys; => sys/work.rs:2: it imports its own folder
files.rs| use super::*; => files.rs:3: a glob hides what is used
record.rs| use crate::log::Line; => record.rs:2 -> log.rs: that is above it
sys/work.rs| const X: usize = crate::profile::SIZE; => sys/work.rs:2 -> profile: that is above it
log.rs| use crate::errno; => log.rs:2 -> main.rs: that is above it
lists.rs| use crate::sys::percpu; => lists.rs:2 -> sys/percpu.rs: lists is to know nobody
record.rs| use crate::bindings::kfree; => record.rs:2 -> bindings: that is not for record
log.rs| mod part; => log.rs:2: module part has no file
other.rs| => other is in no layer
other/part.rs| => other is in no layer
mod.rs| use crate::log; => mod is in no layer
";

/// The faults if a line is added to those files.
fn faults_with(line: &str) -> Vec<String> {
    let mut files = Sources::new();
    for (name, line) in FILES
        .lines()
        .chain([line])
        .filter_map(|line| line.split_once('|'))
    {
        *files.entry(name.to_owned()).or_default() += &format!("{line}\n");
    }
    faults(&MADE_UP, &[], &files)
}

#[test]
fn each_fault_of_a_made_up_module_is_named() {
    assert_eq!(faults_with(""), [""; 0]);
    for (added, want) in CASES.lines().map(|case| case.split_once(" => ").unwrap()) {
        let faults = faults_with(added);
        assert!(
            faults.iter().any(|fault| fault == want),
            "{added}: {faults:#?}"
        );
        let circles = faults.iter().filter(|fault| fault.starts_with("circle"));
        assert!(circles.count() <= 1, "{faults:#?}");
    }
    let nobody = faults(&MADE_UP, &[], &Sources::new());
    assert!(nobody.contains(&"layer log has no file".to_owned()));
    assert!(!nobody.contains(&"layer bindings has no file".to_owned()));
}
