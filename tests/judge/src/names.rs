// SPDX-License-Identifier: GPL-2.0

//! Chooses tests by what their names start with.

use std::collections::BTreeSet;

/// From this likeness on a name is suggested. 1 is the same name.
const ALIKE: f64 = 0.6;

/// How many names are suggested at most.
const SUGGESTIONS: usize = 5;

/// The names of `known` that start with one of `wanted`. If none starts with one of these,
/// a message that suggests some of `known` and `families`.
pub fn choose<'a>(
    known: &[&'a str],
    families: &[&'a str],
    wanted: &[String],
) -> Result<Vec<&'a str>, String> {
    let begins = |name: &str, start: &String| name.starts_with(start.as_str());
    let unknown = wanted
        .iter()
        .filter(|start| !known.iter().any(|name| begins(name, start)));
    let said: Vec<_> = unknown.map(|name| refusal(known, families, name)).collect();
    if !said.is_empty() {
        return Err(said.join("\n"));
    }
    let chosen = known.iter().copied();
    let chosen = chosen.filter(|name| wanted.iter().any(|start| begins(name, start)));
    Ok(chosen.collect())
}

fn refusal(known: &[&str], families: &[&str], name: &str) -> String {
    let dots = known
        .iter()
        .filter_map(|name| Some((name, name.find('.')?)));
    let own = dots.map(|(name, dot)| &name[..=dot]);
    let families: BTreeSet<_> = own.chain(families.iter().copied()).collect();
    let all: Vec<_> = families.iter().chain(known).copied().collect();
    let near = near(&all, name);
    let suggestion = match near.is_empty() {
        true => format!("there are {}", Vec::from_iter(families).join(" ")),
        false => format!("did you mean {}?", near.join(" or ")),
    };
    format!("no test starts with \"{name}\": {suggestion}")
}

/// The names of `all` that are most like `name`.
fn near<'a>(all: &[&'a str], name: &str) -> Vec<&'a str> {
    let wanted = name.trim_end_matches('.');
    let likeness = |other: &str| match other.contains(wanted) {
        true => 1.0,
        false => strsim::normalized_damerau_levenshtein(other.trim_end_matches('.'), wanted),
    };
    let mut near: Vec<_> = all.iter().map(|other| (likeness(other), *other)).collect();
    near.retain(|(likeness, _)| *likeness >= ALIKE);
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.into_iter()
        .take(SUGGESTIONS)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = [
        "smp.more_vcpus_than_cpus",
        "smp.migrating_vcpus",
        "log.report",
        "scope.vm",
        "scope.vcpu",
    ];

    fn chosen(wanted: &[&str]) -> Result<Vec<&'static str>, String> {
        let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
        choose(&KNOWN, &["model."], &wanted)
    }

    #[test]
    fn names_are_chosen_by_their_beginnings() {
        assert_eq!(chosen(&["smp."]).unwrap(), &KNOWN[..2]);
        assert_eq!(chosen(&["log.", "smp.mi"]).unwrap(), &KNOWN[1..3]);
        assert_eq!(chosen(&["scope.v"]).unwrap(), &KNOWN[3..]);
        assert_eq!(chosen(&["scope.vm", "scope."]).unwrap(), &KNOWN[3..]);
    }

    #[test]
    fn an_unknown_name_brings_near_ones() {
        for (name, near) in [
            ("spm.", "did you mean smp.?"),
            ("migrating", "did you mean smp.migrating_vcpus?"),
            ("scope.vmm", "did you mean scope.vm or scope.vcpu"),
            ("modle", "did you mean model.?"),
            ("xyz", "there are log. model. scope. smp."),
        ] {
            let said = chosen(&["smp.", name]).unwrap_err();
            let want = format!("no test starts with \"{name}\": {near}");
            assert!(said.starts_with(&want), "{said}");
        }
    }

    #[test]
    fn each_unknown_name_is_told() {
        let said = chosen(&["spm.", "log.", "scoop."]).unwrap_err();
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}
