// SPDX-License-Identifier: GPL-2.0

//! What functions and variables of C refer to.

use crate::token::{Language, Token, tokens};
use std::collections::BTreeSet;

/// A function, a variable with a value, or a macro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    /// Whether other files do not know it.
    pub is_static: bool,
    /// The words in it, its own name among them.
    words: BTreeSet<String>,
}

impl Item {
    fn new<'a>(name: &str, is_static: bool, words: impl Iterator<Item = &'a str>) -> Item {
        Item {
            name: name.to_string(),
            is_static,
            words: words.map(str::to_string).collect(),
        }
    }
}

/// The items of a file.
pub fn items(source: &str) -> Vec<Item> {
    let (code, mut items) = without_directives(source);
    let tokens = tokens(&code, Language::C);
    let (mut depth, mut first) = (0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => (),
        }
        let item = &tokens[first..=at];
        let ends = match token.text {
            ";" => true,
            "}" => function(item).is_some(),
            _ => false,
        };
        if ends && depth == 0 {
            items.extend(read(item));
            first = at + 1;
        }
    }
    items
}

/// The code without directives, which keeps its lines, and the macros that they define.
fn without_directives(source: &str) -> (String, Vec<Item>) {
    let (mut code, mut macros) = (String::new(), Vec::new());
    let mut lines = source.split_inclusive('\n');
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with('#') {
            code += line;
            continue;
        }
        let mut directive = line.to_string();
        while directive.trim_end().ends_with('\\') {
            match lines.next() {
                Some(line) => directive += line,
                None => break,
            }
        }
        code.extend(directive.matches('\n'));
        let tokens = tokens(&directive, Language::C);
        if let [_, define, name, rest @ ..] = &tokens[..] {
            if define.text == "define" {
                let words = rest.iter().filter(|token| token.is_word());
                // The files that include it know it, and not Rust.
                macros.push(Item::new(name.text, true, words.map(|word| word.text)));
            }
        }
    }
    (code, macros)
}

/// The tokens that are not in brackets.
fn outermost<'a>(item: &'a [Token<'a>]) -> impl Iterator<Item = (usize, &'a str)> {
    let mut depth = 0_usize;
    item.iter().enumerate().filter_map(move |(at, token)| {
        let closes = ["}", ")", "]"].contains(&token.text);
        depth = depth.saturating_sub(closes.into());
        let outside = depth == 0;
        depth += usize::from(["{", "(", "["].contains(&token.text));
        outside.then_some((at, token.text))
    })
}

/// The name of the function that `item` is, if it has a body.
fn function<'a>(item: &'a [Token<'a>]) -> Option<&'a str> {
    let has_body = outermost(item).any(|(at, text)| text == "{" && item[at - 1].text == ")");
    let assigns = outermost(item).any(|(_, text)| text == "=");
    if !has_body || assigns {
        return None;
    }
    let mut names = outermost(item).filter(|&(at, text)| {
        let called = item.get(at + 1).map(|next| next.text) == Some("(");
        called && item[at].is_word() && !text.starts_with("__")
    });
    names.next().map(|(_, name)| name)
}

fn read(item: &[Token<'_>]) -> Option<Item> {
    let words = || {
        let words = item.iter().filter(|token| token.is_word());
        words.map(|word| word.text)
    };
    let is_static = words().any(|word| word == "static");
    if let Some(name) = function(item) {
        return Some(Item::new(name, is_static, words()));
    }
    if let Some((equals, _)) = outermost(item).find(|(_, text)| *text == "=") {
        let before = outermost(&item[..equals]).filter(|&(at, _)| item[at].is_word());
        let (_, name) = before.last()?;
        return Some(Item::new(name, is_static, words()));
    }
    // Something like DECLARE_WORK(name, function).
    let mut arguments = words().skip_while(|word| *word == "static");
    let (called, name) = (arguments.next()?, arguments.next()?);
    let defines = ["DECLARE_", "DEFINE_"];
    if called == "DEFINE_SHOW_ATTRIBUTE" {
        let show = format!("{name}_show");
        return Some(Item::new(
            &format!("{name}_fops"),
            true,
            [show.as_str()].into_iter(),
        ));
    }
    let is_definition = defines.iter().any(|start| called.starts_with(start));
    is_definition.then(|| Item::new(name, is_static, words()))
}

/// All words that are in the item called `name`, and in those that it refers to.
pub fn reached(items: &[Item], name: &str) -> BTreeSet<String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![name.to_string()]);
    while let Some(name) = next.pop() {
        for item in items.iter().filter(|item| item.name == name) {
            for word in &item.words {
                if reached.insert(word.clone()) {
                    next.push(word.clone());
                }
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        #include <linux/module.h>
        #define CALL(x) \
            called_by_macro(x)
        struct s { int (*member)(void); };
        int prototype(void);
        extern bool exitprof_declared;
        bool exitprof_set = true;
        static int set(const char *val)
        {
            if (val) { rust_set(); }
            return CALL(1);
        }
        static const struct ops set_ops[] = { { .set = set }, };
        module_param_cb(set, &set_ops, NULL, 0644);
        DECLARE_WORK(exitprof_work, rust_print);
        static DEFINE_MUTEX(lock);
        DEFINE_SHOW_ATTRIBUTE(exitprof_vm);
        __printf(1, 2) void *exitprof_queue(void) __must_hold(&lock)
        {
            /* rust_comment */
            return queue_work(&exitprof_work, "rust_text");
        }
        void exitprof_make(void) { create(&exitprof_vm_fops); return set_ops; }
    "#;

    #[test]
    fn items_are_found() {
        let items = items(SOURCE);
        let names: Vec<_> = items
            .iter()
            .map(|i| (i.name.as_str(), i.is_static))
            .collect();
        assert_eq!(
            names,
            [
                ("CALL", true),
                ("exitprof_set", false),
                ("set", true),
                ("set_ops", true),
                ("exitprof_work", false),
                ("lock", true),
                ("exitprof_vm_fops", true),
                ("exitprof_queue", false),
                ("exitprof_make", false),
            ]
        );
    }

    #[test]
    fn what_they_reach_is_what_they_call_or_hand_on() {
        let items = items(SOURCE);
        let rust = |name| -> Vec<String> {
            let reached = reached(&items, name).into_iter();
            let rust = ["rust_", "exitprof_vm_show", "called_by_macro"];
            reached
                .filter(|word| rust.iter().any(|start| word.starts_with(start)))
                .collect()
        };
        assert_eq!(rust("exitprof_queue"), ["rust_print"]);
        assert_eq!(
            rust("exitprof_make"),
            ["called_by_macro", "exitprof_vm_show", "rust_set"]
        );
        assert_eq!(rust("exitprof_set"), [""; 0]);
        assert_eq!(rust("nobody"), [""; 0]);
    }
}
