// SPDX-License-Identifier: GPL-2.0
//! Virtual machines.

use super::cpu::Feature;
use super::layout;
use super::memory::Memory;
use super::program::{Program, Query, Regs};
use super::vcpu::Vcpu;
use crate::harness::threads;
use anyhow::{Context, Result, ensure};
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2, kvm_msi, kvm_pit_config,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// What a test may choose about its VM.
#[derive(Clone, Default)]
pub struct Config {
    /// vCPUs beyond the first.
    pub more_vcpus: u8,
    /// KVM's own interrupt controllers, with the LAPIC's timer in TSC-deadline mode.
    pub irqchip: bool,
    /// A feature that the CPU has and the guest does not.
    pub without: Option<Feature>,
    /// KVM's own interval timer.
    pub pit: bool,
    /// RAM with pages that the host has allocated already.
    pub populated: bool,
    /// CPUID entries that the VMM sets itself.
    pub entries: Vec<kvm_cpuid_entry2>,
}

/// A VM and its vCPUs, ready to run programs.
pub struct Vm {
    pub vcpus: Vec<Vcpu>,
    /// The thread that made it, whose number is in KVM's name of it.
    pub pid: libc::pid_t,
    // The last field, so that KVM lets go of the VM when it is closed.
    fd: VmFd,
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
            userspace_addr: memory.address(),
            ..Default::default()
        };
        // SAFETY: the mapping holds nothing else of this process, and every vCPU that
        // could reach it keeps it alive.
        unsafe { fd.set_user_memory_region(region) }?;
        memory.load_guest();

        let mut vcpus = Vec::new();
        for id in 0..=u32::from(config.more_vcpus) {
            let vcpu = fd.create_vcpu(u64::from(id))?;
            vcpu.set_cpuid2(&cpuid(&kvm, config, id)?)?;
            let memory = Arc::clone(&memory);
            vcpus.push(Vcpu::new(vcpu, id, memory, config.irqchip)?);
        }
        Ok(Self {
            vcpus,
            pid: threads::id(),
            fd,
        })
    }

    /// Adds vCPUs that never run.
    pub fn add_idle(&self, vcpus: u32) -> Result<Vec<VcpuFd>> {
        let first = self.vcpus.len() as u64;
        let ids = first..first + u64::from(vcpus);
        Ok(ids
            .map(|id| self.fd.create_vcpu(id))
            .collect::<Result<_, _>>()?)
    }

    /// Sends the first vCPU an INIT, which resets it, and makes it ready again. The VM
    /// must have an irqchip.
    pub fn reset(&mut self) -> Result<()> {
        const INIT: u32 = 5 << 8;
        let msi = kvm_msi {
            address_lo: 0xfee0_0000,
            data: INIT,
            ..Default::default()
        };
        let sent = self.fd.signal_msi(msi).context("KVM_SIGNAL_MSI")?;
        ensure!(sent > 0, "nobody took the INIT");
        // KVM delivers it when the vCPU runs, or is asked for its state.
        let vcpu = &mut self.vcpus[0];
        vcpu.fd.get_mp_state().context("KVM_GET_MP_STATE")?;
        let ip = vcpu.fd.get_regs()?.rip;
        ensure!(ip == 0xfff0, "the vCPU is at {ip:#x} after an INIT");
        vcpu.reset()
    }

    /// A VM with `count` vCPUs, and nothing else.
    pub fn with_vcpus(count: u8) -> Result<Self> {
        Self::new(&Config {
            more_vcpus: count - 1,
            ..Config::default()
        })
    }

    /// A VM with one vCPU, and nothing else.
    pub fn plain() -> Result<Self> {
        Self::new(&Config::default())
    }

    /// Its name in KVM's debugfs.
    pub fn name(&self) -> String {
        format!("{}-{}", self.pid, self.fd.as_raw_fd())
    }

    /// Runs `program` on the first vCPU.
    pub fn run(&mut self, program: &Program) -> Result<Vec<Regs>> {
        self.vcpus[0].run(program)
    }

    /// Runs one CPUID on the first vCPU.
    pub fn cpuid(&mut self, eax: u32, ecx: u32) -> Result<Regs> {
        self.vcpus[0].cpuid(eax, ecx)
    }

    /// Runs a CPUID for each query on the first vCPU.
    pub fn cpuids(&mut self, queries: &[Query]) -> Result<Vec<Regs>> {
        self.vcpus[0].cpuids(queries)
    }

    /// Does `count` hypercalls on the first vCPU.
    pub fn hypercalls(&mut self, count: u32) -> Result<()> {
        self.vcpus[0].hypercalls(count)
    }

    /// The sum of KVM's `exits` statistic over all vCPUs.
    pub fn exits(&self) -> Result<u64> {
        self.vcpus.iter().map(Vcpu::exits).sum()
    }
}

/// A VM without memory, whose vCPUs never run, so that there can be many.
pub struct Bare {
    vcpus: Vec<VcpuFd>,
    pid: libc::pid_t,
    // The last field, as in [`Vm`].
    fd: VmFd,
}

impl Bare {
    pub fn new(vcpus: u32) -> Result<Self> {
        let kvm = Kvm::new().context("/dev/kvm")?;
        let mut vm = Self {
            vcpus: Vec::new(),
            pid: threads::id(),
            fd: kvm.create_vm().context("KVM_CREATE_VM")?,
        };
        for _ in 0..vcpus {
            vm.add_vcpu()?;
        }
        Ok(vm)
    }

    /// Adds a vCPU.
    pub fn add_vcpu(&mut self) -> Result<()> {
        let id = self.vcpus.len() as u64;
        self.vcpus.push(self.fd.create_vcpu(id)?);
        Ok(())
    }

    /// Its name in KVM's debugfs.
    pub fn name(&self) -> String {
        format!("{}-{}", self.pid, self.fd.as_raw_fd())
    }
}

/// The CPUID that KVM supports, with the hypervisor bit and the VMM's own entries.
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
                    // TSC-deadline: KVM never reports it, because it needs the irqchip.
                    entry.ecx |= 1 << 24;
                }
                entry.ebx = entry.ebx & 0x00ff_ffff | id << 24;
            }
            // KVM reports the APIC ID of the CPU that runs this thread.
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
