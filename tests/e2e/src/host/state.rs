// SPDX-License-Identifier: GPL-2.0
//! The emulated host: which modules are loaded, and what its kernel complains about.

use super::debug::{self, PerCpu};
use super::kmsg::Kmsg;
use super::module::{PROFILER, insert, is_loaded, remove};
use crate::harness::Machine;
use crate::vmm::cpu::{self, Isa};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The loaded modules. Each state but the first includes KVM's vendor module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Nothing,
    /// KVM without the series.
    Unpatched,
    /// Patched KVM without the profiler.
    Absent,
    /// Patched KVM and the profiler.
    Profiled,
}

/// The host on which the tests run.
pub struct Host {
    dir: PathBuf,
    vendor: &'static str,
    state: Option<State>,
    /// Whether the profiler was loaded without parameters.
    plain: bool,
    log: Kmsg,
    /// Per-CPU memory before any module was loaded.
    per_cpu: PerCpu,
}

impl Host {
    /// The host whose modules are in `dir`: KVM's in `unpatched/` and `patched/`, the
    /// profiler beside them.
    pub fn new(dir: &Path) -> Result<Self> {
        let vendor = match cpu::find_isa() {
            Some(Isa::Vmx) => "kvm-intel",
            Some(Isa::Svm) => "kvm-amd",
            None => bail!("this CPU has neither VMX nor SVM"),
        };
        Ok(Self {
            dir: dir.to_owned(),
            vendor,
            state: None,
            plain: true,
            log: Kmsg::from_boot()?,
            per_cpu: PerCpu::now(),
        })
    }

    /// Loads and unloads modules until `state` is reached.
    pub fn reach(&mut self, state: State) -> Result<()> {
        if self.state == Some(state) && (state != State::Profiled || self.plain) {
            return Ok(());
        }
        if self.state == Some(State::Profiled) && state == State::Profiled {
            self.unload_profiler()?;
            self.state = Some(State::Absent);
        }
        if self.state == Some(State::Profiled) && state == State::Absent {
            self.unload_profiler()?;
        } else if self.state == Some(State::Absent) && state == State::Profiled {
            self.load_profiler("")?;
        } else {
            self.unload_all()?;
            if state != State::Nothing {
                let patched = state != State::Unpatched;
                self.load_kvm(patched)?;
                self.load_vendor(patched, "")?;
            }
            if state == State::Profiled {
                self.load_profiler("")?;
            }
        }
        self.state = Some(state);
        self.plain = true;
        Ok(())
    }

    /// Loads a profiler that has counted nothing yet, with `params`. The next test
    /// gets one without.
    pub fn reload(&mut self, params: &str) -> Result<()> {
        self.reach(State::Absent)?;
        self.load_profiler(params)?;
        self.state = Some(State::Profiled);
        self.plain = params.is_empty();
        Ok(())
    }

    /// Makes the next test start from nothing, because this one loads or unloads
    /// modules by itself.
    pub fn forget(&mut self) {
        self.state = None;
    }

    /// Reloads the vendor's module with `params`. The next test gets one without.
    pub fn reload_vendor(&mut self, patched: bool, params: &str) -> Result<()> {
        self.forget();
        self.unload_vendor()?;
        self.load_vendor(patched, params)
    }

    /// Loads kvm.ko, and the modules that are needed besides.
    pub fn load_kvm(&self, patched: bool) -> Result<()> {
        for module in fs::read_dir(self.dir.join("needed")).into_iter().flatten() {
            let path = module?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if !is_loaded(&name) {
                insert(&path, "")?;
            }
        }
        Ok(insert(&self.kvm(patched, "kvm"), "")?)
    }

    /// Loads kvm-intel.ko or kvm-amd.ko.
    pub fn load_vendor(&self, patched: bool, params: &str) -> Result<()> {
        insert(&self.kvm(patched, self.vendor), params).context(self.vendor)
    }

    pub fn unload_vendor(&self) -> Result<()> {
        remove(&self.vendor.replace('-', "_")).context(self.vendor)
    }

    /// Tries to load the profiler, whatever is loaded.
    pub fn insert_profiler(&self, params: &str) -> io::Result<()> {
        insert(&self.profiler(), params)
    }

    /// The profiler's file.
    pub fn profiler(&self) -> PathBuf {
        self.dir.join(format!("{PROFILER}.ko"))
    }

    pub fn load_profiler(&self, params: &str) -> Result<()> {
        self.insert_profiler(params).context("loading the profiler")
    }

    pub fn unload_profiler(&self) -> Result<()> {
        remove(PROFILER).context("unloading the profiler")
    }

    /// Unloads the profiler and KVM.
    pub fn unload_all(&self) -> Result<()> {
        for name in [PROFILER, "kvm_intel", "kvm_amd", "kvm"] {
            if is_loaded(name) {
                remove(name).with_context(|| format!("unloading {name}"))?;
            }
        }
        Ok(())
    }

    fn kvm(&self, patched: bool, name: &str) -> PathBuf {
        let set = if patched { "patched" } else { "unpatched" };
        self.dir.join(set).join(format!("{name}.ko"))
    }
}

impl Machine for Host {
    type State = State;

    fn reach(&mut self, state: State) -> Result<()> {
        Host::reach(self, state)
    }

    fn forget(&mut self) {
        Host::forget(self);
    }

    fn complaints(&mut self) -> Vec<String> {
        self.log.splats()
    }

    fn clean_up(&mut self) -> Vec<String> {
        let unloaded = self.unload_all().err();
        let mut wrong: Vec<_> = unloaded.map(|e| format!("{e:#}")).into_iter().collect();
        wrong.extend(self.per_cpu.grown());
        wrong.extend(debug::leaks().unwrap_or_else(|e| vec![format!("{e:#}")]));
        wrong.extend(self.log.splats());
        wrong
    }

    fn last_words() -> Vec<String> {
        let log = Kmsg::from_boot().and_then(|mut log| log.drain());
        let mut log = log.unwrap_or_default();
        log.split_off(log.len().saturating_sub(40))
    }

    fn patience() -> u64 {
        debug::patience()
    }
}
