// SPDX-License-Identifier: GPL-2.0

//! A strict reader of OpenMetrics 1.0, as far as exitprof uses it.

use std::collections::{BTreeMap, BTreeSet};

/// A sample: its name and its labels, in order of their names.
pub type Key = (String, Vec<(String, String)>);

/// The samples of a text, and the types of its families.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub samples: BTreeMap<Key, f64>,
    pub types: BTreeMap<String, String>,
}

impl Metrics {
    /// Reads OpenMetrics.
    pub fn new(text: &str) -> Metrics {
        let body = text.strip_suffix("# EOF\n").expect("no end");
        let mut metrics = Metrics::default();
        let mut family = String::new();
        // The labels of metrics that have had samples, apart from `le`.
        let mut last = None;
        let mut closed: BTreeSet<(String, Vec<(String, String)>)> = BTreeSet::new();
        for line in body.lines() {
            if let Some(words) = line.strip_prefix("# ") {
                let (kind, words) = words.split_once(' ').unwrap();
                let (name, rest) = words.split_once(' ').unwrap();
                assert!(!rest.is_empty(), "{line}");
                if name != family {
                    assert_eq!(kind, "HELP", "{line}: each family begins so");
                    assert!(!metrics.types.contains_key(name), "{line}: it comes again");
                    family = name.into();
                    last = None;
                }
                match kind {
                    "TYPE" => {
                        let known = metrics.types.insert(name.into(), rest.into());
                        assert_eq!(known, None, "{line}");
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => assert_eq!(kind, "HELP", "{line}"),
                }
                continue;
            }
            let (key, value) = sample(line);
            let kind = &metrics.types[&family];
            let suffix = key.0.strip_prefix(&family).expect(line);
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total", "_created"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_count", "_sum", "_created"],
                _ => panic!("{line}: {kind}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let labels = key.1.iter().filter(|(name, _)| name != "le").cloned();
            let metric = (family.clone(), labels.collect::<Vec<_>>());
            // Samples of a metric stand together.
            if last.as_ref() != Some(&metric) {
                assert!(closed.insert(metric.clone()), "{line}: it comes again");
                last = Some(metric);
            }
            assert!(value >= 0.0, "{line}");
            assert_eq!(metrics.samples.insert(key, value), None, "{line}");
        }
        metrics
    }

    /// The sample of this name with these labels, such as `reason=CPUID`, in any order.
    pub fn get(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let labels = labels.iter().map(|label| label.split_once('=').unwrap());
        let mut labels: Vec<_> = labels.map(|(k, v)| (k.into(), v.into())).collect();
        labels.sort();
        self.samples.get(&(name.into(), labels)).copied()
    }

    /// The samples of a name.
    pub fn of(&self, name: &str) -> impl Iterator<Item = (&[(String, String)], f64)> {
        let own = self
            .samples
            .iter()
            .filter(move |((other, _), _)| other == name);
        own.map(|((_, labels), value)| (labels.as_slice(), *value))
    }

    /// The sum of all samples of a name, by the value of a label.
    pub fn sums(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.of(name) {
            let own = labels.iter().find(|(name, _)| name == label);
            let own = own.map_or_else(String::new, |(_, value)| value.clone());
            *sums.entry(own).or_default() += value;
        }
        sums
    }
}

/// Reads `name{key="value",…} number`.
fn sample(line: &str) -> (Key, f64) {
    let (head, value) = line.rsplit_once(' ').expect(line);
    let value = value.parse().expect(line);
    let Some((name, mut rest)) = head.split_once('{') else {
        return ((head.into(), Vec::new()), value);
    };
    let mut labels = Vec::new();
    while rest != "}" {
        let (key, after) = rest.split_once("=\"").expect(line);
        let mut text = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect(line) {
                (at, '"') => break at,
                (_, '\\') => text.push(match chars.next().expect(line).1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => text.push(other),
            }
        };
        labels.push((key.trim_start_matches(',').into(), text));
        rest = &after[end + 1..];
    }
    labels.sort();
    ((name.into(), labels), value)
}
