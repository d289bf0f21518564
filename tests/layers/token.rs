// SPDX-License-Identifier: GPL-2.0

//! Words and signs of Rust and C, without comments, texts and directives.

/// A word or a sign, and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub text: &'a str,
    pub line: usize,
}

impl Token<'_> {
    pub fn is_word(&self) -> bool {
        self.text.starts_with(is_of_word)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    C,
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How long the text or character is that `rest` begins with, quotes included; 0 if it
/// begins with neither.
fn quoted(rest: &str, language: Language) -> usize {
    let until = |start: usize, end: &str| match rest[start..].find(end) {
        Some(length) => start + length + end.len(),
        None => rest.len(),
    };
    let escaped = |start: usize, quote: char| {
        let mut chars = rest[start..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => drop(chars.next()),
                _ if c == quote => return start + at + 1,
                _ => (),
            }
        }
        rest.len()
    };
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('"'), ..) => escaped(1, '"'),
        (Some('\''), ..) if language == Language::C => escaped(1, '\''),
        (Some('\''), Some('\\'), _) => escaped(1, '\''),
        (Some('\''), Some(c), Some('\'')) => 2 + c.len_utf8(),
        (Some('r' | 'b' | 'c'), ..) if language == Language::Rust => {
            // Raw, or of bytes.
            let prefix = ["br", "cr", "r", "b", "c"]
                .into_iter()
                .find(|prefix| rest.starts_with(prefix))
                .unwrap_or("");
            let hashes = rest[prefix.len()..].bytes().take_while(|&b| b == b'#');
            let opening = prefix.len() + hashes.count();
            match rest[opening..].chars().next() {
                Some('"') if prefix.ends_with('r') => {
                    let end = format!("\"{}", &rest[prefix.len()..opening]);
                    until(opening + 1, &end)
                }
                Some('"') if opening == prefix.len() => escaped(opening + 1, '"'),
                Some('\'') if prefix == "b" => escaped(opening + 1, '\''),
                _ => 0,
            }
        }
        _ => 0,
    }
}

/// How long the comment is that `rest` begins with, or 0.
fn comment(rest: &str, language: Language) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if !rest.starts_with("/*") {
        return 0;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let nests = language == Language::Rust || depth == 0;
        if rest[at..].starts_with("/*") && nests {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The tokens of `source`. `::` is one; other signs are of one character.
pub fn tokens(source: &str, language: Language) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        let skipped = match comment(rest, language) {
            0 => quoted(rest, language),
            length => length,
        };
        let length = if skipped > 0 {
            skipped
        } else if is_of_word(c) {
            rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        let text = &rest[..length];
        if skipped == 0 && !c.is_whitespace() {
            tokens.push(Token { text, line });
        }
        line += text.matches('\n').count();
        at += length;
    }
    tokens
}

#[test]
fn comments_and_texts_are_no_tokens() {
    let words = |source, language| -> String {
        let tokens = tokens(source, language).into_iter();
        tokens.map(|token| format!("{} ", token.text)).collect()
    };
    for (source, want) in [
        ("a /* b /* c */ d */ e // f\ng", "a e g "),
        (
            r#"a("b\"c", 'd', '\'', b'\'', x'e)"#,
            "a ( , , , , x ' e ) ",
        ),
        (r###"r#"a " b"# c br##"d"# e"## f r"\" g c"h" "###, "c f g "),
        ("r#type<'static>::f", "r # type < ' static > :: f "),
        ("1..=0x2_f", "1 . . = 0x2_f "),
    ] {
        assert_eq!(words(source, Language::Rust), want, "{source}");
    }
    for (source, want) in [
        ("a /* b /* c */ d // e\nf", "a d f "),
        (r#"a = '\'' + "b\\" + 'c';"#, "a = + + ; "),
    ] {
        assert_eq!(words(source, Language::C), want, "{source}");
    }
}

#[test]
fn tokens_know_their_lines() {
    let source = "a\n/* b\n */ c \"d\n\" e";
    let lines = tokens(source, Language::Rust);
    let lines: Vec<_> = lines.iter().map(|token| (token.text, token.line)).collect();
    assert_eq!(lines, [("a", 1), ("c", 3), ("e", 4)]);
}
