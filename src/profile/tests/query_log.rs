// SPDX-License-Identifier: GPL-2.0

//! Queries in the host's log, and its tables.

mod common;

use common::{any_reason, any_vcpu, Vcpu};
use profile::{
    counts::Tally,
    isa::Isa,
    query::Query,
    query_log::{Caller, LogLine},
    table::TableRow,
};
use proptest::prelude::*;

const CALLER: Option<Caller> = Some(Caller { pid: 1234, vcpu: 7 });

fn line(vcpu: &mut Vcpu, caller: Option<Caller>, eax: u32, ecx: u32) -> Option<String> {
    let query = Query::new(eax, ecx).unwrap();
    LogLine::new(caller, query, query.answer(vcpu)).map(|line| line.to_string())
}

#[test]
fn log_lines_have_the_documented_form() {
    let mut vcpu = Vcpu::zeros(Isa::Vmx);
    vcpu.live.0[48] = Tally {
        exits: 701_051,
        cycles: 5_000_000_000,
        untimed: 3,
    };
    for (eax, ecx, want) in [
        (0x4fff_fffc, 0, "0x4ffffffc, Total exits=701051"),
        (0x4fff_fffd, 0, "0x4ffffffd, Total cycles=5000000000"),
        (
            0x4fff_fffe,
            48,
            "0x4ffffffe, Exit number 48. Total exits=701051",
        ),
        (
            0x4fff_ffff,
            48,
            "0x4fffffff, Exit number 48. Total cycles=5000000000",
        ),
        (0x4fff_fffe, 3, "0x4ffffffe, Exit number 3. Total exits=0"),
        (
            0x4fff_fffe,
            35,
            "0x4ffffffe, Exit number 35. Total exits=0 (undefined)",
        ),
        (
            0x4fff_ffff,
            35,
            "0x4fffffff, Exit number 35. Total cycles=0 (undefined)",
        ),
    ] {
        for (caller, who) in [
            (CALLER, "(pid 1234, vCPU 7)"),
            (None, "(a vCPU without a profile)"),
        ] {
            let want = format!("{want} {who}");
            assert_eq!(line(&mut vcpu, caller, eax, ecx), Some(want));
        }
    }
}

#[test]
fn rows_of_a_table_are_aligned() {
    let rows = [
        TableRow::HEAD.to_string(),
        TableRow(
            Isa::Vmx.number(48),
            Isa::Vmx.name(48),
            701_051,
            u64::MAX >> 8,
        )
        .to_string(),
        TableRow("other", "", 1, 2).to_string(),
    ];
    assert_eq!(
        rows,
        [
            "reason name                             exits            cycles",
            "    48 EPT_VIOLATION                   701051 72057594037927935",
            " other                                      1                 2",
        ]
    );
}

proptest! {
    #[test]
    fn only_the_four_live_leaves_have_a_line(mut vcpu in any_vcpu(), ecx in any_reason()) {
        for eax in 0x4fff_ff00..=0x4fff_ffff {
            let has_line = line(&mut vcpu, CALLER, eax, ecx).is_some();
            prop_assert_eq!(has_line, eax >= 0x4fff_fffc, "{:#x}", eax);
        }
    }
}
