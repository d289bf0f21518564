// SPDX-License-Identifier: GPL-2.0

//! Names of details, devices and code.

use crate::host::{data, exitprof, output};
use exitprof::{
    names::{Names, devices::Devices, symbols::Symbols},
    snapshot::detail::{Detail, Hex, Place},
};
use profile::detail::Kind;
use std::{fs, path::Path};
use tempfile::TempDir;

fn detail(kind: Kind, key: u64) -> Detail {
    Detail {
        kind,
        level: 1,
        key: Hex(key),
    }
}

#[test]
fn each_kind_has_words() {
    let io = |port: u64, size: u64, bits: u64| port | size << 16 | bits << 19;
    for (kind, key, words) in [
        (Kind::Io, io(0x3f8, 1, 0), "outb 0x3f8 COM1 data"),
        (Kind::Io, io(0x2fd, 1, 1), "inb 0x2fd COM2 line status"),
        (Kind::Io, io(0xcfc, 4, 1), "inl 0xcfc PCI config data"),
        (Kind::Io, io(0x170, 2, 7), "rep insw 0x170 IDE 2"),
        (Kind::Io, io(0xc000, 1, 2), "outsb 0xc000"),
        (Kind::Io, io(0x71, 1, 1), "inb 0x71 RTC"),
        (Kind::Rdmsr, 0x1b, "rdmsr 0x1b IA32_APICBASE"),
        (Kind::Wrmsr, 0x6e0, "wrmsr 0x6e0 IA32_TSC_DEADLINE"),
        (Kind::Wrmsr, 0xc000_0080, "wrmsr 0xc0000080 EFER"),
        (Kind::Wrmsr, 0x830, "wrmsr 0x830 x2APIC ICR"),
        (
            Kind::Wrmsr,
            0x4b56_4d01,
            "wrmsr 0x4b564d01 KVM_SYSTEM_TIME_NEW",
        ),
        (
            Kind::Rdmsr,
            0x4000_0020,
            "rdmsr 0x40000020 HV_TIME_REF_COUNT",
        ),
        (Kind::Rdmsr, 0x186, "rdmsr 0x186 P6_EVNTSEL0"),
        (Kind::Rdmsr, 0x47d, "rdmsr 0x47d IA32_MC31_STATUS"),
        (Kind::Rdmsr, 0x1234_5678, "rdmsr 0x12345678"),
        (Kind::Cpuid, 0x7, "0x7.0x0 features"),
        (Kind::Cpuid, 0xd | 1 << 32, "0xd.0x1 XSAVE"),
        // ECX means nothing there.
        (Kind::Cpuid, 1 | 0x77 << 32, "0x1 features"),
        (
            Kind::Cpuid,
            0x4fff_fffe | 30 << 32,
            "0x4ffffffe.0x1e exitprof exits by reason",
        ),
        (Kind::Cr, 0x00, "MOV to CR0"),
        (Kind::Cr, 0x18, "MOV from CR8"),
        (Kind::Cr, 0x20, "CLTS"),
        (Kind::Cr, 0x30, "LMSW"),
        (Kind::Dr, 0x07, "MOV to DR7"),
        (Kind::Dr, 0x16, "MOV from DR6"),
        (Kind::Exception, 14, "14 #PF page fault"),
        (Kind::Exception, 9, "9"),
        (Kind::Interrupt, 0xec, "vector 0xec local timer"),
        (Kind::Interrupt, 0x31, "vector 0x31"),
        (Kind::Hypercall, 10, "10 SEND_IPI"),
        (Kind::Hypercall, 1 << 32 | 10, "4294967306"),
        (Kind::Mmio, 0xfee0_0000, "0xfee00000 LAPIC"),
        (Kind::Mmio, 0xfed0_0000, "0xfed00000 HPET"),
        (Kind::Mmio, 0xfebd_1000, "0xfebd1000"),
        (Kind::PageFault, 0xfec0_0002, "W 0xfec00000 IOAPIC"),
        (Kind::PageFault, 0x1_2345_6003, "RW 0x123456000"),
        (Kind::PageFault, 0x7004, "X 0x7000"),
        (Kind::ApicAccess, 0x10b0, "write 0xb0 EOI"),
        (Kind::ApicAccess, 0x0110, "read 0x110 ISR 1"),
        (Kind::ApicWrite, 0x300, "write 0x300 ICR"),
        (
            Kind::Ipi,
            0x000c_00fd,
            "0xc00fd fixed, vector 0xfd, to all others",
        ),
        (Kind::Ipi, 0x0400, "0x400 NMI"),
        (Kind::Ipi, 0x069a, "0x69a SIPI, page 0x9a"),
        (Kind::Eoi, 0x21, "vector 0x21"),
    ] {
        assert_eq!(Names::default().detail(detail(kind, key)), words);
    }
}

/// No key is too strange.
#[test]
fn any_key_has_words() {
    for kind in Kind::ALL {
        for key in [
            0,
            1,
            0xfff,
            0xffff_ffff,
            u64::MAX,
            1 << 63,
            0x5555_5555_5555_5555,
        ] {
            assert!(!Names::default().detail(detail(kind, key)).is_empty());
        }
    }
}

#[test]
fn users_name_devices() {
    let text = "# web\n\nmmio 0xfebd1000-0xfebd10ff net # first\nmmio febd1800-febd1fff disk one\n\
                port 0xc000-0xc03f disk one\nport 608 timer\n";
    let names = Names {
        devices: Devices::parse(text).unwrap(),
        ..Names::default()
    };
    let words = |kind, key| names.detail(detail(kind, key));
    assert_eq!(words(Kind::Mmio, 0xfebd_1000), "0xfebd1000 net, disk one");
    assert_eq!(
        words(Kind::PageFault, 0xfebd_1001),
        "R 0xfebd1000 net, disk one"
    );
    assert_eq!(words(Kind::Mmio, 0xfebd_2000), "0xfebd2000");
    assert_eq!(words(Kind::Io, 0x1_c03f), "outb 0xc03f disk one");
    assert_eq!(words(Kind::Io, 0x1_c040), "outb 0xc040");
    // What users say is preferred.
    assert_eq!(words(Kind::Io, 0xc_0608), "inl 0x608 timer");
}

#[test]
fn wrong_lines_of_devices_are_told() {
    for (text, says) in [
        ("port 1-2 a\nmmio", "line 2: it must be: port or mmio"),
        ("mmio 0x1000-0x1fff", "line 1: it must be"),
        (
            "pci 0x1000-0x1fff net",
            "line 1: \"pci\" is neither port nor mmio",
        ),
        (
            "mmio 0x1000-0xyz net",
            "line 1: \"0xyz\" is not a hexadecimal number",
        ),
        (
            "mmio 0x2000-0x1fff net",
            "line 1: 0x2000-0x1fff: the last is below the first",
        ),
        (
            "port 0x10000 net",
            "line 1: 0x10000: the highest possible is 0xffff",
        ),
        (
            "port 1-9 a\nport 12 c\nport 9 b",
            "line 3: it overlaps with a in line 1",
        ),
    ] {
        let error = format!("{:#}", Devices::parse(text).unwrap_err());
        assert!(error.contains(says), "{error}");
    }
}

const MAP: &str = "ffffffff81000000 T _text\nffffffff81000000 T _stext\n\
                   ffffffff81000040 t __pfx_native_halt\nffffffff81000050 t native_halt\n\
                   ffffffff81000060 T default_idle\t[mod]\nffffffff82000000 D jiffies\n\
                   ffffffff81001100 W weak\n";

#[test]
fn symbols_are_those_of_the_address() {
    let mut symbols = Symbols::default();
    symbols.add_bytes(MAP.as_bytes(), 0).unwrap();
    let at = |address: u64| symbols.at(address);
    let is = |name: &str| Some(name.to_owned());
    assert_eq!(at(0xffff_ffff_8100_0050), is("native_halt"));
    assert_eq!(at(0xffff_ffff_8100_005f), is("native_halt+0xf"));
    assert_eq!(at(0xffff_ffff_8100_0063), is("default_idle+0x3"));
    assert_eq!(at(0xffff_ffff_8100_0001), is("_stext+0x1"));
    assert_eq!(at(0xffff_ffff_80ff_ffff), None);
    assert_eq!(at(0xffff_ffff_8200_0000), None);
    assert_eq!(at(0x7f00_0000_0000), None);
    let page = |page| symbols.of_page(page);
    assert_eq!(page(0xffff_ffff_8100_0000), is("_stext..default_idle"));
    assert_eq!(page(0xffff_ffff_8100_1000), is("default_idle..weak"));
    assert_eq!(page(0xffff_ffff_8150_0000), None);
    // KASLR.
    let mut moved = Symbols::default();
    moved.add_bytes(MAP.as_bytes(), 0x1e00_0000).unwrap();
    assert_eq!(moved.at(0xffff_ffff_9f00_0052), is("native_halt+0x2"));
    assert_eq!(moved.at(0xffff_ffff_8100_0052), None);
}

#[test]
fn symbols_of_elf_files_are_read() {
    let exe = fs::read(env!("CARGO_BIN_EXE_exitprof")).unwrap();
    let entry = u64::from_le_bytes(exe[24..32].try_into().unwrap());
    let mut symbols = Symbols::default();
    symbols.add_bytes(&exe, 0).unwrap();
    assert_eq!(symbols.at(entry).as_deref(), Some("_start"));
    let mut of_file = Symbols::default();
    of_file
        .add(Path::new(env!("CARGO_BIN_EXE_exitprof")), 0)
        .unwrap();
    assert_eq!(of_file, symbols);
    assert_eq!(symbols.at(entry + 1).as_deref(), Some("_start+0x1"));
}

#[test]
fn files_without_symbols_are_refused() {
    for (bytes, says) in [
        (
            &b"0000000000000000 T _text\n0000000000000000 t a\n"[..],
            "only root",
        ),
        (b"not a map\n", "line 1: it is not an address"),
        (b"\x7fELFxx", "not a valid ELF"),
        (b"\xff\xfe", "neither text nor an ELF"),
        (b"", "no symbols of code"),
        (b"ffffffff82000000 D jiffies\n", "no symbols of code"),
    ] {
        let error = Symbols::default().add_bytes(bytes, 0).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn places_have_words() {
    let mut symbols = Symbols::default();
    symbols.add_bytes(MAP.as_bytes(), 0).unwrap();
    let names = Names {
        symbols,
        ..Names::default()
    };
    let words = |rip, cpl, is_page| {
        let rip = Hex(rip);
        names.place(Place { level: 1, rip, cpl }, is_page)
    };
    assert_eq!(
        words(0xffff_ffff_8100_0051, 0, false),
        "0xffffffff81000051 native_halt+0x1"
    );
    assert_eq!(
        words(0xffff_ffff_8100_1000, 0, true),
        "0xffffffff81001000 default_idle..weak"
    );
    assert_eq!(words(0x40_1000, 3, false), "0x401000 (CPL 3)");
}

/// A file with this content.
fn file(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn reports_take_names_from_files() {
    let dir = TempDir::new().unwrap();
    let devices = file(
        &dir,
        "devices",
        "mmio 0xfebd1000 virtio-net\nport 0xc010 virtio-blk\n",
    );
    let map = file(
        &dir,
        "System.map",
        "ffffffff8160a1c0 T serial8250_out\nffffffff8160b000 t io_in\n\
         ffffffff81a3c1f0 T clear_page\n",
    );
    let report = |arguments: &[&str]| {
        let mut command = exitprof();
        output(
            command
                .args(["report", "-i"])
                .arg(data("details.txt"))
                .args(arguments),
        )
    };
    let text = report(&["--details", "--device", &devices, "--top", "20"]);
    for words in [
        "W 0xfebd1000 virtio-net ",
        "  0xfebd1000 virtio-net ",
        "outw 0xc010 virtio-blk",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let text = report(&["--by", "rip,reason", "--symbols", &map]);
    for words in [
        "0xffffffff8160a1e2 serial8250_out+0x22",
        "0xffffffff81a3c200 clear_page+0x10",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // A pipe is read once.
    let mut command = exitprof();
    let piped = command
        .args(["report", "--by", "rip", "--symbols", "/dev/stdin", "-i"])
        .arg(data("details.txt"))
        .write_stdin(fs::read(&map).unwrap());
    assert!(output(piped).contains("serial8250_out+0x22"));
    let text = report(&["--by", "rip", "--symbols", &map, "--kaslr", "0x1000"]);
    assert!(
        text.contains("0xffffffff8160b000\n") || !text.contains("io_in"),
        "{text}"
    );
    assert!(!text.contains("serial8250_out+0x22"), "{text}");
}

#[test]
fn files_that_are_missing_or_wrong_are_told() {
    let dir = TempDir::new().unwrap();
    let wrong = file(&dir, "devices", "mmio 0x1000-0x1fff\n");
    let refused = |arguments: &[&str]| {
        let mut command = exitprof();
        let run = command
            .args(["report", "-i"])
            .arg(data("details.txt"))
            .args(arguments)
            .assert()
            .failure();
        String::from_utf8(run.get_output().stderr.clone()).unwrap()
    };
    let text = refused(&["--details", "--device", &wrong]);
    assert!(
        text.contains(&format!("{wrong}: line 1: it must be")),
        "{text}"
    );
    let missing = Path::new("/nonexistent/System.map").display().to_string();
    let text = refused(&["--by", "rip", "--symbols", &missing]);
    assert!(
        text.contains(&missing) && text.contains("No such file"),
        "{text}"
    );
    let text = refused(&["--by", "rip", "--kaslr", "0x1000"]);
    assert!(text.contains("--symbols"), "{text}");
}
