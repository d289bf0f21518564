// SPDX-License-Identifier: GPL-2.0
//! Costs as tables: for the README, and for the terminal.

use crate::costs::{Costs, UNPATCHED};

/// The columns after that of KVM as it is, by setup.
const COLUMNS: [(&str, &str); 14] = [
    ("absent", "not loaded"),
    ("recording_off", "recording off"),
    ("loaded", "**loaded**"),
    ("per_vcpu", "**and vCPUs**"),
    ("histograms", "**and histograms**"),
    ("phases", "**and phases**"),
    ("details", "**and details**"),
    ("shared_atomics", "shared atomics"),
    ("c_probe", "C probe"),
    ("bpf", "BPF"),
    ("exitprof_bpf", "exitprof, BPF"),
    ("trace_exit", "kvm_exit"),
    ("trace_both", "kvm_exit, kvm_entry"),
    ("perf_kvm_stat", "perf kvm stat"),
];

/// The rows, by workload.
const ROWS: [(&str, &str); 8] = [
    ("cpuid", "CPUID"),
    ("vmcall", "VMCALL"),
    ("rdmsr", "RDMSR"),
    ("out_kernel", "OUT to KVM's interrupt controller"),
    ("out_user", "OUT to userspace"),
    ("hlt_user", "HLT, to userspace"),
    ("tsc_deadline", "WRMSR TSC deadline (fast path)"),
    ("ept_violation", "EPT violation, page present on the host"),
];

/// Costs with KVM as it is, and how much more there is with the other setups.
pub fn markdown(costs: &Costs) -> Vec<String> {
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut head = vec!["exit".into(), "unpatched KVM".into()];
    head.extend(COLUMNS.map(|(_, title)| title.into()));
    let rule = format!("|------|{}", "--:|".repeat(head.len() - 1));
    let mut lines = vec![row(head), rule];
    for (workload, title) in ROWS {
        let least = costs.find(workload, UNPATCHED).map(|c| c.least);
        let mut cells = vec![
            title.into(),
            least.map_or("–".into(), |l| format!("{l:.0}")),
        ];
        cells.extend(COLUMNS.map(|(setup, _)| {
            let more = costs.more(workload, setup);
            more.map_or("–".into(), |m| format!("{m:+.0}").replace('-', "−"))
        }));
        lines.push(row(cells));
    }
    lines
}

/// `text` with this table in place of the one that follows the comment with `name`.
pub fn replaced(text: &str, name: &str, costs: &Costs) -> Option<String> {
    let mark = text.find(&format!("<!-- {name} -->"))?;
    let start = mark + text[mark..].find("| exit | unpatched KVM |")?;
    let (before, rest) = text.split_at(start);
    let end = rest.find("\n\n")?;
    Some(before.to_owned() + &markdown(costs).join("\n") + &rest[end..])
}

/// All that was measured: the least costs.
pub fn aligned(costs: &Costs) -> Vec<String> {
    let mut setups: Vec<&str> = Vec::new();
    for cost in &costs.costs {
        if !setups.contains(&cost.setup.as_str()) {
            setups.push(&cost.setup);
        }
    }
    let head = setups.iter().map(|s| format!("{s:>15}"));
    let mut lines = vec![format!("{:13}{}", "", head.collect::<String>())];
    for workload in costs.workloads() {
        let cells = setups.iter().map(|setup| {
            let cost = costs.find(workload, setup);
            cost.map_or(format!("{:>15}", "–"), |c| format!("{:15.2}", c.least))
        });
        lines.push(format!("{workload:13}{}", cells.collect::<String>()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: &str = "\
cost cpuid unpatched 1040.14 1021.85
cost cpuid absent 1029.73 1011.85
cost cpuid loaded 1065.71 1047.85";

    #[test]
    fn a_files_table_is_replaced_and_nothing_else() {
        let other = "<!-- other -->\n\n| exit | unpatched KVM | x |\n|--|--|\n| IN | 5 | 6 |\n\n";
        let old = format!(
            "{other}<!-- lean -->\n| exit | unpatched KVM | x |\n|--|--|\n| OUT | 7 | 8 |\n\nb\n"
        );
        let costs = Costs::parse(COSTS).unwrap();
        let new = replaced(&old, "lean", &costs).unwrap();
        let head = "<!-- lean -->\n| exit | unpatched KVM | not loaded |";
        assert!(new.starts_with(&format!("{other}{head}")));
        assert!(new.contains("\n| CPUID | 1022 | −10 | – | +26 | – | – |"));
        assert!(new.ends_with(" |\n\nb\n") && !new.contains("| OUT | 7"));
        assert_eq!(replaced(&old, "distro", &costs), None);
    }

    #[test]
    fn every_setup_that_was_measured_is_shown() {
        let text = format!("{COSTS}\ncost rdmsr unpatched 7 6.5\ncost rdmsr new 8 7.5");
        let lines = aligned(&Costs::parse(&text).unwrap());
        let words = |line: &String| line.split_whitespace().map(String::from).collect();
        let words: Vec<Vec<_>> = lines.iter().map(words).collect();
        assert_eq!(words[0], ["unpatched", "absent", "loaded", "new"]);
        assert_eq!(words[2], ["rdmsr", "6.50", "–", "–", "7.50"]);
    }
}
