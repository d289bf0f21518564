// SPDX-License-Identifier: GPL-2.0

//! The profile as text: what is written can be read, and what was written before, too.

use profile::{
    counts::Tally,
    detail::{Code, Kind, Kinds, Nested},
    heavy::Entry,
    histogram::{Histogram, BUCKETS},
    isa::Isa,
    phases::Spent,
    text::{
        Account, Cause, ClockRow, CodeRow, DetailRow, Head, Line, Malformed, Owner, PhasesRow, Row,
        TripsRow, OLDEST, VERSION,
    },
    trips::{Trips, USERSPACE_EXITS},
};
use proptest::prelude::*;

const HEAD: &str = "profile version=2 isa=vmx id=c3a5c85c97cb3127 epoch=7 tsc_khz=2400000 \
                    time_ns=9000000 since_ns=1000 cpus=2 recording=1 per_vcpu=1 histograms=1 \
                    phases=1 details=io,cpuid code=page";
const ACCOUNT: &str = "account sample_cycles=24 record_cycles=61 memory_bytes=51200 suppressed=0";
const HOST: &str = "host reason=10 name=CPUID exits=3 cycles=1900 untimed=0 min=600 max=700 \
                    log2=9:3";
const ATTACHED: &str = "attached vm=412-11 vcpu=0 id=b492b66fbe98f273";
const VCPU: &str = "vcpu vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID exits=3 \
                    cycles=1900 untimed=0";
const CLOCK: &str = "vcpu_clock vm=412-11 vcpu=0 id=b492b66fbe98f273 since=100000 until=904000 \
                     guest=700000";
const PHASES: &str = "vcpu_phases vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID \
                      exit_path=900 handler=1900 run_loop=1200 userspace=100000 polling=0 \
                      halted=0 preempted=0 sleeping=0";
const TRIPS: &str = "vcpu_userspace vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=30 \
                     name=IO_INSTRUCTION exit=2 exit_name=IO trips=1 cycles=100000";
const DETAIL: &str = "vcpu_detail vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID \
                      kind=cpuid level=1 key=000000004ffffffc exits=2 cycles=1300 error=0";
const CODE: &str = "vcpu_code vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID \
                    level=1 rip=ffffffff81000000 cpl=0 exits=3 cycles=1900 error=0";
const END: &str = "end epoch=7 lines=11";

/// A line of each kind.
const LINES: [&str; 18] = [
    HEAD,
    ACCOUNT,
    HOST,
    ATTACHED,
    VCPU,
    "ended reason=other name=other exits=1 cycles=0 untimed=1 l2=4 l2_cycles=3 reflected=2 \
     reflected_cycles=1",
    "unattributed reason=4294967295 name=ERR exits=18446744073709551615 cycles=2 untimed=3",
    CLOCK,
    PHASES,
    TRIPS,
    DETAIL,
    CODE,
    "ended_detail reason=48 name=EPT_VIOLATION kind=page_fault level=1 key=ffffffffffffffff exits=1 \
     cycles=2 error=3",
    "ended_code reason=other name=other level=2 rip=401000 cpl=3 exits=1 cycles=2 error=3",
    "ended_clock since=0 until=1 guest=18446744073709551615",
    "ended_phases reason=none name=none exit_path=1 handler=2 run_loop=3 userspace=4 polling=5 \
     halted=6 preempted=7 sleeping=8",
    "ended_userspace reason=other name=other exit=47 exit_name=other trips=1 cycles=2",
    END,
];

fn parse(line: &str) -> Line<'_, &str> {
    Line::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_documented_lines_are_those_that_are_written() {
    let source = include_str!("../text.rs");
    let (_, text) = source.split_once("//! ```text\n").unwrap();
    let (text, _) = text.split_once("//! ```\n").unwrap();
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix("//! ").unwrap())
        .collect();
    assert_eq!(
        lines,
        [HEAD, ACCOUNT, HOST, ATTACHED, VCPU, CLOCK, PHASES, TRIPS, DETAIL, CODE, END]
    );
    for line in lines.iter().chain(&LINES) {
        assert_eq!(parse(line).to_string(), *line);
    }
}

#[test]
fn each_field_gets_into_its_place() {
    let head = Head {
        version: 2,
        isa: Isa::Vmx,
        id: 0xc3a5_c85c_97cb_3127,
        epoch: 7,
        tsc_khz: 2_400_000,
        time_ns: 9_000_000,
        since_ns: 1000,
        cpus: 2,
        recording: true,
        per_vcpu: true,
        histograms: true,
        phases: true,
        details: Kinds::parse("io,cpuid").unwrap(),
        code: Code::Page,
    };
    assert_eq!(parse(HEAD), Line::Head(head));
    let account = Account {
        sample_cycles: 24,
        record_cycles: 61,
        memory_bytes: 51_200,
        suppressed: 0,
    };
    assert_eq!(parse(ACCOUNT), Line::Account(account));
    let mut buckets = [0; BUCKETS];
    buckets[9] = 3;
    let tally = Tally {
        exits: 3,
        cycles: 1900,
        untimed: 0,
    };
    let row = Row {
        owner: Owner::Host,
        reason: Some(10),
        name: "CPUID",
        tally,
        nested: Nested::default(),
        histogram: Some(Histogram {
            min: 600,
            max: 700,
            buckets,
        }),
    };
    assert_eq!(parse(HOST), Line::Row(row));
    let (vm, vcpu, id) = ("412-11", 0, 0xb492_b66f_be98_f273);
    assert_eq!(parse(ATTACHED), Line::Attached { vm, vcpu, id });
    let row = Row {
        owner: Owner::Vcpu { vm, vcpu, id },
        histogram: None,
        ..row
    };
    assert_eq!(parse(VCPU), Line::Row(row));
    let owner = Owner::Vcpu { vm, vcpu, id };
    let clock = ClockRow {
        owner,
        since: 100_000,
        until: 904_000,
        guest: 700_000,
    };
    assert_eq!(parse(CLOCK), Line::Clock(clock));
    let phases = PhasesRow {
        owner,
        cause: Cause::Exit(Some(10)),
        name: "CPUID",
        spent: Spent([900, 1900, 1200, 100_000, 0, 0, 0, 0]),
    };
    assert_eq!(parse(PHASES), Line::Phases(phases));
    assert_eq!(
        clock.guest + phases.spent.total(),
        clock.until - clock.since
    );
    let trips = TripsRow {
        owner,
        cause: Cause::Exit(Some(30)),
        name: "IO_INSTRUCTION",
        exit: 2,
        trips: Trips {
            trips: 1,
            cycles: 100_000,
        },
    };
    assert_eq!(parse(TRIPS), Line::Trips(trips));
    let mut entry = Entry {
        key: 0x4fff_fffc,
        exits: 2,
        cycles: 1300,
        error: 0,
    };
    let detail = DetailRow {
        owner,
        reason: 10,
        name: "CPUID",
        kind: Kind::Cpuid,
        level: 1,
        entry,
    };
    assert_eq!(parse(DETAIL), Line::Detail(detail));
    (entry.exits, entry.cycles) = (3, 1900);
    entry.key = Code::Exact.key(0xffff_ffff_8100_0000, 0);
    let code = CodeRow {
        owner,
        reason: Some(10),
        name: "CPUID",
        level: 1,
        entry,
    };
    assert_eq!(parse(CODE), Line::Code(code));
    let (epoch, lines) = (7, 11);
    assert_eq!(parse(END), Line::End { epoch, lines });
    assert_eq!((OLDEST, VERSION), (1, 2));
}

/// The fields of a line after its kind, with their keys.
fn fields(line: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let fields = line.split(' ').skip(1);
    fields.map(|field| (field.split_once('=').unwrap().0, field))
}

#[test]
fn a_line_without_a_field_that_it_must_have_says_which() {
    for line in LINES {
        for (key, field) in fields(line) {
            let optional = match key {
                "untimed" | "log2" | "l2" | "details" | "code" => true,
                "id" | "phases" => line != HEAD || key == "phases",
                // It follows from `exit`.
                "exit_name" => true,
                _ => false,
            };
            let less = line.replacen(&format!(" {field}"), "", 1);
            match Line::parse(&less) {
                Ok(_) => assert!(optional, "{less}"),
                Err(Malformed::Missing(of)) => assert_eq!((of, optional), (key, false), "{less}"),
                Err(other) => panic!("{less}: {other}"),
            }
        }
    }
}

#[test]
fn a_field_without_a_valid_value_is_named() {
    for line in LINES {
        for (key, field) in fields(line) {
            let text = ["vm", "name"].contains(&key);
            for value in ["", "x", "-1", "1.5", "99999999999999999999"] {
                // Numbers may be 64 bits long, and text may be anything.
                // The one follows from the number, and later modules may know more kinds.
                let later = ["details", "kind"].contains(&key) && !value.is_empty();
                let unread = key == "exit_name" || later;
                let valid = text && !value.is_empty() || (key, value) == ("log2", "") || unread;
                let changed = line.replacen(field, &format!("{key}={value}"), 1);
                let want = Malformed::Invalid(key);
                assert_eq!(
                    Line::parse(&changed).err(),
                    (!valid).then_some(want),
                    "{changed}"
                );
            }
        }
    }
}

#[test]
fn ids_are_hexadecimal() {
    let parsed = |id: &str| Line::parse(&ATTACHED.replace("b492b66fbe98f273", id)).err();
    for id in ["0", "f", "B492B66FBE98F273", "00000000000000001"] {
        assert_eq!(parsed(id), None, "{id}");
    }
    for id in ["", "g", "0x10", "-1", "11112222333344445", "1_0"] {
        assert_eq!(parsed(id), Some(Malformed::Invalid("id")), "{id}");
    }
}

#[test]
fn buckets_are_pairs_of_known_numbers() {
    let parsed = |log2: &str| Line::parse(&HOST.replace("9:3", log2)).err();
    for log2 in ["", "0:1", "29:18446744073709551615", "29:1,3:4"] {
        assert_eq!(parsed(log2), None, "{log2}");
    }
    for log2 in ["9", "9:", ":3", "9:x", "30:1", "9:3:4", "9:3;8:2", "-1:2"] {
        assert_eq!(parsed(log2), Some(Malformed::Invalid("log2")), "{log2}");
    }
}

#[test]
fn errors_name_the_field() {
    let error = Line::parse("end epoch=7").unwrap_err();
    assert_eq!(error.to_string(), "no field lines");
    let error = Line::parse("end epoch=x lines=6").unwrap_err();
    assert_eq!(error.to_string(), "field epoch has no valid value");
}

#[test]
fn kinds_that_are_not_known_are_passed_over() {
    for line in [
        "",
        "phase name=guest cycles=1",
        "hosts",
        "Host reason=10",
        "#",
    ] {
        assert_eq!(parse(line), Line::Unknown, "{line}");
    }
    assert_eq!(Line::<&str>::Unknown.to_string(), "");
}

/// What a value may be made of.
fn any_word() -> impl Strategy<Value = String> {
    "[!-~]{1,20}"
}

fn any_head() -> impl Strategy<Value = Head> {
    let isa = prop_oneof![Just(Isa::Vmx), Just(Isa::Svm)];
    let (numbers, times, flags) = (any::<[u32; 3]>(), any::<[u64; 3]>(), any::<[bool; 4]>());
    let kinds = (0u32..1 << 15).prop_map(|kinds| Kinds(kinds << 1));
    let code = prop_oneof![Just(Code::Off), Just(Code::Page), Just(Code::Exact)];
    (isa, numbers, times, flags, kinds, code).prop_map(
        |(isa, [epoch, tsc_khz, cpus], [id, time_ns, since_ns], flags, details, code)| {
            let [recording, per_vcpu, histograms, phases] = flags;
            Head {
                version: VERSION,
                isa,
                id,
                epoch,
                tsc_khz,
                time_ns,
                since_ns,
                cpus,
                recording,
                per_vcpu,
                histograms,
                phases,
                details,
                code,
            }
        },
    )
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let exits = prop_oneof![2 => Just(0), 1 => any::<u64>()];
    let buckets = prop::array::uniform30(exits);
    (any::<[u64; 2]>(), buckets).prop_map(|([min, max], buckets)| Histogram { min, max, buckets })
}

fn known_keys() -> Vec<&'static str> {
    let fields = LINES.iter().flat_map(|line| fields(line));
    fields.map(|(key, _)| key).collect()
}

/// A key that is not known, and often one that begins or ends as one that is.
fn any_other_key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(known_keys());
    let longer = (known, "[a-z_]{1,3}", any::<bool>());
    prop_oneof![
        "[a-z_]{1,9}",
        longer.prop_map(|(known, more, before)| match before {
            true => more + known,
            false => known.to_string() + &more,
        }),
    ]
}

/// What a line may be made of.
#[derive(Clone, Debug)]
struct Parts {
    kind: u8,
    head: Head,
    account: Account,
    vm: String,
    vcpu: u32,
    id: u64,
    reason: Option<u32>,
    name: String,
    tally: Tally,
    histogram: Option<Histogram>,
    spent: Spent,
    exit: usize,
    nested: Nested,
    detail: Kind,
    key: u64,
}

prop_compose! {
    fn any_parts()(
        kind in 0u8..18,
        head in any_head().boxed(),
        (vm, name) in (any_word(), any_word()),
        (vcpu, id) in any::<(u32, u64)>(),
        reason in any::<Option<u32>>(),
        [sample_cycles, record_cycles, memory_bytes, suppressed] in any::<[u64; 4]>(),
        [exits, cycles, untimed] in any::<[u64; 3]>(),
        histogram in prop::option::of(any_histogram()).boxed(),
        spent in any::<[u64; 8]>().prop_map(Spent),
        exit in 0..USERSPACE_EXITS,
        nested in prop::option::of(any::<[u64; 4]>()),
        detail in prop::sample::select(&Kind::ALL[..]),
        key: u64,
    ) -> Parts {
        Parts {
            kind,
            head,
            account: Account { sample_cycles, record_cycles, memory_bytes, suppressed },
            vm,
            vcpu,
            id,
            reason,
            name: reason.map_or("other".into(), |_| name),
            tally: Tally { exits, cycles, untimed },
            histogram,
            spent,
            exit,
            nested: nested.map_or(Nested::default(), |[a, b, c, d]| Nested {
                l2_exits: a,
                l2_cycles: b,
                reflected_exits: c,
                reflected_cycles: d,
            }),
            detail,
            key,
        }
    }
}

impl Parts {
    fn line(&self) -> Line<'_, &str> {
        let (vm, vcpu, id) = (self.vm.as_str(), self.vcpu, self.id);
        let row = |owner| Row {
            owner,
            reason: self.reason,
            name: self.name.as_str(),
            tally: self.tally,
            nested: self.nested,
            histogram: self.histogram,
        };
        let vcpu_owner = Owner::Vcpu { vm, vcpu, id };
        let clock = |owner| ClockRow {
            owner,
            since: self.tally.exits,
            until: self.tally.cycles,
            guest: self.tally.untimed,
        };
        let (cause, name) = match (self.reason, self.exit) {
            (None, 0..=9) => (Cause::Run, "none"),
            (reason, _) => (Cause::Exit(reason), self.name.as_str()),
        };
        let phases = |owner| PhasesRow {
            owner,
            cause,
            name,
            spent: self.spent,
        };
        let trips = |owner| TripsRow {
            owner,
            cause,
            name,
            exit: self.exit,
            trips: Trips {
                trips: self.tally.exits,
                cycles: self.tally.cycles,
            },
        };
        let entry = Entry {
            key: self.key,
            exits: self.tally.exits,
            cycles: self.tally.cycles,
            error: self.tally.untimed,
        };
        let detail = |owner| DetailRow {
            owner,
            reason: vcpu,
            name: "X",
            kind: self.detail,
            level: 1 + (self.key & 1) as u8,
            entry,
        };
        let code = |owner| CodeRow {
            owner,
            reason: self.reason,
            name: self.name.as_str(),
            level: 2 - (self.key & 1) as u8,
            entry,
        };
        match self.kind {
            14 => Line::Detail(detail(vcpu_owner)),
            15 => Line::Detail(detail(Owner::Ended)),
            16 => Line::Code(code(vcpu_owner)),
            17 => Line::Code(code(Owner::Ended)),
            8 => Line::Clock(clock(vcpu_owner)),
            9 => Line::Clock(clock(Owner::Ended)),
            10 => Line::Phases(phases(vcpu_owner)),
            11 => Line::Phases(phases(Owner::Ended)),
            12 => Line::Trips(trips(vcpu_owner)),
            13 => Line::Trips(trips(Owner::Ended)),
            0 => Line::Head(self.head),
            1 => Line::Account(self.account),
            2 => Line::Row(row(Owner::Host)),
            3 => Line::Attached { vm, vcpu, id },
            4 => Line::Row(row(Owner::Vcpu { vm, vcpu, id })),
            5 => Line::Row(row(Owner::Ended)),
            6 => Line::Row(row(Owner::Unattributed)),
            _ => Line::End {
                epoch: vcpu,
                lines: id,
            },
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(parts in any_parts()) {
        let written = parts.line().to_string();
        prop_assert_eq!(Line::parse(&written), Ok(parts.line()));
    }

    #[test]
    fn keys_that_are_not_known_are_passed_over(
        parts in any_parts(),
        key in any_other_key(),
        value in any_word(),
        place: prop::sample::Index,
    ) {
        let written = parts.line().to_string();
        prop_assume!(!known_keys().contains(&key.as_str()));
        let mut words: Vec<&str> = written.split(' ').collect();
        let field = format!("{key}={value}");
        words.insert(1 + place.index(words.len()), &field);
        let written = words.join(" ");
        prop_assert_eq!(Line::parse(&written), Ok(parts.line()));
    }

    #[test]
    fn no_line_is_too_odd(line in ".{0,200}", kind in prop::sample::select(&LINES[..])) {
        let _ = Line::parse(&line);
        let _ = Line::parse(&format!("{kind} {line}"));
        let _ = Line::parse(&format!("{} {line}", kind.split(' ').next().unwrap()));
    }
}
