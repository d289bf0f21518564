// SPDX-License-Identifier: GPL-2.0

//! Which device has a port or a guest-physical address: what all PCs have in common, and what
//! users tell of a VM.

use anyhow::{Context, Result, bail, ensure};
use std::{fs, path::Path};

/// The size of a page.
pub const PAGE: u64 = 0x1000;

/// What a range is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// I/O ports.
    Port,
    /// Guest-physical addresses.
    Mmio,
}

/// A device's range of ports or addresses: the first, the last, and its name.
type Range<'a> = (u64, u64, &'a str);

/// I/O ports of PCs, and of QEMU and its firmware. Those of PCI devices depend on the guest.
const PORTS: &[Range<'_>] = &[
    (0x00, 0x1f, "DMA 1"),
    (0x20, 0x21, "PIC 1"),
    (0x40, 0x43, "PIT"),
    (0x60, 0x60, "keyboard data"),
    (0x61, 0x61, "NMI status, speaker"),
    (0x64, 0x64, "keyboard command"),
    (0x70, 0x71, "RTC"),
    (0x80, 0x80, "POST code"),
    (0x81, 0x8f, "DMA page"),
    (0x92, 0x92, "system control A"),
    (0xa0, 0xa1, "PIC 2"),
    (0xb2, 0xb3, "SMI command"),
    (0xc0, 0xdf, "DMA 2"),
    (0xe9, 0xe9, "debug console"),
    (0xf0, 0xf1, "FPU"),
    (0x170, 0x177, "IDE 2"),
    (0x1f0, 0x1f7, "IDE 1"),
    (0x278, 0x27a, "LPT2"),
    (0x376, 0x376, "IDE 2 control"),
    (0x378, 0x37a, "LPT1"),
    (0x3b0, 0x3df, "VGA"),
    (0x3f0, 0x3f5, "floppy"),
    (0x3f6, 0x3f6, "IDE 1 control"),
    (0x3f7, 0x3f7, "floppy"),
    (0x402, 0x402, "firmware debug"),
    (0x4d0, 0x4d1, "PIC ELCR"),
    (0x510, 0x511, "fw_cfg"),
    (0x514, 0x51b, "fw_cfg DMA"),
    (0x600, 0x603, "ACPI PM1 event"),
    (0x604, 0x605, "ACPI PM1 control"),
    (0x608, 0x60b, "ACPI PM timer"),
    (0xcf8, 0xcf8, "PCI config address"),
    (0xcf9, 0xcf9, "reset control"),
    (0xcfc, 0xcff, "PCI config data"),
    (0x5658, 0x5659, "VMware backdoor"),
];

/// Serial ports.
const COMS: [(u64, &str); 4] = [
    (0x3f8, "COM1"),
    (0x2f8, "COM2"),
    (0x3e8, "COM3"),
    (0x2e8, "COM4"),
];

/// Their registers.
const UART: [&str; 8] = [
    "data",
    "interrupt enable",
    "interrupt ID, FIFO",
    "line control",
    "modem control",
    "line status",
    "modem status",
    "scratch",
];

/// Guest-physical addresses that all PCs have for the same. Those of PCI devices depend on the
/// guest.
const ADDRESSES: &[Range<'_>] = &[
    (0xa_0000, 0xb_ffff, "VGA"),
    (0xfec0_0000, 0xfec0_0fff, "IOAPIC"),
    (0xfed0_0000, 0xfed0_03ff, "HPET"),
    (0xfed1_c000, 0xfed1_ffff, "chipset RCBA"),
    (0xfed4_0000, 0xfed4_4fff, "TPM"),
    (0xfee0_0000, 0xfee0_0fff, "LAPIC"),
];

/// Devices of a VM, as users told them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices(Vec<Device>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    space: Space,
    first: u64,
    last: u64,
    name: String,
    line: usize,
}

impl Devices {
    /// Reads a file of devices: see [`parse`](Self::parse).
    ///
    /// # Errors
    ///
    /// If it cannot be read, or a line is wrong: says which, and what is expected.
    pub fn read(path: &Path) -> Result<Devices> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Devices::parse(&text).with_context(|| path.display().to_string())
    }

    /// Parses lines `port FIRST-LAST NAME` and `mmio FIRST-LAST NAME`, with hexadecimal numbers.
    /// `-LAST` may be left out. Empty lines, and what follows a `#`, mean nothing.
    ///
    /// # Errors
    ///
    /// If a line is wrong: says which, and what is expected.
    pub fn parse(text: &str) -> Result<Devices> {
        let mut devices = Devices::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if !line.is_empty() {
                let number = index + 1;
                let added = device(line, number).and_then(|device| devices.add(device));
                added.with_context(|| format!("line {number}"))?;
            }
        }
        Ok(devices)
    }

    fn add(&mut self, device: Device) -> Result<()> {
        let overlaps = |other: &&Device| {
            other.space == device.space && other.first <= device.last && device.first <= other.last
        };
        if let Some(other) = self.0.iter().find(overlaps) {
            bail!("it overlaps with {} in line {}", other.name, other.line);
        }
        self.0.push(device);
        Ok(())
    }

    /// The names of the devices in a range, which users told or all PCs have.
    fn name(&self, space: Space, first: u64, last: u64) -> Option<String> {
        let is_here = |from: u64, to: u64| from <= last && first <= to;
        let told = (self.0.iter()).filter(|d| d.space == space && is_here(d.first, d.last));
        let told: Vec<&str> = told.map(|device| &*device.name).collect();
        if !told.is_empty() {
            return Some(told.join(", "));
        }
        let known = match space {
            Space::Port => PORTS,
            Space::Mmio => ADDRESSES,
        };
        let known = known.iter().find(|(from, to, _)| is_here(*from, *to));
        known.map(|(.., name)| (*name).into())
    }

    /// The name of a port's device.
    pub fn port(&self, port: u64) -> Option<String> {
        let com = || {
            let mut coms = COMS.iter().filter_map(|(first, name)| {
                let register = UART.get(usize::try_from(port.checked_sub(*first)?).ok()?)?;
                Some(format!("{name} {register}"))
            });
            coms.next()
        };
        self.name(Space::Port, port, port).or_else(com)
    }

    /// The names of the devices in a page.
    pub fn page(&self, address: u64) -> Option<String> {
        let first = address & !(PAGE - 1);
        self.name(Space::Mmio, first, first | (PAGE - 1))
    }
}

const FORM: &str = "it must be: port or mmio, a hexadecimal range, and a name, for example \
                    mmio 0xfebd1000-0xfebd1fff virtio-net";

/// Parses a line.
fn device(line: &str, number: usize) -> Result<Device> {
    let (space, rest) = line.split_once(char::is_whitespace).context(FORM)?;
    let (range, name) = rest
        .trim_start()
        .split_once(char::is_whitespace)
        .context(FORM)?;
    let (space, most) = match space {
        "port" => (Space::Port, 0xffff),
        "mmio" => (Space::Mmio, (1 << 52) - 1),
        _ => bail!("{space:?} is neither port nor mmio: {FORM}"),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let hex = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let number = u64::from_str_radix(digits, 16).ok();
        number.with_context(|| format!("{text:?} is not a hexadecimal number: {FORM}"))
    };
    let (first, last) = (hex(first)?, hex(last)?);
    ensure!(first <= last, "{range}: the last is below the first");
    ensure!(last <= most, "{range}: the highest possible is {most:#x}");
    let name = name.trim();
    ensure!(
        name.chars().all(|c| !c.is_control()),
        "{name:?} is not a name"
    );
    Ok(Device {
        space,
        first,
        last,
        name: name.into(),
        line: number,
    })
}
