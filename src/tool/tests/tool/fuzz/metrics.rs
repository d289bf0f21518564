// SPDX-License-Identifier: GPL-2.0

//! Random profiles as OpenMetrics.

use super::{
    fuzz,
    naive::{self, Selection},
    profiles::{Owner, Profile, REASONS, VCPUS, profile},
    run, words,
};
use crate::metrics::{Key, Metrics};
use proptest::prelude::*;
use std::{collections::BTreeMap, fs};

/// All exits of a profile, as metrics by vCPU.
fn samples(profile: &Profile) -> BTreeMap<Key, u128> {
    let mut samples = BTreeMap::new();
    for row in &profile.rows {
        let (name, mut labels) = match row.owner {
            Owner::Host => ("exitprof_exits_total", vec![]),
            Owner::Vcpu(nth) => {
                let (vm, vcpu) = VCPUS[nth];
                let vcpu = vcpu.to_string();
                let labels = vec![("vcpu".into(), vcpu), ("vm".into(), vm.into())];
                ("exitprof_vm_exits_total", labels)
            }
            Owner::Ended | Owner::Unattributed => {
                let labels = vec![("vm".into(), "other".into())];
                ("exitprof_vm_exits_total", labels)
            }
        };
        labels.push(("reason".into(), REASONS[row.reason].1.into()));
        labels.sort();
        *samples.entry((name.into(), labels)).or_default() += u128::from(row.exits);
    }
    samples
}

#[test]
fn metrics_are_as_a_naive_reader_has_them() {
    let everything = Selection {
        reasons: Vec::new(),
        vms: Vec::new(),
        vcpu: None,
        by: "vcpu",
        net: false,
    };
    fuzz(profile(), |dir, profile| {
        fs::write(dir.join("profile"), profile.text()).unwrap();
        let line = "report --format openmetrics --by vcpu -i profile";
        let output = run(dir, &words(line))?;
        if naive::report(&profile, &everything).is_none() {
            prop_assert_eq!(output.status.code(), Some(1));
            return Ok(());
        }
        prop_assert!(output.status.success(), "{:?}", output);
        let metrics = Metrics::new(std::str::from_utf8(&output.stdout).unwrap());
        for (key, exits) in samples(&profile) {
            // Sums do not exceed 64 bits.
            let exits = u64::try_from(exits).unwrap_or(u64::MAX) as f64;
            prop_assert_eq!(metrics.samples.get(&key), Some(&exits), "{:?}", key);
        }
        Ok(())
    });
}
