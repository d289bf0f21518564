// SPDX-License-Identifier: GPL-2.0

//! Breaks lines that are too wide.

use unicode_width::UnicodeWidthStr;

/// The parts of a line that fit into `width`, where words do. Its first `start` bytes are kept
/// as they are, and parts but the first are indented.
pub fn wrapped(line: &str, start: usize, indent: usize, width: usize) -> Vec<String> {
    if line.width() <= width {
        return vec![line.into()];
    }
    let (kept, text) = line.split_at_checked(start).unwrap_or(("", line));
    let mut parts = vec![kept.to_owned()];
    let mut is_first = true;
    for word in text.split(' ') {
        let last = parts.len() - 1;
        let part = &mut parts[last];
        if !is_first && part.width() + 1 + word.width() > width {
            parts.push(format!("{:indent$}{word}", ""));
            continue;
        }
        if !is_first {
            part.push(' ');
        }
        is_first = false;
        *part += word;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_broken_at_blanks() {
        assert_eq!(wrapped("a bb ccc", 0, 2, 8), ["a bb ccc"]);
        assert_eq!(wrapped("a bb ccc", 0, 2, 5), ["a bb", "  ccc"]);
        assert_eq!(wrapped("a  bb ccc", 3, 3, 6), ["a  bb", "   ccc"]);
        assert_eq!(wrapped("  bb ccc", 2, 0, 2), ["  bb", "ccc"]);
        assert_eq!(wrapped("abc", 9, 0, 2), ["abc"]);
    }
}
