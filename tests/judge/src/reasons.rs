// SPDX-License-Identifier: GPL-2.0

//! The model's tables of exit reasons beside the kernel's source.
//!
//! Names and numbers are those of `uapi/asm/vmx.h` and `svm.h`, and KVM handles what its
//! tables of handlers have. Numbers that `vmx.h` lacks are the SDM's.

use anyhow::{Context, Result, ensure};
use profile::{
    isa::Isa,
    reason::{Kernel, Status},
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What a kernel's source says of an instruction set's reasons.
struct Source {
    names: BTreeMap<u32, String>,
    /// The names of those that KVM handles.
    handled: BTreeSet<String>,
}

/// How the model's tables differ from a kernel's source.
pub fn differences(source: &Path) -> Result<Vec<String>> {
    let read = |file: &str| {
        let path = source.join("arch/x86").join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let vmx = Source {
        names: vmx_names(&read("include/uapi/asm/vmx.h")?),
        handled: vmx_handled(&read("kvm/vmx/vmx.c")?),
    };
    let vectors = read("include/uapi/asm/kvm.h")?;
    let svm = Source {
        names: svm_names(&read("include/uapi/asm/svm.h")?, &vectors),
        handled: svm_handled(&read("kvm/svm/svm.c")?),
    };
    for (read, isa, names, handled) in [(&vmx, "VMX", 50, 40), (&svm, "SVM", 140, 70)] {
        ensure!(
            read.names.len() >= names && read.handled.len() >= handled,
            "cannot read {isa}'s reasons from {}",
            source.display()
        );
    }
    // As Kbuild decides.
    let kernel = match vmx.names.values().any(|name| name == "MSR_READ_IMM") {
        true => Kernel::V7_3,
        false => Kernel::V6_1,
    };
    Ok([
        compare(Isa::Vmx, kernel, &vmx),
        compare(Isa::Svm, kernel, &svm),
    ]
    .concat())
}

fn compare(isa: Isa, kernel: Kernel, source: &Source) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: String| differences.push(format!("{isa:?}: {what}"));
    let reasons = (0..isa.slots()).filter_map(|slot| isa.reason(slot));
    let defined = reasons.filter(|&reason| isa.status(kernel, reason) != Status::Undefined);
    let defined: BTreeSet<u32> = defined.collect();
    for (&reason, name) in &source.names {
        let ours = isa.name(reason).to_string();
        if !defined.contains(&reason) {
            differ(format!("{reason} {name} is the kernel's only"));
        } else if ours != *name && (kernel == Kernel::NEWEST || !is_unnamed(name)) {
            differ(format!("{reason} is {ours} here and {name} in the kernel"));
        }
    }
    for &reason in &defined {
        let name = isa.name(reason).to_string();
        // An older kernel's header lacks some. The SDM has more than vmx.h.
        let newest = isa == Isa::Svm && kernel == Kernel::NEWEST;
        if newest && !source.names.contains_key(&reason) {
            differ(format!("{reason} {name} is not the kernel's"));
        }
        let ours = isa.status(kernel, reason) == Status::Handled;
        if ours != source.handled.contains(&name) {
            let (here, there) = if ours { ("", "not ") } else { ("not ", "") };
            differ(format!("{name} is {here}handled here and {there}in KVM"));
        }
    }
    let names: BTreeSet<_> = defined.iter().map(|&r| isa.name(r).to_string()).collect();
    for name in source.handled.difference(&names) {
        differ(format!("{name} is handled in KVM and unknown here"));
    }
    differences
}

/// Whether it is an exception without a name: a later kernel may have one.
fn is_unnamed(name: &str) -> bool {
    let vector = name.strip_prefix("EXCP_");
    vector.is_some_and(|vector| vector.parse::<u8>().is_ok())
}

/// The names and values of macros that begin with `prefix`, without it.
fn macros<'a>(source: &'a str, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    source.lines().filter_map(move |line| {
        let mut words = line.strip_prefix("#define ")?.split_whitespace();
        Some((words.next()?.strip_prefix(prefix)?, words.next()?))
    })
}

fn vmx_names(header: &str) -> BTreeMap<u32, String> {
    let macros = macros(header, "EXIT_REASON_");
    let names = macros.filter_map(|(name, value)| Some((value.parse().ok()?, name.to_owned())));
    names.collect()
}

/// The header has the range of exceptions as two numbers; their names are their vectors'.
fn svm_names(header: &str, vectors: &str) -> BTreeMap<u32, String> {
    const FIRST_EXCEPTION: u32 = 0x40;
    let number = |value: &str| match value.trim_end_matches("ull").strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        // Other decimals are parameters of VMGEXIT events.
        None => value.starts_with("-1").then_some(u32::MAX),
    };
    let mut names: BTreeMap<_, _> = macros(header, "SVM_")
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("EXIT_").unwrap_or(name);
            let bound = ["EXCP_BASE", "LAST_EXCP"].contains(&name);
            (!bound).then_some((number(value)?, name.to_owned()))
        })
        .collect();
    for vector in 0..32 {
        let named = macros(vectors, "").find_map(|(name, value)| {
            let name = name.strip_suffix("_VECTOR")?;
            (value.parse() == Ok(vector)).then(|| name.to_owned())
        });
        let name = named.unwrap_or_else(|| vector.to_string());
        names.insert(FIRST_EXCEPTION + vector, format!("EXCP_{name}"));
    }
    names
}

/// The indices in brackets of the table called `table`.
fn indices<'a>(source: &'a str, table: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = source.lines().skip_while(move |line| !line.contains(table));
    let body = lines.skip(1).take_while(|line| !line.starts_with("};"));
    body.filter_map(|line| Some(line.trim_start().strip_prefix('[')?.split_once(']')?.0))
}

fn vmx_handled(source: &str) -> BTreeSet<String> {
    indices(source, "kvm_vmx_exit_handlers[]")
        .filter_map(|index| Some(index.strip_prefix("EXIT_REASON_")?.to_owned()))
        .collect()
}

fn svm_handled(source: &str) -> BTreeSet<String> {
    indices(source, " svm_exit_handlers[]")
        .filter_map(|index| {
            let name = index.strip_prefix("SVM_EXIT_")?;
            let vector = name.strip_prefix("EXCP_BASE + ");
            Some(match vector.and_then(|v| v.strip_suffix("_VECTOR")) {
                Some(vector) => format!("EXCP_{vector}"),
                None => name.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_handlers_of_vmx_are_read() {
        let header = "#define VMX_EXIT_REASONS_FAILED_VMENTRY         0x80000000\n\
                      #define EXIT_REASON_CPUID\t\t10\n#define EXIT_REASON_HLT 12 /* halt */\n\
                      #define VMX_EXIT_REASONS \\\n\t{ EXIT_REASON_CPUID, \"CPUID\" }\n";
        let names = vmx_names(header);
        let want = [(10, "CPUID".into()), (12, "HLT".into())];
        assert_eq!(names, BTreeMap::from(want));
        let source = "\t[EXIT_REASON_INVD] = handle_invd,\n\
                      static int (*kvm_vmx_exit_handlers[])(struct kvm_vcpu *vcpu) = {\n\
                      \t[EXIT_REASON_CPUID]  = kvm_emulate_cpuid,\n\
                      \t[EXIT_REASON_HLT]\t= kvm_emulate_halt,\n};\n\
                      \t[EXIT_REASON_RSM] = handle_rsm,\n";
        let want = ["CPUID".into(), "HLT".into()];
        assert_eq!(vmx_handled(source), BTreeSet::from(want));
    }

    #[test]
    fn names_and_handlers_of_svm_are_read() {
        let header = "#define SVM_EXIT_READ_CR0    0x000\n#define SVM_EXIT_EXCP_BASE 0x040\n\
                      #define SVM_EXIT_LAST_EXCP     0x05f\n#define SVM_EXIT_ERR           -1\n\
                      #define SVM_VMGEXIT_MMIO_READ\t0x80000001\n\
                      #define SVM_VMGEXIT_AP_CREATE\t1\n#define SVM_EXIT_REASONS \\\n";
        let names = svm_names(header, "#define DB_VECTOR 1\n#define XM_VECTOR 19\n");
        assert_eq!(names.len(), 3 + 32);
        for (number, name) in [
            (0, "READ_CR0"),
            (0x40, "EXCP_0"),
            (0x41, "EXCP_DB"),
            (0x53, "EXCP_XM"),
            (0x8000_0001, "VMGEXIT_MMIO_READ"),
            (u32::MAX, "ERR"),
        ] {
            assert_eq!(names[&number], name);
        }
        let source = "static int (*const svm_exit_handlers[])(struct kvm_vcpu *vcpu) = {\n\
                      \t[SVM_EXIT_CPUID] = kvm_emulate_cpuid,\n\
                      \t[SVM_EXIT_EXCP_BASE + DB_VECTOR]\t= db_interception,\n};\n";
        let want = ["CPUID".into(), "EXCP_DB".into()];
        assert_eq!(svm_handled(source), BTreeSet::from(want));
    }

    /// A kernel that agrees with the model.
    fn agreeing(isa: Isa) -> Source {
        let reasons = (0..isa.slots()).filter_map(|slot| isa.reason(slot));
        let mut kernel = Source {
            names: BTreeMap::new(),
            handled: BTreeSet::new(),
        };
        for reason in reasons {
            let name = isa.name(reason).to_string();
            match isa.status(Kernel::NEWEST, reason) {
                Status::Undefined => continue,
                Status::Handled => drop(kernel.handled.insert(name.clone())),
                Status::Unhandled => (),
            }
            kernel.names.insert(reason, name);
        }
        kernel
    }

    #[test]
    fn what_agrees_has_no_differences() {
        for isa in [Isa::Vmx, Isa::Svm] {
            assert_eq!(compare(isa, Kernel::NEWEST, &agreeing(isa)), [""; 0]);
        }
        // A later header has suffixes.
        let header = "#define SVM_VMGEXIT_PSC 0x80000010ull\n#define SVM_EXIT_ERR -1ull\n";
        let names = svm_names(header, "");
        assert_eq!(names[&0x8000_0010], "VMGEXIT_PSC");
        assert_eq!(names[&u32::MAX], "ERR");
        // The SDM has more than vmx.h.
        let mut vmx = agreeing(Isa::Vmx);
        vmx.names.remove(&33);
        assert_eq!(compare(Isa::Vmx, Kernel::NEWEST, &vmx), [""; 0]);
    }

    #[test]
    fn each_difference_is_told() {
        let change = |isa, change: fn(&mut Source)| {
            let mut kernel = agreeing(isa);
            change(&mut kernel);
            compare(isa, Kernel::NEWEST, &kernel).join("; ")
        };
        let renamed = change(Isa::Vmx, |k| {
            k.names.insert(12, "HALT".into());
        });
        assert_eq!(renamed, "Vmx: 12 is HLT here and HALT in the kernel");
        let more = change(Isa::Vmx, |k| {
            k.names.insert(35, "NEW".into());
        });
        assert_eq!(more, "Vmx: 35 NEW is the kernel's only");
        let fewer = change(Isa::Svm, |k| {
            k.names.remove(&0x72);
        });
        assert_eq!(fewer, "Svm: 114 CPUID is not the kernel's");
        let unhandled = change(Isa::Vmx, |k| {
            k.handled.remove("HLT");
        });
        assert_eq!(unhandled, "Vmx: HLT is handled here and not in KVM");
        let handled = change(Isa::Vmx, |k| {
            k.handled.insert("RDTSC".into());
        });
        assert_eq!(handled, "Vmx: RDTSC is not handled here and in KVM");
        let unknown = change(Isa::Svm, |k| {
            k.handled.insert("NEW".into());
        });
        assert_eq!(unknown, "Svm: NEW is handled in KVM and unknown here");
        let newer = compare(Isa::Vmx, Kernel::V6_1, &agreeing(Isa::Vmx)).join("; ");
        assert!(newer.starts_with("Vmx: SEAMCALL is not handled here and in KVM"));
    }
}
