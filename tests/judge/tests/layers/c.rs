// SPDX-License-Identifier: GPL-2.0

//! What functions, variables and macros of C refer to, as the kernel's style has them.

use std::collections::BTreeSet;

/// What begins at the left margin, up to what does so next.
pub struct Item {
    pub name: String,
    /// Whether Rust does not know it.
    pub is_local: bool,
    words: BTreeSet<String>,
}

fn words(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty())
}

/// The items of a file.
pub fn items(source: &str) -> Vec<Item> {
    let parts = source.split("*/").map(|part| part.split("/*").next());
    let code: String = parts.flatten().collect();
    let mut items: Vec<String> = Vec::new();
    for line in code.lines() {
        let is_label = line.ends_with(':');
        let begins = line.starts_with(|c: char| c.is_alphabetic() || "_#".contains(c));
        match items.last_mut() {
            Some(item) if !begins || is_label => *item += line,
            _ => items.push(line.to_owned()),
        }
    }
    items.iter().filter_map(|item| read(item)).collect()
}

fn read(item: &str) -> Option<Item> {
    let head = item.split(['{', '=', ';', '[']).next()?;
    let mut called = head.split('(').map(|part| words(part).next_back());
    let named = called.find_map(|name| name.filter(|name| !name.starts_with("__")));
    let mut name = named?.to_owned();
    let mut all: BTreeSet<_> = words(item).map(str::to_owned).collect();
    if let Some(macro_name) = item.strip_prefix("#define ") {
        name = words(macro_name).next()?.to_owned();
    } else if name == "DEFINE_SHOW_ATTRIBUTE" {
        let file = words(head).next_back()?;
        name = format!("{file}_fops");
        all.insert(format!("{file}_show"));
    } else if name.starts_with("DEFINE_") || name.starts_with("DECLARE_") {
        name = words(head.split_once('(')?.1).next()?.to_owned();
    }
    Some(Item {
        is_local: item.starts_with("static ") || item.starts_with('#'),
        words: all,
        name,
    })
}

/// All words in the item called `name`, and in those that it refers to.
pub fn reached(items: &[Item], name: &str) -> BTreeSet<String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![name.to_owned()]);
    while let Some(name) = next.pop() {
        let named = items.iter().filter(|item| item.name == name);
        for word in named.flat_map(|item| &item.words) {
            if reached.insert(word.clone()) {
                next.push(word.clone());
            }
        }
    }
    reached
}

#[test]
fn an_item_reaches_what_it_calls_or_hands_on() {
    let items = items(
        "#include <linux/module.h>\n#define CALL(x) \\\n\tcalled_by_macro(x)\n\
         int prototype(void);\nbool value = true;\nstatic int set(const char *val)\n{\n\
         \tif (val)\n\t\tgoto out;\n\trust_set();\n\nout:\n\treturn CALL(1);\n}\n\n\
         static const struct ops set_ops[] = {\n\t{ .set = set },\n};\n\
         module_param_cb(set, &set_ops, NULL, 0644);\nDECLARE_WORK(work, rust_print);\n\
         static DEFINE_MUTEX(lock);\nDEFINE_SHOW_ATTRIBUTE(vm);\n/*\n * rust_comment\n */\n\
         __printf(1, 2) void *queue(void) __must_hold(&lock)\n{\n\
         \t/* rust_comment */\n\treturn queue_work(&work);\n}\n\n\
         void make(void)\n{\n\tcreate(&vm_fops);\n\treturn set_ops;\n}\n",
    );
    for (name, is_local, want) in [
        ("queue", false, "rust_print"),
        ("make", false, "called_by_macro rust_set vm_show"),
        ("set", true, "called_by_macro rust_set"),
        ("value", false, ""),
    ] {
        let item = items.iter().find(|item| item.name == name).unwrap();
        assert_eq!(item.is_local, is_local, "{name}");
        let mut reached = reached(&items, name);
        reached.retain(|w| w.starts_with("rust_") || w.starts_with("called") || w == "vm_show");
        let reached = Vec::from_iter(reached).join(" ");
        assert_eq!(reached, want, "{name}");
    }
}
