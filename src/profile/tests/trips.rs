// SPDX-License-Identifier: GPL-2.0

//! The table of exits to userspace.

use profile::trips::{userspace_exit_name, TripTable, Trips, Way, REST, ROWS, USERSPACE_EXITS};
use proptest::prelude::*;
use std::collections::HashMap;

fn trips(cycles: u64) -> Trips {
    Trips { trips: 1, cycles }
}

fn rows(table: &TripTable) -> HashMap<Way, Trips> {
    let mut rows = HashMap::new();
    for (way, trips) in table.rows() {
        assert_eq!(rows.insert(way, trips), None, "{way:?} has two rows");
    }
    rows
}

proptest! {
    /// Ways that fit have rows of their own, and nothing is lost of others.
    #[test]
    fn rows_add_up(
        added in prop::collection::vec((0usize..300, any::<u16>(), 0u64..1 << 40), 0..400),
        few in any::<bool>(),
    ) {
        let [table, half] = [TripTable::EMPTY, TripTable::EMPTY];
        let mut wanted: HashMap<Way, Trips> = HashMap::new();
        let mut all = Trips::default();
        for (nth, &(slot, exit, cycles)) in added.iter().enumerate() {
            let slot = if few { slot % 2 } else { slot };
            let exit = if few { exit % 20 } else { exit };
            let way = (slot, usize::from(exit).min(USERSPACE_EXITS - 1));
            let is_known = wanted.contains_key(&way);
            let way = if is_known || wanted.len() < ROWS - 1 { way } else { REST };
            let sum = wanted.entry(way).or_default();
            *sum = *sum + trips(cycles);
            all = all + trips(cycles);
            table.add(slot, exit, trips(cycles));
            if nth % 2 == 0 {
                half.add(slot, exit, trips(cycles));
            }
        }
        // The rest has a row besides.
        prop_assert_eq!(&rows(&table), &wanted);
        prop_assert!(table.rows().count() <= ROWS);
        let sum = table.rows().fold(Trips::default(), |sum, (_, trips)| sum + trips);
        prop_assert_eq!(sum, all);

        let copy = TripTable::EMPTY;
        copy.add(7, 7, trips(7));
        copy.copy_from(&table);
        prop_assert_eq!(rows(&copy), rows(&table));
        copy.add_all(&half);
        let both = copy.rows().fold(Trips::default(), |sum, (_, trips)| sum + trips);
        let more = half.rows().fold(all, |sum, (_, trips)| sum + trips);
        prop_assert_eq!(both, more);
        copy.clear();
        prop_assert_eq!(copy.rows().count(), 0);
    }
}

#[test]
fn exits_to_userspace_have_the_names_of_the_kernel() {
    assert_eq!(userspace_exit_name(2), Some("IO"));
    assert_eq!(userspace_exit_name(6), Some("MMIO"));
    assert_eq!(userspace_exit_name(USERSPACE_EXITS - 1), None);
}
