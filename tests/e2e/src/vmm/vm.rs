// SPDX-License-Identifier: GPL-2.0
//! A VMM just large enough for the bare guests of [`crate::vmm::guest`].

use crate::harness::watchdog;
use crate::vmm::cpu::{self, Feature};
use crate::vmm::guest::{self, GARBAGE, Program, Regs, layout, port};
use crate::vmm::ops::{self, Op};
use crate::vmm::stats::Stat;
use anyhow::{Context, Result, bail, ensure};
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KVM_MP_STATE_RUNNABLE, kvm_cpuid_entry2, kvm_mp_state, kvm_msi,
    kvm_pit_config, kvm_segment, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// What a test may choose about its VM.
#[derive(Clone, Default)]
pub struct Config {
    /// vCPUs beyond the first.
    pub more_vcpus: u8,
    /// KVM's own interrupt controllers; the LAPIC's timer is then in
    /// TSC-deadline mode.
    pub irqchip: bool,
    /// What the guest must not use, although the CPU has it.
    pub without: Option<Feature>,
    /// KVM's own interval timer, too.
    pub pit: bool,
    /// RAM that the host has taken pages for already.
    pub populated: bool,
    /// CPUID entries that the VMM sets itself.
    pub entries: Vec<kvm_cpuid_entry2>,
}

/// A VM and its vCPUs, ready to run programs.
pub struct Vm {
    pub vcpus: Vec<Vcpu>,
    /// The thread that made it, as which KVM knows it.
    pub pid: libc::pid_t,
    // Closed last: this is when KVM lets go of the VM.
    fd: VmFd,
}

/// Why a run that was not completed ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// Triple fault; the vCPU has been reset.
    Shutdown,
    /// The CPU refused the guest's state; the vCPU has been reset.
    Refused,
}

/// One virtual CPU with its window of guest memory.
pub struct Vcpu {
    pub fd: VcpuFd,
    pub memory: Arc<Memory>,
    stat: Stat,
    interrupts: bool,
    window: u32,
}

impl Vm {
    pub fn new(config: &Config) -> Result<Self> {
        let kvm = Kvm::new().context("/dev/kvm")?;
        let fd = kvm.create_vm().context("KVM_CREATE_VM")?;
        fd.set_tss_address(0xfffb_d000)?;
        if config.irqchip {
            fd.create_irq_chip()?;
        }
        if config.pit {
            fd.create_pit2(kvm_pit_config::default())?;
        }
        let memory = Arc::new(Memory::new(config.populated)?);
        let region = kvm_userspace_memory_region {
            guest_phys_addr: 0,
            memory_size: layout::RAM as u64,
            userspace_addr: memory.start.addr() as u64,
            ..Default::default()
        };
        // SAFETY: nothing else of the process lies in the mapping, and every
        // vCPU that could reach it holds it.
        unsafe { fd.set_user_memory_region(region) }?;
        memory.load_guest();

        let mut vcpus = Vec::new();
        for id in 0..=u32::from(config.more_vcpus) {
            let vcpu = fd.create_vcpu(u64::from(id))?;
            vcpu.set_cpuid2(&cpuid(&kvm, config, id)?)?;
            let mut vcpu = Vcpu {
                stat: Stat::open(&vcpu, "exits")?,
                fd: vcpu,
                interrupts: !config.irqchip,
                window: layout::WINDOWS + id * layout::WINDOW,
                memory: Arc::clone(&memory),
            };
            vcpu.reset()?;
            if config.irqchip {
                vcpu.use_tsc_deadline()?;
                // Others than the first would wait for it to start them.
                let mp_state = KVM_MP_STATE_RUNNABLE;
                vcpu.fd.set_mp_state(kvm_mp_state { mp_state })?;
            }
            vcpu.warm_up()?;
            vcpus.push(vcpu);
        }
        Ok(Self {
            vcpus,
            // SAFETY: the call has no requirements.
            pid: unsafe { libc::gettid() },
            fd,
        })
    }

    /// vCPUs more, which never run.
    pub fn add_idle(&self, vcpus: u32) -> Result<Vec<VcpuFd>> {
        let first = self.vcpus.len() as u64;
        let ids = first..first + u64::from(vcpus);
        Ok(ids
            .map(|id| self.fd.create_vcpu(id))
            .collect::<Result<_, _>>()?)
    }

    /// Sends the first vCPU an INIT, which resets it, and has it start anew: of a VM
    /// with an irqchip.
    pub fn reset(&mut self) -> Result<()> {
        const INIT: u32 = 5 << 8;
        let msi = kvm_msi {
            address_lo: 0xfee0_0000,
            data: INIT,
            ..Default::default()
        };
        let sent = self.fd.signal_msi(msi).context("KVM_SIGNAL_MSI")?;
        ensure!(sent > 0, "nobody took the INIT");
        // It does not notice before it is asked for its state, or runs.
        let vcpu = &mut self.vcpus[0];
        vcpu.fd.get_mp_state().context("KVM_GET_MP_STATE")?;
        let ip = vcpu.fd.get_regs()?.rip;
        ensure!(ip == 0xfff0, "the vCPU is at {ip:#x} after an INIT");
        vcpu.reset()
    }

    /// A VM with so many vCPUs and nothing special.
    pub fn with_vcpus(count: u8) -> Result<Self> {
        Self::new(&Config {
            more_vcpus: count - 1,
            ..Config::default()
        })
    }

    /// A VM with one vCPU and nothing special.
    pub fn plain() -> Result<Self> {
        Self::new(&Config::default())
    }

    /// What KVM's debugfs calls it.
    pub fn name(&self) -> String {
        format!("{}-{}", self.pid, self.fd.as_raw_fd())
    }

    /// Runs `program` on the first vCPU.
    pub fn run(&mut self, program: &Program) -> Result<Vec<Regs>> {
        self.vcpus[0].run(program)
    }

    /// KVM's `exits` statistic over all vCPUs.
    pub fn exits(&self) -> Result<u64> {
        self.vcpus.iter().map(Vcpu::exits).sum()
    }
}

/// A VM without memory, whose vCPUs never run: there can be many.
pub struct Bare {
    vcpus: Vec<VcpuFd>,
    pid: libc::pid_t,
    // Closed last.
    fd: VmFd,
}

impl Bare {
    pub fn new(vcpus: u32) -> Result<Self> {
        let kvm = Kvm::new().context("/dev/kvm")?;
        let mut vm = Self {
            vcpus: Vec::new(),
            // SAFETY: the call has no requirements.
            pid: unsafe { libc::gettid() },
            fd: kvm.create_vm().context("KVM_CREATE_VM")?,
        };
        for _ in 0..vcpus {
            vm.add_vcpu()?;
        }
        Ok(vm)
    }

    /// One vCPU more.
    pub fn add_vcpu(&mut self) -> Result<()> {
        let id = self.vcpus.len() as u64;
        self.vcpus.push(self.fd.create_vcpu(id)?);
        Ok(())
    }

    /// What KVM's debugfs calls it.
    pub fn name(&self) -> String {
        format!("{}-{}", self.pid, self.fd.as_raw_fd())
    }
}

impl Vcpu {
    /// Runs `program` to its end and returns what it read.
    pub fn run(&mut self, program: &Program) -> Result<Vec<Regs>> {
        match self.run_to_end(program)? {
            (End::Done, results) => Ok(results),
            (end, _) => bail!("the guest's run ended with {end:?}"),
        }
    }

    /// Runs `program`; also tells whether a triple fault cut it short.
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

    /// Its number in the VM.
    pub fn id(&self) -> u32 {
        (self.window - layout::WINDOWS) / layout::WINDOW
    }

    /// KVM's `exits` statistic of this vCPU.
    pub fn exits(&self) -> Result<u64> {
        self.stat.read()
    }

    /// The same, to be read while the vCPU runs.
    pub fn stat(&self) -> Result<Stat> {
        Stat::open(&self.fd, "exits")
    }

    /// Gives FS a selector that its descriptor does not allow. A CPU without
    /// unrestricted guests refuses such a state, so KVM emulates instructions
    /// until the guest has mended it ([`Op::MendFs`]).
    pub fn spoil_fs(&mut self) -> Result<()> {
        let mut sregs = self.fd.get_sregs()?;
        sregs.fs.selector |= 3;
        Ok(self.fd.set_sregs(&sregs)?)
    }

    /// The frequency of the vCPU's TSC, the host's.
    pub fn tsc_khz(&self) -> Result<u32> {
        Ok(self.fd.get_tsc_khz()?)
    }

    /// Does the guest's bidding until it is done.
    pub fn enter(&mut self) -> Result<End> {
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
                    let vector = guest::vector_of(stub);
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

    /// Fails once the test's time is up, and tells where the guest is.
    fn check(&self) -> Result<()> {
        watchdog::check().with_context(|| match (self.fd.get_regs(), self.exits()) {
            (Ok(regs), Ok(exits)) => format!("vCPU {}, {exits} exits, {regs:x?}", self.id()),
            (regs, exits) => format!("vCPU {}, {exits:?} exits, {regs:?}", self.id()),
        })
    }

    /// Flat 32-bit protected mode, paging off, at the interpreter's start.
    fn reset(&mut self) -> Result<()> {
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
        regs.rip = u64::from(guest::entry());
        // With IF clear Bochs lets no interrupt of the host end the guest's
        // run, not even that of a watchdog. Where the guest has a LAPIC, its
        // timer must not interrupt it.
        regs.rflags = if self.interrupts { 0x202 } else { 2 };
        regs.rsi = u64::from(self.commands());
        regs.rdi = u64::from(self.results());
        regs.rsp = u64::from(self.window + layout::WINDOW);
        self.fd.set_regs(&regs)?;
        Ok(())
    }

    /// Touches every page that programs use, so that later runs cause no EPT
    /// violation of their own.
    fn warm_up(&mut self) -> Result<()> {
        let mut program = Program::new();
        program.repeat(Op::Touch, layout::SHARED_PAGES, 0);
        program.repeat(Op::Touch, layout::WINDOW / layout::PAGE, self.window);
        self.run(&program).context("warm-up")?;
        Ok(())
    }

    /// Local APIC on, its timer in TSC-deadline mode.
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

/// What KVM supports, with the hypervisor bit, and the VMM's own entries.
fn cpuid(kvm: &Kvm, config: &Config, id: u32) -> Result<CpuId> {
    let mut cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
    for entry in cpuid.as_mut_slice() {
        if let Some(feature) = config.without {
            feature.remove_from(entry);
        }
        match entry.function {
            1 => {
                entry.ecx |= 1 << 31;
                if config.irqchip {
                    // Never reported as supported: it hangs on the irqchip.
                    entry.ecx |= 1 << 24;
                }
                entry.ebx = entry.ebx & 0x00ff_ffff | id << 24;
            }
            // KVM reports the APIC ID of the CPU that it was asked on.
            0xb | 0x1f => entry.edx = id,
            _ => {}
        }
    }
    for entry in &config.entries {
        cpuid
            .push(*entry)
            .map_err(|e| anyhow::anyhow!("room for a CPUID entry: {e:?}"))?;
    }
    Ok(cpuid)
}

/// The guest's RAM.
pub struct Memory {
    start: *mut u8,
}

// SAFETY: the pointer is to a shared mapping that is only copied to and from;
// guests change it at any time anyway, and no reference into it is formed.
unsafe impl Send for Memory {}
// SAFETY: as above; vCPUs use disjoint windows.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(populated: bool) -> Result<Self> {
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
        // A huge page would serve many first touches at once; a kernel
        // without them says EINVAL, which is as good.
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(start, layout::RAM, libc::MADV_NOHUGEPAGE) };
        Ok(Self {
            start: start.cast(),
        })
    }

    fn load_guest(&self) {
        let descriptor = |access: u64| 0x00cf_0000_0000_ffff | access << 40;
        for (i, entry) in [0, descriptor(0x9b), descriptor(0x93)].iter().enumerate() {
            self.write(layout::GDT + 8 * i as u32, &entry.to_le_bytes());
        }
        for vector in 0..256 {
            let handler = u64::from(guest::handler(vector));
            let gate = handler & 0xffff
                | u64::from(layout::CODE_SEL) << 16
                | 0x8e00 << 32
                | handler >> 16 << 48;
            self.write(layout::IDT + 8 * vector, &gate.to_le_bytes());
        }
        self.write(layout::CODE, guest::code());
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
        // SAFETY: the mapping was made by `new` and ends with its owner; the
        // VM that used it is gone, or holds its pages only.
        unsafe { libc::munmap(self.start.cast(), layout::RAM) };
    }
}
