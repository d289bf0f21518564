// SPDX-License-Identifier: GPL-2.0

//! What `exitprof sweep` prints.

use crate::{leaves::Host, schema::check};
use exitprof::{commands::sweep, render::Format, source::leaves::LeafReader};
use profile::{isa::Isa, leaf::Scope};

fn sweep(isa: Isa, all: bool) -> String {
    sweep_as(isa, all, Format::Table)
}

fn sweep_as(isa: Isa, all: bool, format: Format) -> String {
    let host = Host::new(isa, Scope::Host).with(|state| {
        state.add(0x40, 1 << 40);
        state.add(12, 7);
        state.add(0xdead, 4);
    });
    let mut out = Vec::new();
    sweep::print(&mut LeafReader::new(host), all, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// On SVM, KVM handles neither 12 nor 0x40.
#[test]
fn reasons_with_exits_are_swept() {
    let vmx = "\
reason name                             exits            cycles
    10 CPUID                               12              6500
    12 HLT                                  7              3500
hidden                           1099511627780   549755813890000
";
    assert_eq!(sweep(Isa::Vmx, false), vmx);
    let svm = "\
reason name                             exits            cycles
  0x72 CPUID                              116             58500
hidden                           1099511627787   549755813893500
";
    assert_eq!(sweep(Isa::Svm, false), svm);
}

#[test]
fn all_reasons_are_swept_with_how_kvm_treats_them() {
    let text = sweep(Isa::Vmx, true);
    assert_eq!(text.lines().count(), 1 + 86 + 1, "{text}");
    for line in [
        "     0 EXCEPTION_NMI                        0                 0\n",
        "    11 GETSEC                     not handled                  \n",
        "    35 UNKNOWN(35)                  undefined                  \n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn programs_read_the_same() {
    let csv = sweep_as(Isa::Vmx, false, Format::Csv);
    let rows = "\
reason,name,status,exits,cycles
10,CPUID,handled,12,6500
12,HLT,handled,7,3500
,hidden,hidden,1099511627780,549755813890000
";
    assert_eq!(csv, rows);
    check(&sweep_as(Isa::Vmx, true, Format::Json), "Sweep");
    let markdown = sweep_as(Isa::Vmx, true, Format::Markdown);
    assert!(
        markdown.contains("| 35 | UNKNOWN(35) | undefined | - | - |"),
        "{markdown}"
    );
}
