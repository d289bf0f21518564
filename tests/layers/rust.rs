// SPDX-License-Identifier: GPL-2.0

//! What a file of Rust refers to, and what it is known by.

use crate::token::{Language, Token, tokens};
use std::collections::BTreeSet;

/// The names on the way from the crate to a module or to what is in it.
pub type Path = Vec<String>;

/// A path as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    /// The module that it is in.
    scope: Path,
    segments: Path,
    /// The name that it is imported by, or `*`.
    alias: Option<String>,
    line: usize,
}

/// A file of Rust.
#[derive(Clone, Debug, Default)]
pub struct File {
    references: Vec<Reference>,
    /// Modules that have files of their own, and where that is said.
    pub declared: Vec<(Path, usize)>,
    /// Modules in the file itself.
    pub inline: Vec<Path>,
    /// What C knows it by.
    pub exported: Vec<String>,
    /// All words, and their lines.
    pub words: Vec<(String, usize)>,
}

fn joined(path: &[String], more: &[String]) -> Path {
    [path, more].concat()
}

impl File {
    /// The file of `module` with the text `source`.
    pub fn read(module: &[String], source: &str) -> File {
        let tokens = tokens(source, Language::Rust);
        let mut reader = Reader {
            tokens: &tokens,
            at: 0,
            file: File::default(),
        };
        reader.file(module);
        let words = tokens.iter().filter(|token| token.is_word());
        reader.file.words = words
            .map(|word| (word.text.to_string(), word.line))
            .collect();
        reader.file
    }

    /// The absolute paths that it refers to, and their lines, as far as they are of this
    /// crate, which has the modules `known`.
    pub fn paths(&self, known: &BTreeSet<Path>) -> Vec<(Path, usize)> {
        let resolve =
            |r: &Reference| Some((self.resolve(&r.scope, &r.segments, known, 0)?, r.line));
        self.references.iter().filter_map(resolve).collect()
    }

    fn resolve(
        &self,
        scope: &[String],
        segments: &[String],
        known: &BTreeSet<Path>,
        depth: usize,
    ) -> Option<Path> {
        // Of a name that is imported by itself.
        if depth > 8 {
            return None;
        }
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" => return self.resolve_below(scope, rest),
            "super" => return self.resolve_below(scope.split_last()?.1, rest),
            _ => (),
        }
        let child = joined(scope, &segments[..1]);
        if known.contains(&child) {
            return Some(joined(&child, rest));
        }
        let imports = self.references.iter().filter(|r| r.scope == scope);
        imports
            .filter_map(|import| match import.alias.as_deref()? {
                "*" => {
                    let all = self.resolve(scope, &import.segments, known, depth + 1)?;
                    let one = joined(&all, &segments[..1]);
                    known.contains(&one).then(|| joined(&one, rest))
                }
                alias if alias == first => {
                    let import = self.resolve(scope, &import.segments, known, depth + 1)?;
                    Some(joined(&import, rest))
                }
                _ => None,
            })
            .next()
    }

    /// After `self` or `super`, there may be more of the latter.
    fn resolve_below(&self, scope: &[String], rest: &[String]) -> Option<Path> {
        match rest.split_first() {
            Some((first, rest)) if first == "super" => {
                self.resolve_below(scope.split_last()?.1, rest)
            }
            _ => Some(joined(scope, rest)),
        }
    }
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    file: File,
}

impl<'a> Reader<'a> {
    /// The text of the token so many places on; empty if there is none.
    fn peek(&self, places: usize) -> &'a str {
        self.tokens.get(self.at + places).map_or("", |t| t.text)
    }

    fn is_after(&self, sign: &str) -> bool {
        let before = self.at.checked_sub(1);
        before.map_or(false, |before| self.tokens[before].text == sign)
    }

    fn file(&mut self, module: &[String]) {
        let mut scope = module.to_vec();
        // The depths at which inline modules began.
        let (mut depth, mut inline) = (0, Vec::new());
        while self.at < self.tokens.len() {
            match (self.peek(0), self.peek(1), self.peek(2)) {
                ("{", ..) => depth += 1,
                ("}", ..) => {
                    depth -= 1;
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        scope.pop();
                    }
                }
                // As in `pub(in crate::x)`; other visibilities are no paths.
                ("(", "in", _) if self.is_after("pub") => {
                    while !["", ")"].contains(&self.peek(0)) {
                        self.at += 1;
                    }
                }
                ("mod", name, ";") => {
                    let path = joined(&scope, &[name.to_string()]);
                    let line = self.tokens[self.at].line;
                    self.file.declared.push((path, line));
                }
                ("mod", name, "{") => {
                    scope.push(name.to_string());
                    self.file.inline.push(scope.clone());
                    inline.push(depth);
                }
                ("use", next, _) if next != "<" => {
                    self.at += 1;
                    self.import(&scope, &[]);
                    continue;
                }
                ("no_mangle", ..) => self.export(),
                (_, "::", _) if !self.is_after("::") && !self.is_after(".") => {
                    self.path(&scope);
                    continue;
                }
                _ => (),
            }
            self.at += 1;
        }
    }

    fn export(&mut self) {
        let rest = self.tokens[self.at..].iter().map(|token| token.text);
        let mut rest = rest.skip_while(|text| !["fn", "static"].contains(text));
        let name = rest.nth(1).filter(|&text| text != "mut");
        let name = name.or_else(|| rest.next());
        self.file.exported.extend(name.map(str::to_string));
    }

    fn refer(&mut self, scope: &[String], segments: Path, alias: Option<String>, line: usize) {
        self.file.references.push(Reference {
            scope: scope.to_vec(),
            segments,
            alias,
            line,
        });
    }

    /// Reads a path in an expression, a type or a pattern.
    fn path(&mut self, scope: &[String]) {
        let line = self.tokens[self.at].line;
        let mut segments = vec![self.peek(0).to_string()];
        self.at += 1;
        while self.peek(0) == "::" {
            match self.tokens.get(self.at + 1) {
                Some(token) if token.is_word() => segments.push(token.text.to_string()),
                _ => break,
            }
            self.at += 2;
        }
        // What follows `::<…>` is of the same path.
        self.at += usize::from(self.peek(0) == "::");
        self.refer(scope, segments, None, line);
    }

    /// Reads what is imported of `prefix`, after `use` or within braces.
    fn import(&mut self, scope: &[String], prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.peek(0) {
                "{" => {
                    while !["", "}"].contains(&self.peek(0)) {
                        // The opening brace, or a comma.
                        self.at += 1;
                        if self.peek(0) != "}" {
                            self.import(scope, &segments);
                        }
                    }
                    self.at += 1;
                    return;
                }
                "*" => {
                    self.at += 1;
                    self.refer(scope, segments, Some("*".into()), line);
                    return;
                }
                // Of another crate.
                "::" if segments.is_empty() => segments.push(String::new()),
                "::" => (),
                "self" if !segments.is_empty() => (),
                "as" => {
                    let alias = self.peek(1).to_string();
                    self.at += 2;
                    self.refer(scope, segments, Some(alias), line);
                    return;
                }
                "," | ";" | "}" | "" => {
                    let alias = segments.last().cloned();
                    self.refer(scope, segments, alias, line);
                    return;
                }
                word => segments.push(word.to_string()),
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.split("::").map(str::to_string).collect()
    }

    /// The paths of file `a::b` of a crate that has other modules, as `line path`.
    fn paths(source: &str) -> Vec<String> {
        let known = ["a", "a::b", "a::b::own", "a::c", "d", "d::e"];
        let known = known.iter().map(|known| path(known)).collect();
        let paths = File::read(&path("a::b"), source).paths(&known);
        paths
            .iter()
            .map(|(path, line)| format!("{line} {}", path.join("::")))
            .collect()
    }

    #[test]
    fn imports_are_read_whatever_their_form() {
        for (source, want) in [
            ("use crate::d;", vec!["1 d"]),
            ("pub(super) use crate::d::f as g;", vec!["1 d::f"]),
            ("use super::c::{self, *};", vec!["1 a::c", "1 a::c"]),
            ("use super::super::d;", vec!["1 d"]),
            (
                "use self::own::X; use own::Y;",
                vec!["1 a::b::own::X", "1 a::b::own::Y"],
            ),
            (
                "use crate::{\n    a::c::{X, Y as _},\n    d::{\n        e::{f},\n    },\n};",
                vec!["2 a::c::X", "2 a::c::Y", "4 d::e::f"],
            ),
            ("use {crate::d, core::fmt};", vec!["1 d"]),
            ("use core::{fmt, mem}; use ::a::c; use std::*;", vec![]),
            (
                "fn f() -> impl Sized + use<'_> { crate::d::g() }",
                vec!["1 d::g"],
            ),
        ] {
            assert_eq!(paths(source), want, "{source}");
        }
    }

    #[test]
    fn paths_are_read_without_an_import() {
        for (source, want) in [
            ("fn f() { crate::d::g::<u8>(1) }", vec!["1 d::g"]),
            ("fn f(x: &super::c::X) {}", vec!["1 a::c::X"]),
            ("struct S(pub (u8, crate::d::X));", vec!["1 d::X"]),
            (
                "macro_rules! m { () => { $crate::d::g() } }",
                vec!["1 d::g"],
            ),
            ("const X: u8 = own::X + other::X;", vec!["1 a::b::own::X"]),
            ("impl From<crate::d::X> for Y {}", vec!["1 d::X"]),
            (
                "pub(crate) fn f() {} pub(in crate::a) fn g() { self.x() }",
                vec![],
            ),
            ("fn f() { x.d::<u8>(); <u8>::d::x(); ::d::x() }", vec![]),
            (
                "// crate::d\n/// [`crate::d`]\nconst X: &str = \"crate::d\";",
                vec![],
            ),
        ] {
            assert_eq!(paths(source), want, "{source}");
        }
    }

    #[test]
    fn imported_names_lead_further() {
        for (source, want) in [
            ("use crate::d; fn f() { d::e::g() }", "1 d::e::g"),
            ("use crate::d as x; use x::e::g;", "1 d::e::g"),
            ("use crate::d::*; fn f() { e::g() }", "1 d::e::g"),
            ("use super::*; fn f() { c::g() }", "1 a::c::g"),
        ] {
            assert!(paths(source).contains(&want.to_string()), "{source}");
        }
        // And no name leads to itself.
        assert_eq!(paths("use x::y as x; fn f() { x::z() }"), [""; 0]);
    }

    #[test]
    fn modules_in_a_file_have_names_of_their_own() {
        let source = "mod t { use super::own::X; mod u { use super::super::super::c; } }\n\
                      use super::c;";
        assert_eq!(paths(source), ["1 a::b::own::X", "1 a::c", "2 a::c"]);
        let file = File::read(&path("a::b"), "mod own;\n#[cfg(test)]\nmod t { mod u; }");
        let declared = [(path("a::b::own"), 1), (path("a::b::t::u"), 3)];
        assert_eq!(file.declared, declared);
        assert_eq!(file.inline, [path("a::b::t")]);
    }

    #[test]
    fn what_c_may_call_is_found() {
        let source = "#[no_mangle]\nunsafe extern \"C\" fn f() {}\n\
                      #[unsafe(no_mangle)] pub static mut G: u8 = 0;\n\
                      #[no_mangle] static H: u8 = 0; fn i() {}";
        assert_eq!(File::read(&[], source).exported, ["f", "G", "H"]);
    }
}
