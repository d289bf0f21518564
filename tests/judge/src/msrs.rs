// SPDX-License-Identifier: GPL-2.0

//! The tool's table of MSRs beside the kernel's `msr-index.h`.

use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// Macros that have the name of an MSR, but are a part of one.
const PARTS: [&str; 2] = ["IA32_BNDCFGS_RSVD", "IA32_VMX_MISC_PREEMPTION_TIMER_SCALE"];

/// The names of each MSR in a header, without the prefix `MSR_`, in its order.
fn names(header: &str) -> BTreeMap<u32, Vec<&str>> {
    let mut all: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for line in header.lines() {
        let mut words = line.split_whitespace();
        let name = (words.next() == Some("#define")).then(|| words.next());
        let name = name.flatten().and_then(|name| name.strip_prefix("MSR_"));
        let digits = words.next().and_then(|value| value.strip_prefix("0x"));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let is_alone = words.next().is_none_or(|word| word.starts_with("/*"));
        let is_msr = |name: &&str| is_alone && !PARTS.contains(name);
        if let (Some(name), Some(number)) = (name.filter(is_msr), number) {
            all.entry(number).or_default().push(name);
        }
    }
    all
}

/// The name that most guests mean: not that of a CPU of the past, or of one vendor only.
fn best<'a>(names: &[&'a str]) -> &'a str {
    let rank = |name: &&&str| {
        let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        match () {
            () if has(&["P4_", "K6_", "GEODE_", "IDT_", "IA32_MCG_E"]) => 2,
            () if has(&["AMD64_", "ATOM_"]) => 1,
            () => 0,
        }
    };
    names.iter().min_by_key(rank).copied().unwrap_or("")
}

/// The header, and the version of the source, such as 7.3.
fn read(source: &Path) -> Result<(String, String)> {
    let read = |file: &str| {
        let path = source.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let (header, makefile) = (read("arch/x86/include/asm/msr-index.h")?, read("Makefile")?);
    ensure!(
        names(&header).len() > 400,
        "cannot read MSRs from {}",
        source.display()
    );
    let number = |key: &str| {
        let mut lines = makefile.lines();
        lines.find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= "))
    };
    let version = number("VERSION").zip(number("PATCHLEVEL"));
    let (major, minor) = version.context("the Makefile has no version")?;
    Ok((header, format!("{major}.{minor}")))
}

/// The table of a source, as a file of Rust.
pub fn table(source: &Path) -> Result<String> {
    let (header, version) = read(source)?;
    Ok(written(&header, &version))
}

fn written(header: &str, version: &str) -> String {
    let mut text = format!(
        "// SPDX-License-Identifier: GPL-2.0\n\n\
         //! The names of MSRs in `msr-index.h` of Linux {version}, without the prefix `MSR_`.\n//!\n\
         //! `judge msrs --print SOURCE` writes this file, and check.msrs compares it with the\n\
         //! kernels' sources.\n\n\
         /// Numbers in ascending order, and names.\n\
         pub(super) const NAMES: &[(u32, &str)] = &[\n"
    );
    for (number, names) in names(header) {
        let (high, low) = (number >> 16, number & 0xffff);
        let _ = writeln!(text, "    (0x{high:04x}_{low:04x}, \"{}\"),", best(&names));
    }
    text + "];\n"
}

/// The numbers and names of a table.
fn entries(table: &str) -> BTreeMap<u32, &str> {
    let entries = table.lines().filter_map(|line| {
        let (number, name) = line.trim_start().strip_prefix("(0x")?.split_once(", \"")?;
        let number = u32::from_str_radix(&number.replace('_', ""), 16).ok()?;
        Some((number, name.strip_suffix("\"),")?))
    });
    entries.collect()
}

/// How the tool's table differs from a kernel's source: from that of its own version in any way,
/// and from others if it lacks their MSRs.
pub fn differences(source: &Path, table: &str) -> Result<Vec<String>> {
    let (header, version) = read(source)?;
    Ok(compared(&header, &version, table))
}

fn compared(header: &str, version: &str, table: &str) -> Vec<String> {
    let is_own = table.contains(&format!("of Linux {version}, "));
    let (ours, theirs) = (entries(table), names(header));
    let mut differences = Vec::new();
    for (number, names) in &theirs {
        let best = best(names);
        match ours.get(number) {
            None => differences.push(format!("{number:#x} {best} is the kernel's only")),
            Some(own) if is_own && *own != best => {
                differences.push(format!(
                    "{number:#x} is {own} here and {best} in the kernel"
                ));
            }
            Some(_) => (),
        }
    }
    let more = ours
        .iter()
        .filter(|(number, _)| !theirs.contains_key(number));
    let more = more.map(|(number, name)| format!("{number:#x} {name} is not the kernel's"));
    differences.extend(more.filter(|_| is_own));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "#ifndef _ASM_X86_MSR_INDEX_H\n\
        #define MSR_EFER\t\t0xc0000080 /* extended feature register */\n\
        #define _EFER_SCE\t\t0 /* SYSCALL/SYSRET */\n\
        #define MSR_AMD64_PATCH_LEVEL 0x0000008b\n#define MSR_IA32_UCODE_REV 0x0000008b\n\
        #define MSR_IA32_MCx_CTL(x)\t(MSR_IA32_MC0_CTL + 4*(x))\n\
        #define MSR_FOO_BIT 29\n#define MSR_FOO_MASK (0xfULL << 3)\n\
        #define MSR_IA32_BNDCFGS_RSVD\t0x00000ffc\n#define MSR_MASK 0xff << 3\n";

    #[test]
    fn msrs_are_read_without_their_bits() {
        let wanted = "    (0x0000_008b, \"IA32_UCODE_REV\"),\n    (0xc000_0080, \"EFER\"),\n];\n";
        let table = written(HEADER, "7.3");
        assert!(table.ends_with(wanted), "{table}");
        assert_eq!(entries(&table).len(), 2);
    }

    #[test]
    fn each_difference_is_told() {
        let table = written(HEADER, "7.3");
        assert_eq!(compared(HEADER, "7.3", &table), [""; 0]);
        let renamed = HEADER.replace("MSR_EFER", "MSR_OTHER");
        assert_eq!(
            compared(&renamed, "7.3", &table),
            ["0xc0000080 is EFER here and OTHER in the kernel"]
        );
        // An older kernel may have had another name, and may lack some.
        assert_eq!(compared(&renamed, "6.1", &table), [""; 0]);
        assert_eq!(compared("", "6.1", &table), [""; 0]);
        assert_eq!(compared("", "7.3", &table).len(), 2);
        let more = format!("{HEADER}#define MSR_NEW 0x1234\n");
        for version in ["6.1", "7.3"] {
            assert_eq!(
                compared(&more, version, &table),
                ["0x1234 NEW is the kernel's only"]
            );
        }
    }
}
