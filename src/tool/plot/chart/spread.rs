// SPDX-License-Identifier: GPL-2.0

//! Makes room for names that would lie on each other.

use std::ops::Range;

/// Moves names apart that are in order, each given by where it begins and how long it is. They
/// stay within `room`, if that is enough.
pub fn spread(names: &mut [(i32, i32)], room: Range<i32>) {
    let mut free = room.start;
    for (begin, long) in names.iter_mut() {
        *begin = (*begin).max(free);
        free = *begin + *long;
    }
    let mut free = room.end;
    for (begin, long) in names.iter_mut().rev() {
        *begin = (*begin).min(free - *long);
        free = *begin;
    }
}
