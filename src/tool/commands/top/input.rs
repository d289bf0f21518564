// SPDX-License-Identifier: GPL-2.0

//! Decodes the bytes that a terminal sends for keys.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

const ESC: u8 = 0x1b;
/// No sequence is longer.
const LONGEST: usize = 32;

/// The bytes of a key that is not complete.
#[derive(Debug, Default)]
pub struct Input(Vec<u8>);

impl Input {
    /// Takes bytes, and returns the keys that are complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<KeyEvent> {
        self.0.extend(bytes);
        let mut keys = Vec::new();
        let mut rest = self.0.as_slice();
        while !rest.is_empty() {
            let Some((key, length)) = key(rest) else {
                break;
            };
            keys.extend(key);
            rest = &rest[length..];
        }
        let kept = if rest.len() > LONGEST { 0 } else { rest.len() };
        self.0.drain(..self.0.len() - kept);
        keys
    }
}

/// The first key and its length; `None` if it is not complete. Some keys mean nothing here.
fn key(bytes: &[u8]) -> Option<(Option<KeyEvent>, usize)> {
    match *bytes {
        [ESC, b'[', ..] => {
            let last = bytes[2..].iter().position(|b| (0x40..=0x7e).contains(b))? + 2;
            let code = match (bytes[last], &bytes[2..last]) {
                (b'~', b"1" | b"7") => Some(KeyCode::Home),
                (b'~', b"4" | b"8") => Some(KeyCode::End),
                (b'~', b"5") => Some(KeyCode::PageUp),
                (b'~', b"6") => Some(KeyCode::PageDown),
                (letter, b"") => arrow(letter),
                _ => None,
            };
            Some((code.map(KeyEvent::from), last + 1))
        }
        [ESC, b'O'] => None,
        [ESC, b'O', letter, ..] => Some((arrow(letter).map(KeyEvent::from), 3)),
        [ESC, ..] => Some((Some(KeyCode::Esc.into()), 1)),
        [b'\r' | b'\n', ..] => Some((Some(KeyCode::Enter.into()), 1)),
        [0x08 | 0x7f, ..] => Some((Some(KeyCode::Backspace.into()), 1)),
        [control @ 0x01..=0x1a, ..] => {
            let letter = char::from(control - 1 + b'a');
            let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
            Some((Some(key), 1))
        }
        [ascii @ b' '..=b'~', ..] => Some((Some(KeyCode::Char(ascii.into()).into()), 1)),
        _ => Some((None, 1)),
    }
}

fn arrow(letter: u8) -> Option<KeyCode> {
    match letter {
        b'A' => Some(KeyCode::Up),
        b'B' => Some(KeyCode::Down),
        b'H' => Some(KeyCode::Home),
        b'F' => Some(KeyCode::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(parts: &[&[u8]]) -> Vec<KeyCode> {
        let mut input = Input::default();
        let keys = parts.iter().flat_map(|part| input.take(part));
        keys.map(|key| key.code).collect()
    }

    #[test]
    fn keys_are_decoded() {
        type K = KeyCode;
        assert_eq!(
            codes(&[b"a?\r\n"]),
            [K::Char('a'), K::Char('?'), K::Enter, K::Enter]
        );
        assert_eq!(
            codes(&[b"\x1b[A\x1b[B\x1bOA\x1bOB"]),
            [K::Up, K::Down, K::Up, K::Down]
        );
        assert_eq!(codes(&[b"\x1b[5~\x1b[6~"]), [K::PageUp, K::PageDown]);
        assert_eq!(
            codes(&[b"\x1b[H\x1b[4~\x1b[1~\x1bOF"]),
            [K::Home, K::End, K::Home, K::End]
        );
        assert_eq!(codes(&[b"\x1b", b"\x1b\x1b[B"]), [K::Esc, K::Esc, K::Down]);
        assert_eq!(codes(&[b"\x1b[", b"B", b"\x1bO", b"A"]), [K::Down, K::Up]);
        // Shift-F5, Alt-x, and no ASCII.
        assert_eq!(codes(&["\x1b[15;2~\u{e9}q".as_bytes()]), [K::Char('q')]);
        assert_eq!(codes(&[b"\x1b[", &[b'1'; 40], b"q"]), [K::Char('q')]);
        assert_eq!(codes(&[b"\x7f\x08"]), [K::Backspace, K::Backspace]);
        let control = Input::default().take(b"\x03\x1a");
        let c = KeyEvent::new(K::Char('c'), KeyModifiers::CONTROL);
        let z = KeyEvent::new(K::Char('z'), KeyModifiers::CONTROL);
        assert_eq!(control, [c, z]);
    }
}
