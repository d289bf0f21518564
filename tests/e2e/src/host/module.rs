// SPDX-License-Identifier: GPL-2.0
//! The host's kernel modules: which are loaded, and with what parameters.

use crate::vmm::cpu;
use anyhow::{Context, Result, bail};
use profile::isa::Isa;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// The profiler's name as a module.
pub const PROFILER: &str = "kvm_exitprof";

/// What is loaded; each state but the first includes a vendor module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Nothing,
    /// KVM as the distribution has it.
    Unpatched,
    /// Patched KVM, no profiler.
    Absent,
    /// Patched KVM and the profiler.
    Profiled,
}

/// The emulated host.
pub struct Host {
    dir: PathBuf,
    vendor: &'static str,
    state: Option<State>,
    /// Whether the profiler was loaded without parameters.
    plain: bool,
}

impl Host {
    /// The host whose modules are below `dir`: `unpatched/` and `patched/`
    /// with KVM's, the profiler beside them.
    pub fn new(dir: &Path) -> Result<Self> {
        let vendor = match cpu::find() {
            Some(Isa::Vmx) => "kvm-intel",
            Some(Isa::Svm) => "kvm-amd",
            None => bail!("this CPU has neither VMX nor SVM"),
        };
        Ok(Self {
            dir: dir.to_owned(),
            vendor,
            state: None,
            plain: true,
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

    /// Patched KVM and a profiler that has counted nothing yet, loaded with
    /// `params`, which the next test does not get.
    pub fn reload(&mut self, params: &str) -> Result<()> {
        self.reach(State::Absent)?;
        self.load_profiler(params)?;
        self.state = Some(State::Profiled);
        self.plain = params.is_empty();
        Ok(())
    }

    /// To be called by a test that changes what is loaded by itself, or that
    /// failed: the next one starts from nothing.
    pub fn forget(&mut self) {
        self.state = None;
    }

    /// Loads kvm.ko, and what it needs.
    pub fn load_kvm(&self, patched: bool) -> Result<()> {
        let shared = self.dir.join("irqbypass.ko");
        if shared.exists() && !is_loaded("irqbypass") {
            insert(&shared, "")?;
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

    /// Tries to load the profiler, whatever the host thinks is loaded.
    pub fn insert_profiler(&self, params: &str) -> io::Result<()> {
        insert(&self.profiler(), params)
    }

    /// The file that holds the profiler.
    pub fn profiler(&self) -> PathBuf {
        self.dir.join(format!("{PROFILER}.ko"))
    }

    pub fn load_profiler(&self, params: &str) -> Result<()> {
        self.insert_profiler(params).context("loading the profiler")
    }

    pub fn unload_profiler(&self) -> Result<()> {
        remove(PROFILER).context("unloading the profiler")
    }

    /// Unloads whatever of ours and KVM's is there.
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

/// Whether the kernel lists the module.
pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module")
        .join(name)
        .join("initstate")
        .exists()
}

/// `insmod path params`.
pub fn insert(path: &Path, params: &str) -> io::Result<()> {
    let file = File::open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let params = CString::new(params)?;
    // SAFETY: an open file and a NUL-terminated string, both alive meanwhile.
    let r = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), params.as_ptr(), 0) };
    result(r)
}

/// `rmmod name`. What has just been closed may take a moment to be let go.
pub fn remove(name: &str) -> io::Result<()> {
    let mut tries = 50;
    loop {
        match remove_now(name) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && tries > 0 => tries -= 1,
            other => return other,
        }
        sleep(Duration::from_millis(20));
    }
}

/// The same, at the first attempt.
pub fn remove_now(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: a NUL-terminated string, alive meanwhile.
    result(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) })
}

fn result(r: libc::c_long) -> io::Result<()> {
    if r == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The name of an error number, for those that the tests expect.
pub fn errno(result: &io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(-1),
    }
}

/// What strerror says, for messages.
pub fn describe(errno: i32) -> String {
    if errno == 0 {
        return "success".into();
    }
    // SAFETY: strerror returns a NUL-terminated string for any number; it is
    // copied before another call could change it, as only one thread asks.
    let text = unsafe { CStr::from_ptr(libc::strerror(errno)) };
    text.to_string_lossy().into_owned()
}

/// Reads a module's parameter.
pub fn param(module: &str, name: &str) -> Result<String> {
    let path = format!("/sys/module/{module}/parameters/{name}");
    let text = fs::read_to_string(&path).context(path)?;
    Ok(text.trim().to_owned())
}

/// Writes a module's parameter.
pub fn set_param(module: &str, name: &str, value: &str) -> Result<()> {
    let path = format!("/sys/module/{module}/parameters/{name}");
    fs::write(&path, value).context(path)
}
