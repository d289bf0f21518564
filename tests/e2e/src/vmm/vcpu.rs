// SPDX-License-Identifier: GPL-2.0
//! A virtual CPU, and how it runs programs.

use super::memory::Memory;
use super::ops::Op;
use super::program::{GARBAGE, Program, Query, Regs};
use super::stat::Stat;
use super::{interpreter, layout, port};
use crate::harness::watchdog;
use anyhow::{Context, Result, bail, ensure};
use kvm_bindings::{KVM_MP_STATE_RUNNABLE, kvm_mp_state, kvm_segment};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::sync::Arc;

/// How a run ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// A triple fault. The vCPU has been reset.
    Shutdown,
    /// The CPU refused the guest's state. The vCPU has been reset.
    Refused,
}

/// A virtual CPU with its window of guest memory.
pub struct Vcpu {
    pub(super) fd: VcpuFd,
    pub(super) memory: Arc<Memory>,
    stat: Stat,
    interrupts: bool,
    window: u32,
}

impl Vcpu {
    /// The vCPU `id`, ready to run programs. `irqchip` tells whether KVM has its
    /// local APIC.
    pub(super) fn new(fd: VcpuFd, id: u32, memory: Arc<Memory>, irqchip: bool) -> Result<Self> {
        let mut vcpu = Self {
            stat: Stat::open(&fd, "exits")?,
            fd,
            interrupts: !irqchip,
            window: layout::WINDOWS + id * layout::WINDOW,
            memory,
        };
        vcpu.reset()?;
        if irqchip {
            vcpu.use_tsc_deadline()?;
            // Others than the first would wait for the first to start them.
            let mp_state = KVM_MP_STATE_RUNNABLE;
            vcpu.fd.set_mp_state(kvm_mp_state { mp_state })?;
        }
        vcpu.warm_up()?;
        Ok(vcpu)
    }

    /// Runs `program` to its end, and returns what it read.
    pub fn run(&mut self, program: &Program) -> Result<Vec<Regs>> {
        match self.run_to_end(program)? {
            (End::Done, results) => Ok(results),
            (end, _) => bail!("the guest's run ended with {end:?}"),
        }
    }

    /// Runs `program`, and also tells how the run ended.
    pub fn run_to_end(&mut self, program: &Program) -> Result<(End, Vec<Regs>)> {
        let bytes = program.bytes();
        let len = program.reads() * size_of::<Regs>();
        let table = layout::TABLE as usize;
        ensure!(bytes.len() <= table && len <= table, "program too long");
        self.memory.write(self.results(), &vec![0xa5; len]);
        self.memory.write(self.commands(), &bytes);
        let end = self.enter()?;
        let mut out = vec![0; len];
        self.memory.read(self.results(), &mut out);
        let word = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("four bytes"));
        let regs = |b: &[u8]| {
            let mut words = b.chunks_exact(4).map(word);
            [(); 4].map(|()| words.next().unwrap_or(GARBAGE))
        };
        Ok((end, out.chunks_exact(size_of::<Regs>()).map(regs).collect()))
    }

    /// Runs one CPUID.
    pub fn cpuid(&mut self, eax: u32, ecx: u32) -> Result<Regs> {
        Ok(self.cpuids(&[(eax, ecx)])?[0])
    }

    /// Runs a CPUID for each query.
    pub fn cpuids(&mut self, queries: &[Query]) -> Result<Vec<Regs>> {
        self.run(&Program::cpuids(queries))
    }

    /// Does `count` hypercalls.
    pub fn hypercalls(&mut self, count: u32) -> Result<()> {
        self.run(&Program::repeated(Op::Vmcall, count, 0)).map(drop)
    }

    /// Its number in the VM.
    pub fn id(&self) -> u32 {
        (self.window - layout::WINDOWS) / layout::WINDOW
    }

    /// KVM's `exits` statistic of this vCPU.
    pub fn exits(&self) -> Result<u64> {
        self.stat.read()
    }

    /// KVM's statistic `name` of this vCPU, which can be read while the vCPU runs.
    pub fn stat(&self, name: &str) -> Result<Stat> {
        Stat::open(&self.fd, name)
    }

    /// Halts until the thread is kicked, and wakes then. The VM must have an irqchip.
    pub fn halt_until_kicked(&mut self) -> Result<()> {
        let program = Program::repeated(Op::Hlt, 1, 0);
        self.memory.write(self.commands(), &program.bytes());
        match self.fd.run() {
            Err(e) if e.errno() == libc::EINTR => {}
            Err(e) => return Err(e).context("KVM_RUN"),
            Ok(exit) => {
                let exit = format!("{exit:?}");
                ensure!(exit == "Intr", "a kick ended the halt with {exit}");
            }
        }
        let mp_state = KVM_MP_STATE_RUNNABLE;
        self.fd.set_mp_state(kvm_mp_state { mp_state })?;
        let end = self.enter()?;
        ensure!(end == End::Done, "the halt ended with {end:?}");
        Ok(())
    }

    /// Gives FS a selector that its descriptor forbids. A CPU without unrestricted
    /// guests refuses such a state, so KVM emulates instructions until the guest has
    /// mended it ([`Op::MendFs`]).
    pub fn spoil_fs(&mut self) -> Result<()> {
        let mut sregs = self.fd.get_sregs()?;
        sregs.fs.selector |= 3;
        Ok(self.fd.set_sregs(&sregs)?)
    }

    /// The frequency of the vCPU's TSC, which is the host's.
    pub fn tsc_khz(&self) -> Result<u32> {
        Ok(self.fd.get_tsc_khz()?)
    }

    /// Enters the guest, and serves its exits to userspace, until it is done.
    pub(super) fn enter(&mut self) -> Result<End> {
        loop {
            let exit = match self.fd.run() {
                Ok(exit) => exit,
                Err(e) if e.errno() == libc::EINTR || e.errno() == libc::EAGAIN => {
                    self.check()?;
                    continue;
                }
                Err(e) => return Err(e).context("KVM_RUN"),
            };
            match exit {
                VcpuExit::IoOut(port::DONE, _) => return Ok(End::Done),
                VcpuExit::IoOut(port::FAULT, data) => {
                    let stub = u32::from_le_bytes(data.try_into()?);
                    let vector = interpreter::vector_of(stub);
                    bail!("vector {vector} in the guest, {:x?}", self.fd.get_regs()?);
                }
                VcpuExit::IoOut(port::WINDOW, _) => {
                    self.fd.get_kvm_run().request_interrupt_window = 1;
                }
                VcpuExit::IoOut(port::NMIS, _) => {
                    self.fd.nmi()?;
                    self.fd.nmi()?;
                }
                VcpuExit::IrqWindowOpen => {
                    self.fd.get_kvm_run().request_interrupt_window = 0;
                }
                VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data) => data.fill(port::FILL),
                VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..) | VcpuExit::Hlt => {}
                VcpuExit::Intr => self.check()?,
                VcpuExit::Shutdown => {
                    self.reset()?;
                    return Ok(End::Shutdown);
                }
                VcpuExit::FailEntry(..) => {
                    self.reset()?;
                    return Ok(End::Refused);
                }
                other => {
                    let other = format!("{other:?}");
                    bail!("unexpected exit {other}, {:x?}", self.fd.get_regs()?);
                }
            }
        }
    }

    /// Fails once the test's time is up, with the guest's registers.
    fn check(&self) -> Result<()> {
        watchdog::check().with_context(|| match (self.fd.get_regs(), self.exits()) {
            (Ok(regs), Ok(exits)) => format!("vCPU {}, {exits} exits, {regs:x?}", self.id()),
            (regs, exits) => format!("vCPU {}, {exits:?} exits, {regs:?}", self.id()),
        })
    }

    /// Sets flat 32-bit protected mode, paging off, at the interpreter's start.
    pub(super) fn reset(&mut self) -> Result<()> {
        let segment = |selector, type_| kvm_segment {
            limit: u32::MAX,
            selector,
            type_,
            present: 1,
            db: 1,
            s: 1,
            g: 1,
            ..Default::default()
        };
        let data = segment(layout::DATA_SEL, 3);
        let mut sregs = self.fd.get_sregs()?;
        sregs.cs = segment(layout::CODE_SEL, 11);
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
        (sregs.fs, sregs.gs) = (data, data);
        sregs.gdt.base = u64::from(layout::GDT);
        sregs.gdt.limit = 23;
        sregs.idt.base = u64::from(layout::IDT);
        sregs.idt.limit = 256 * 8 - 1;
        sregs.cr0 = 0x31; // PE, ET, NE
        sregs.cr4 = 0;
        self.fd.set_sregs(&sregs)?;
        let mut regs = self.fd.get_regs()?;
        regs.rip = u64::from(interpreter::entry());
        // With IF clear Bochs lets no interrupt of the host end the guest's run, not
        // even the watchdog's. But a LAPIC's timer must not interrupt the guest.
        regs.rflags = if self.interrupts { 0x202 } else { 2 };
        regs.rsi = u64::from(self.commands());
        regs.rdi = u64::from(self.results());
        regs.rsp = u64::from(self.window + layout::WINDOW);
        self.fd.set_regs(&regs)?;
        Ok(())
    }

    /// Touches every page that programs use, so that later runs cause no EPT violations
    /// of their own.
    fn warm_up(&mut self) -> Result<()> {
        let mut program = Program::new();
        program.repeat(Op::Touch, layout::SHARED_PAGES, 0);
        program.repeat(Op::Touch, layout::WINDOW / layout::PAGE, self.window);
        self.run(&program).context("warm-up")?;
        Ok(())
    }

    /// Switches the local APIC on, with its timer in TSC-deadline mode.
    fn use_tsc_deadline(&mut self) -> Result<()> {
        let mut lapic = self.fd.get_lapic()?;
        let mut set = |register: usize, value: u32| {
            let bytes = value.to_le_bytes();
            for (to, from) in lapic.regs[register..].iter_mut().zip(bytes) {
                *to = libc::c_char::from_ne_bytes([from]);
            }
        };
        set(0xf0, 0x1ff); // spurious vector, APIC enabled
        set(0x320, 2 << 17 | 0x40); // timer
        self.fd.set_lapic(&lapic)?;
        Ok(())
    }

    fn results(&self) -> u32 {
        self.window
    }

    fn commands(&self) -> u32 {
        self.window + layout::TABLE
    }
}
