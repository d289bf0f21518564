// SPDX-License-Identifier: GPL-2.0

//! Names for what is behind exits: ports, MSRs, addresses and so on, and the guest's code.

mod cpu;
pub mod devices;
mod msr_index;
mod paravirt;
pub mod symbols;

use crate::snapshot::detail::{Detail, Hex, Place};
use devices::Devices;
use profile::detail::Kind;
use symbols::Symbols;

/// What names a VM's devices and code.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Its devices.
    pub devices: Devices,
    /// The symbols of its code.
    pub symbols: Symbols,
}

/// What a detail is, in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The port, MSR, leaf, register, vector, hypercall, address or offset.
    pub number: u64,
    /// The subleaf, if there are any.
    pub subleaf: Option<u32>,
    /// How it was accessed, such as `outb`, `rdmsr` or `write`.
    pub access: Option<String>,
    /// The size of the access in bytes.
    pub size: Option<u64>,
    /// What it is called.
    pub name: Option<String>,
}

/// The name of an MSR.
fn msr(number: u32) -> Option<String> {
    let indexed = msr_index::NAMES.binary_search_by_key(&number, |(other, _)| *other);
    let known = match indexed {
        Ok(index) => Some(msr_index::NAMES[index].1),
        Err(_) => cpu::find(paravirt::MSRS, number),
    };
    known.map(String::from).or_else(|| cpu::msr(number))
}

/// Whether many keys mean the same detail: most CPUID leaves ignore ECX, which may hold anything.
pub fn has_many_keys(detail: Detail) -> bool {
    detail.kind == Kind::Cpuid && !cpu::has_subleaves(detail.key.0 as u32)
}

/// The detail without what means nothing in its key.
pub fn meant(detail: Detail) -> Detail {
    let key = match has_many_keys(detail) {
        true => Hex(detail.key.0 & 0xffff_ffff),
        false => detail.key,
    };
    Detail { key, ..detail }
}

/// The level, unless it is 1.
fn of_level(level: u8) -> Option<String> {
    (level > 1).then(|| format!("(L{level})"))
}

impl Names {
    /// What a detail is.
    pub fn parts(&self, detail: Detail) -> Parts {
        let key = detail.key.0;
        // What KVM passes in registers of 32 bits.
        let low = key as u32;
        let numbered = |number: u64, name: Option<String>| Parts {
            number,
            name,
            ..Parts::default()
        };
        let known = |table: &[(u32, &str)]| cpu::find(table, low).map(String::from);
        let accessed = |access: &str, parts: Parts| Parts {
            access: Some(access.into()),
            ..parts
        };
        match detail.kind {
            Kind::Io => {
                let (port, size) = (key & 0xffff, key >> 16 & 7);
                let has = |bit: u32| key >> bit & 1 == 1;
                let repeated = if has(21) { "rep " } else { "" };
                let direction = match (has(19), has(20)) {
                    (true, true) => "ins",
                    (true, false) => "in",
                    (false, true) => "outs",
                    (false, false) => "out",
                };
                let suffix = match size {
                    1 => "b",
                    2 => "w",
                    4 => "l",
                    _ => "",
                };
                Parts {
                    size: Some(size),
                    ..accessed(
                        &format!("{repeated}{direction}{suffix}"),
                        numbered(port, self.devices.port(port)),
                    )
                }
            }
            Kind::Rdmsr => accessed("rdmsr", numbered(low.into(), msr(low))),
            Kind::Wrmsr => accessed("wrmsr", numbered(low.into(), msr(low))),
            Kind::Cpuid => {
                let name = known(cpu::LEAVES).or_else(|| known(paravirt::LEAVES));
                let own = (low >> 8 == 0x4f_ffff).then(|| "exitprof".into());
                Parts {
                    subleaf: cpu::has_subleaves(low).then_some((key >> 32) as u32),
                    ..numbered(low.into(), name.or(own))
                }
            }
            Kind::Cr => {
                let register = key & 15;
                let access = match key >> 4 & 3 {
                    0 => "MOV to",
                    1 => "MOV from",
                    2 => "CLTS",
                    _ => "LMSW",
                };
                accessed(access, numbered(register, Some(format!("CR{register}"))))
            }
            Kind::Dr => {
                let register = key & 7;
                let access = if key >> 4 & 1 == 1 {
                    "MOV from"
                } else {
                    "MOV to"
                };
                accessed(access, numbered(register, Some(format!("DR{register}"))))
            }
            Kind::Exception => numbered(key, known(cpu::EXCEPTIONS)),
            Kind::Interrupt => numbered(key, known(cpu::INTERRUPTS)),
            Kind::Hypercall => {
                let name = (key == u64::from(low)).then(|| known(paravirt::HYPERCALLS));
                numbered(key, name.flatten())
            }
            Kind::Mmio => numbered(key, self.devices.page(key)),
            Kind::PageFault => {
                let page = key & !(devices::PAGE - 1);
                let bits = [(1, "R"), (2, "W"), (4, "X")];
                let bits = bits.iter().filter(|(bit, _)| key & bit != 0);
                let access: String = bits.map(|(_, letter)| *letter).collect();
                Parts {
                    access: Some(access).filter(|access| !access.is_empty()),
                    ..numbered(page, self.devices.page(page))
                }
            }
            Kind::ApicAccess => {
                let access = match key >> 12 & 15 {
                    0 => "read",
                    1 => "write",
                    2 => "fetch",
                    3 => "event delivery",
                    10 => "event delivery, physical",
                    15 => "fetch or execution, physical",
                    _ => "other",
                };
                let offset = low & 0xfff;
                accessed(access, numbered(offset.into(), cpu::apic_register(offset)))
            }
            Kind::ApicWrite => {
                let offset = low & 0xfff;
                accessed("write", numbered(offset.into(), cpu::apic_register(offset)))
            }
            Kind::Ipi => numbered(key, Some(cpu::ipi(low))),
            Kind::Eoi => numbered(key, None),
        }
    }

    /// A detail in words.
    pub fn detail(&self, detail: Detail) -> String {
        let Parts {
            number,
            subleaf,
            access,
            name,
            ..
        } = self.parts(detail);
        let number = match detail.kind {
            // The name says it.
            Kind::Cr | Kind::Dr => None,
            Kind::Exception | Kind::Hypercall => Some(number.to_string()),
            Kind::Interrupt | Kind::Eoi => Some(format!("vector {number:#x}")),
            Kind::Cpuid => Some(match subleaf {
                Some(subleaf) => format!("{number:#x}.{subleaf:#x}"),
                None => format!("{number:#x}"),
            }),
            _ => Some(format!("{number:#x}")),
        };
        let name = match (detail.kind, access.as_deref()) {
            // They have one operand.
            (Kind::Cr, Some("CLTS" | "LMSW")) => None,
            _ => name,
        };
        let of_l2 = of_level(detail.level);
        let words: Vec<String> = [access, number, name, of_l2]
            .into_iter()
            .flatten()
            .collect();
        words.join(" ")
    }

    /// A place in the guest's code in words. `is_page` says that it is a page.
    pub fn place(&self, place: Place, is_page: bool) -> String {
        let rip = place.rip.0;
        let symbol = match is_page {
            true => self.symbols.of_page(rip),
            false => self.symbols.at(rip),
        };
        let mut words = vec![format!("{rip:#x}")];
        words.extend(symbol);
        if place.cpl > 0 {
            words.push(format!("(CPL {})", place.cpl));
        }
        words.extend(of_level(place.level));
        words.join(" ")
    }
}
