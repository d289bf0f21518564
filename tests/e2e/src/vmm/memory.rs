// SPDX-License-Identifier: GPL-2.0
//! The guest's RAM.

use super::{cpu, interpreter, layout, ops};
use anyhow::{Result, ensure};

/// A mapping that vCPUs share.
pub struct Memory {
    start: *mut u8,
}

// SAFETY: the mapping is only copied to and from. Guests change it at any time, so
// nobody forms a reference into it.
unsafe impl Send for Memory {}
// SAFETY: as above. vCPUs use disjoint windows.
unsafe impl Sync for Memory {}

impl Memory {
    /// All of the RAM, with the host's pages allocated now if `populated`.
    pub fn new(populated: bool) -> Result<Self> {
        let populate = if populated { libc::MAP_POPULATE } else { 0 };
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                layout::RAM,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | populate,
                -1,
                0,
            )
        };
        ensure!(start != libc::MAP_FAILED, "mmap of the guest's RAM");
        // A huge page would serve many first touches at once. A kernel without them
        // says EINVAL, which is as good.
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(start, layout::RAM, libc::MADV_NOHUGEPAGE) };
        Ok(Self {
            start: start.cast(),
        })
    }

    /// Where the host has the RAM.
    pub fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    /// Puts descriptor tables, interpreter and operations in their places.
    pub fn load_guest(&self) {
        let descriptor = |access: u64| 0x00cf_0000_0000_ffff | access << 40;
        for (i, entry) in [0, descriptor(0x9b), descriptor(0x93)].iter().enumerate() {
            self.write(layout::GDT + 8 * i as u32, &entry.to_le_bytes());
        }
        for vector in 0..256 {
            let handler = u64::from(interpreter::handler(vector));
            let gate = handler & 0xffff
                | u64::from(layout::CODE_SEL) << 16
                | 0x8e00 << 32
                | handler >> 16 << 48;
            self.write(layout::IDT + 8 * vector, &gate.to_le_bytes());
        }
        self.write(layout::CODE, interpreter::code());
        self.write(layout::OPS, &ops::code_for(cpu::isa()));
    }

    pub fn write(&self, at: u32, bytes: &[u8]) {
        assert!(at as usize + bytes.len() <= layout::RAM);
        // SAFETY: the range lies in the mapping, by the line above.
        unsafe {
            let to = self.start.add(at as usize);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    pub fn read(&self, at: u32, bytes: &mut [u8]) {
        assert!(at as usize + bytes.len() <= layout::RAM);
        // SAFETY: the range lies in the mapping, by the line above.
        unsafe {
            let from = self.start.add(at as usize);
            from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len());
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `new` made the mapping, and nobody else has it. The VM that used it
        // is gone, or holds its pages only.
        unsafe { libc::munmap(self.start.cast(), layout::RAM) };
    }
}
