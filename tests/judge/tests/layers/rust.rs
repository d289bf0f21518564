// SPDX-License-Identifier: GPL-2.0

//! What a file of Rust refers to, and what C knows it by.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;

/// The names on the way from the crate to a module or to what is in it.
pub type Path = Vec<String>;

#[derive(Default)]
pub struct File {
    /// Paths as they are written, and their lines.
    paths: Vec<(Path, usize)>,
    /// The modules that it declares, and their lines.
    pub modules: Vec<(String, usize)>,
    /// All words, and their lines.
    pub words: Vec<(String, usize)>,
}

impl File {
    pub fn read(source: &str) -> File {
        let mut file = File::default();
        file.walk(source.parse().expect("Rust"));
        file
    }

    fn walk(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let texts: Vec<String> = trees.iter().map(TokenTree::to_string).collect();
        let text = |at: usize| texts.get(at).map_or("", String::as_str);
        let is_word = |at| matches!(trees.get(at), Some(TokenTree::Ident(_)));
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            let line = tree.span().start().line;
            let start = at;
            at += 1;
            match tree {
                TokenTree::Group(group) => self.walk(group.stream()),
                TokenTree::Ident(_) if text(start) == "use" => {
                    at = (start..)
                        .find(|&end| ["", ";"].contains(&text(end)))
                        .unwrap();
                    self.import(&[], &trees[start + 1..at]);
                }
                TokenTree::Ident(_) if text(start) == "mod" && text(start + 2).starts_with('{') => {
                    at = start + 3;
                    if let TokenTree::Group(group) = &trees[start + 2] {
                        self.walk_inline(group.stream());
                    }
                }
                TokenTree::Ident(_) => {
                    while text(at) == ":" && text(at + 1) == ":" && is_word(at + 2) {
                        at += 3;
                    }
                    let words = (start..at).step_by(3).map(|at| texts[at].clone());
                    let path: Path = words.collect();
                    self.words
                        .extend(path.iter().map(|word| (word.clone(), line)));
                    if text(start) == "mod" && is_word(at) {
                        self.modules.push((texts[at].clone(), line));
                    }
                    if path.len() > 1 {
                        self.paths.push((path, line));
                    }
                }
                _ => (),
            }
        }
    }

    /// Reads a module within the file: what is above it, is the file.
    fn walk_inline(&mut self, tokens: TokenStream) {
        let mut inner = File::default();
        inner.walk(tokens);
        (inner.paths).retain(|(path, _)| path.first().is_none_or(|first| first != "super"));
        self.paths.append(&mut inner.paths);
        self.words.append(&mut inner.words);
    }

    /// Reads what is imported of `prefix`, after `use` or within braces.
    fn import(&mut self, prefix: &[String], trees: &[TokenTree]) {
        for part in trees.split(|tree| tree.to_string() == ",") {
            let mut path = prefix.to_vec();
            let names = part.iter().map(TokenTree::to_string);
            for (tree, name) in part.iter().zip(names.take_while(|name| name != "as")) {
                match (tree, name.as_str()) {
                    (TokenTree::Group(group), _) => {
                        let inner: Vec<_> = group.stream().into_iter().collect();
                        self.import(&path, &inner);
                        path.clear();
                    }
                    // Of another crate.
                    (_, ":") if path.is_empty() => path.push(String::new()),
                    (_, ":") => (),
                    (_, "self") if !path.is_empty() => (),
                    (_, name) => path.push(name.to_owned()),
                }
            }
            let line = part.first().map(|tree| tree.span().start().line);
            self.paths.extend(line.map(|line| (path, line)));
        }
    }

    /// The paths of this crate, as seen from `module`, and their lines. What is known by
    /// an imported name is what that import leads to.
    pub fn paths(&self, module: &[String]) -> Vec<(Path, usize)> {
        let children: BTreeSet<_> = self.modules.iter().map(|(name, _)| name).collect();
        let resolve = |path: &Path| {
            let supers = path.iter().take_while(|name| *name == "super").count();
            match path.first()?.as_str() {
                "crate" => Some(path[1..].to_vec()),
                "self" => Some([module, &path[1..]].concat()),
                "super" => {
                    let above = module.len().checked_sub(supers)?;
                    Some([&module[..above], &path[supers..]].concat())
                }
                _ => children.contains(&path[0]).then(|| [module, path].concat()),
            }
        };
        let paths = self.paths.iter();
        let ours = paths.filter_map(|(path, line)| Some((resolve(path)?, *line)));
        ours.collect()
    }

    /// The functions and variables that C knows.
    pub fn exported(&self) -> impl Iterator<Item = &str> {
        let words = self.words.iter().map(|(word, _)| word.as_str());
        let marks = words
            .clone()
            .enumerate()
            .filter(|(_, word)| *word == "no_mangle");
        marks.filter_map(move |(at, _)| {
            let item = words.clone().skip(at);
            let item = item.skip_while(|word| !["fn", "static"].contains(word));
            item.skip(1).find(|word| *word != "mut")
        })
    }
}

#[test]
fn paths_are_read_whatever_their_form() {
    for (source, want) in [
        ("pub(super) use crate::d::f as g;", "d::f"),
        (
            "use super::c::{self, X}; use self::own::Y;",
            "a::c a::c::X a::b::own::Y",
        ),
        ("use crate::{a::c::{X, Y as _}, d,};", "a::c::X a::c::Y d"),
        (
            "mod own; use {super::super::d, core::fmt}; use ::own::c; use own::X;",
            "d a::b::own::X",
        ),
        (
            "fn f(x: &super::c::X) { crate::d::g::<d::e::Y>(1) }",
            "a::c::X d::g",
        ),
        ("mod t { use super::*; fn f() { crate::d::g() } }", "d::g"),
        ("fn f() { m!(x, [crate::d::g(d::e)]) }", "d::g"),
        ("macro_rules! m { () => { $crate::d::f() } }", "d::f"),
        ("/// [`crate::d`]\nconst X: &str = \"crate::d\";", ""),
    ] {
        let paths = File::read(source).paths(&["a".into(), "b".into()]);
        let paths: Vec<_> = paths.iter().map(|(path, _)| path.join("::")).collect();
        assert_eq!(paths.join(" "), want, "{source}");
    }
    let source = "#[no_mangle]\nunsafe extern \"C\" fn f() {}\nfn g() {}\n\
                  #[unsafe(no_mangle)] pub static mut H: u8 = 0;";
    assert_eq!(Vec::from_iter(File::read(source).exported()), ["f", "H"]);
}
