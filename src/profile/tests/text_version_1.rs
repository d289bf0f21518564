// SPDX-License-Identifier: GPL-2.0

//! Version 1 of the text, which recordings of the past have.

use profile::{
    counts::Tally,
    detail::{Code, Kinds},
    isa::Isa,
    text::{Head, Line, Owner},
};

fn parse(line: &str) -> Line<'_, &str> {
    Line::parse(line).unwrap()
}

#[test]
fn version_1_is_still_read() {
    let head = "profile version=1 isa=svm epoch=7 tsc_khz=2400000 time_ns=184000000000 \
                since_ns=64000000000 cpus=2 sampling=1 per_vcpu=0 distributions=1";
    let of_head = |line| match parse(line) {
        Line::Head(head) => head,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        of_head(head),
        Head {
            version: 1,
            isa: Isa::Svm,
            id: 0,
            epoch: 7,
            tsc_khz: 2_400_000,
            time_ns: 184_000_000_000,
            since_ns: 64_000_000_000,
            cpus: 2,
            recording: true,
            per_vcpu: false,
            histograms: true,
            phases: false,
            details: Kinds::NONE,
            code: Code::Off,
        }
    );
    let off = head.replace("sampling=1", "sampling=0");
    assert!(!of_head(&off).recording);
    let off = head.replace("distributions=1", "distributions=0");
    assert!(!of_head(&off).histograms);
    let row = |line| match parse(line) {
        Line::Row(row) => row,
        other => panic!("{other:?}"),
    };
    let host = row(
        "host reason=1 name=EXTERNAL_INTERRUPT exits=403 cycles=15314 min=1 max=572 \
                    log2=0:1,1:2,2:33,3:96,4:118,5:95,6:38,7:16,8:3,9:1",
    );
    let tally = Tally {
        exits: 403,
        cycles: 15_314,
        untimed: 0,
    };
    assert_eq!((host.owner, host.reason), (Owner::Host, Some(1)));
    assert_eq!((host.name, host.tally), ("EXTERNAL_INTERRUPT", tally));
    let histogram = host.histogram.unwrap();
    assert_eq!((histogram.min, histogram.max), (1, 572));
    assert_eq!(
        histogram.buckets[..11],
        [1, 2, 33, 96, 118, 95, 38, 16, 3, 1, 0]
    );
    let (vm, vcpu, id) = ("412", 3, 0);
    assert_eq!(
        parse("attached vm=412 vcpu=3"),
        Line::Attached { vm, vcpu, id }
    );
    let of_vcpu = row("vcpu vm=412 vcpu=3 reason=10 name=CPUID exits=150 cycles=90000");
    assert_eq!(of_vcpu.owner, Owner::Vcpu { vm, vcpu, id });
    assert_eq!(of_vcpu.tally.exits, 150);
}
