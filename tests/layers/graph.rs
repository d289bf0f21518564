// SPDX-License-Identifier: GPL-2.0

//! Which file knows which, and whether that is as it should be.

use crate::{
    c,
    rust::{File, Path},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

/// The layers of a folder of Rust, and perhaps some C.
pub struct Layers {
    /// From top to bottom, each as the names of its files or folders, separated by
    /// commas. A file may know those of its own layer and of those below.
    pub order: &'static [&'static str],
    /// Those that know nobody, whatever is below.
    pub alone: &'static [&'static str],
    /// Modules that are not in the folder, or made by the build.
    pub elsewhere: &'static [&'static str],
    /// Those that only files of one layer know: (which, to which).
    pub private: &'static [(&'static str, &'static str)],
}

/// The text of each file, by its name in the folder.
pub type Sources = BTreeMap<String, String>;

/// The files of Rust and C in `folder` and below.
pub fn sources(folder: &std::path::Path) -> io::Result<Sources> {
    let mut sources = Sources::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            let extension = path.extension().and_then(|e| e.to_str());
            if path.ends_with("tests") {
                // Tests may know all.
            } else if path.is_dir() {
                folders.push(path);
            } else if let Some("rs" | "c" | "h") = extension {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                sources.insert(name.to_string(), fs::read_to_string(&path)?);
            }
        }
    }
    Ok(sources)
}

/// That a file knows another, and where it says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    line: usize,
    /// What it calls in C, if it is that which knows the other.
    through: Option<String>,
}

impl Edge {
    fn shown(&self) -> String {
        match &self.through {
            Some(name) => format!("{}:{} -({name})-> ", self.from, self.line),
            None => format!("{}:{} -> ", self.from, self.line),
        }
    }
}

/// The module of a file, and nothing for the crate's root.
fn module(file: &str) -> Path {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let mut path: Path = path.split('/').map(str::to_string).collect();
    let root = path.len() == 1 && ["main", "lib"].contains(&path[0].as_str());
    if root || path.last().map(String::as_str) == Some("mod") {
        path.pop();
    }
    path
}

/// The layer's entry that a file or a module elsewhere belongs to.
fn entry(file: &str) -> &str {
    let (first, _) = file.split_once('/').unwrap_or((file, ""));
    first.strip_suffix(".rs").unwrap_or(first)
}

/// What is wrong with the folder of the module `base` that has the files `sources`.
pub fn faults(layers: &Layers, base: &[&str], sources: &Sources) -> Vec<String> {
    let mut faults = Vec::new();
    let base: Path = base.iter().map(|name| name.to_string()).collect();
    let files = files(layers, &base, sources);
    let modules = modules(layers, &base, &files, &mut faults);
    let mut edges = rust_edges(&files, &modules, &mut faults);
    edges.extend(c_edges(&files, sources));
    // The first line that says so is enough.
    edges.sort();
    edges.dedup_by(|one, other| (&one.from, &one.to) == (&other.from, &other.to));
    check_layers(layers, &files, &edges, &mut faults);
    check_circles(&edges, &mut faults);
    faults
}

fn files(layers: &Layers, base: &[String], sources: &Sources) -> BTreeMap<String, File> {
    let rust = sources.iter().filter(|(name, _)| {
        let made = name
            .strip_suffix(".rs")
            .and_then(|name| name.rsplit('/').next());
        made.map_or(false, |name| !layers.elsewhere.contains(&name))
    });
    rust.map(|(name, source)| {
        let module = [base, &module(name)[..]].concat();
        (name.clone(), File::read(&module, source))
    })
    .collect()
}

/// The file of each module, or its name if it is elsewhere.
fn modules(
    layers: &Layers,
    base: &[String],
    files: &BTreeMap<String, File>,
    faults: &mut Vec<String>,
) -> BTreeMap<Path, String> {
    let mut modules = BTreeMap::new();
    for (name, file) in files {
        modules.insert([base, &module(name)[..]].concat(), name.clone());
        for path in &file.inline {
            modules.insert(path.clone(), name.clone());
        }
    }
    for (name, file) in files {
        for (path, line) in &file.declared {
            let last = path.last().map_or("", String::as_str);
            if layers.elsewhere.contains(&last) {
                modules.insert(path.clone(), last.to_string());
            } else if !modules.contains_key(path) {
                faults.push(format!("{name}:{line}: module {last} has no file"));
            }
        }
    }
    modules
}

fn rust_edges(
    files: &BTreeMap<String, File>,
    modules: &BTreeMap<Path, String>,
    faults: &mut Vec<String>,
) -> Vec<Edge> {
    let known: BTreeSet<Path> = modules.keys().cloned().collect();
    let mut edges = Vec::new();
    for (name, file) in files {
        for (path, line) in file.paths(&known) {
            let lengths = (0..=path.len()).rev();
            let to = lengths
                .filter_map(|length| modules.get(&path[..length]))
                .next();
            match to {
                Some(to) if to != name => edges.push(Edge {
                    from: name.clone(),
                    to: to.clone(),
                    line,
                    through: None,
                }),
                Some(_) => (),
                None => faults.push(format!(
                    "{name}:{line}: crate::{} is nowhere",
                    path.join("::")
                )),
            }
        }
    }
    edges
}

/// What files know by the names that C knows.
fn c_edges(files: &BTreeMap<String, File>, sources: &Sources) -> Vec<Edge> {
    let c = sources.iter().filter(|(name, _)| !name.ends_with(".rs"));
    let items: Vec<c::Item> = c.flat_map(|(_, source)| c::items(source)).collect();
    let exporters: BTreeMap<&str, &str> = files
        .iter()
        .flat_map(|(name, file)| {
            file.exported
                .iter()
                .map(move |e| (e.as_str(), name.as_str()))
        })
        .collect();
    // From Rust, only what is not static can be called.
    let called: BTreeMap<&str, BTreeSet<String>> = items
        .iter()
        .filter(|item| !item.is_static)
        .map(|item| (item.name.as_str(), c::reached(&items, &item.name)))
        .collect();
    let mut edges = Vec::new();
    for (name, file) in files {
        for (word, line) in &file.words {
            let reached = called.get(word.as_str()).into_iter().flatten();
            for reached in reached.chain([word]) {
                match exporters.get(reached.as_str()) {
                    Some(to) if to != name => edges.push(Edge {
                        from: name.clone(),
                        to: to.to_string(),
                        line: *line,
                        through: Some(word.clone()),
                    }),
                    _ => (),
                }
            }
        }
    }
    edges
}

fn check_layers(
    layers: &Layers,
    files: &BTreeMap<String, File>,
    edges: &[Edge],
    faults: &mut Vec<String>,
) {
    let layers_down = layers.order.iter().enumerate();
    let depths: BTreeMap<&str, usize> = layers_down
        .flat_map(|(depth, names)| names.split(", ").map(move |name| (name, depth)))
        .collect();
    let elsewhere = layers.elsewhere.iter();
    let unlisted = elsewhere.filter(|name| !depths.contains_key(*name));
    faults.extend(unlisted.map(|name| format!("{name} is in no layer")));
    for name in files.keys() {
        // The root of a folder's modules, which only lists them.
        let root = ["mod.rs", "lib.rs"].contains(&name.as_str())
            && !edges.iter().any(|e| e.from == *name || e.to == *name);
        if !root && !depths.contains_key(entry(name)) {
            faults.push(format!("{name} is in no layer"));
        }
    }
    for name in depths.keys() {
        let is_there = files.keys().any(|file| entry(file) == *name);
        if !is_there && !layers.elsewhere.contains(name) {
            faults.push(format!("layer {name} has no file"));
        }
    }
    for edge in edges {
        let (from, to) = (entry(&edge.from), entry(&edge.to));
        let shown = format!("{}{}", edge.shown(), edge.to);
        // Of what is in no layer, that was said above.
        if depths.get(from) > depths.get(to) && depths.contains_key(to) {
            faults.push(format!("{shown}: that is above it"));
        }
        if layers.alone.contains(&from) && from != to {
            faults.push(format!("{shown}: {from} is to know nobody"));
        }
        let mut private = layers.private.iter();
        if private.any(|&(which, whose)| which == to && whose != from) {
            faults.push(format!("{shown}: that is not for {from}"));
        }
    }
}

/// Names a circle through each file that is the first on one.
fn check_circles(edges: &[Edge], faults: &mut Vec<String>) {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in edges {
        if done.contains(start.from.as_str()) {
            continue;
        }
        if let Some(circle) = shortest_circle(edges, &start.from) {
            let shown: String = circle.iter().map(|edge| edge.shown()).collect();
            faults.push(format!("circle: {shown}{}", start.from));
            done.extend(circle.iter().map(|edge| edge.from.as_str()));
        }
        done.insert(&start.from);
    }
}

/// The shortest way from a file to itself.
fn shortest_circle<'a>(edges: &'a [Edge], start: &str) -> Option<Vec<&'a Edge>> {
    let mut ways: Vec<Vec<&Edge>> = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in &ways {
            let end = way.last().map_or(start, |edge| edge.to.as_str());
            for edge in edges.iter().filter(|edge| edge.from == end) {
                let way = [&way[..], &[edge]].concat();
                if edge.to == start {
                    return Some(way);
                }
                if seen.insert(&edge.to) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
