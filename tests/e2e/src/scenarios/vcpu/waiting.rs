// SPDX-License-Identifier: GPL-2.0
//! A tenant that waits, for memory or for a reader, waits alone: other VMs come and go.

use crate::harness::{Skip, Test, threads, watchdog};
use crate::host::debugfs::{PROFILER as DIR, vcpu_dir, vm_dir};
use crate::host::module::{PROFILER, describe, errno, remove_now};
use crate::host::tenant::{Cgroup, Tenant};
use crate::host::{Call, Host, State, StuckReader, debug};
use crate::vmm::{Bare, Vm};
use anyhow::{Context, Result, anyhow, ensure};
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("vcpu.stuck_reader", State::Absent, stuck_reader),
        Test::new("vcpu.stuck_directory", State::Absent, stuck_directory),
        // It waits until a tenant sleeps at the right place.
        Test::new("vcpu.slow_allocation", State::Absent, slow_allocation).seconds(900),
    ]
}

/// How many VMs come and go.
const VMS: u32 = 50;

/// Makes and destroys VMs, one after the other.
fn come_and_go() -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..VMS {
        watchdog::check()?;
        drop(Bare::new(2)?);
    }
    Ok(start.elapsed())
}

/// Does `body` in a thread that must end within `time`. Otherwise the thread stays
/// behind, and ends when its wait does.
fn within<T: Send + 'static>(
    time: Duration,
    what: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (done, result) = mpsc::channel();
    // Nobody receives the result of a thread that is late.
    thread::spawn(move || drop(done.send(body())));
    result
        .recv_timeout(time)
        .map_err(|_| anyhow!("{what} has not ended after {time:.1?}"))
}

/// Checks that VMs come and go as fast as `alone`, when nobody is stuck.
fn others_go_on(alone: Duration) -> Result<Duration> {
    let most = 10 * alone + Duration::from_secs(2) * u32::try_from(debug::patience())?;
    within(most, "the coming and going of others", come_and_go)?
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| path.display().to_string())
}

/// Readers of a VM's, a vCPU's and the host's files are stuck. Neither that VM nor any
/// other waits for them when it begins or ends.
fn stuck_reader(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let alone = come_and_go()?;
    let vm = Vm::with_vcpus(2)?;
    let gone = vm_dir(&vm);
    let paths = [
        vcpu_dir(&vm, 0).join("exits"),
        vm_dir(&vm).join("exits"),
        Path::new(DIR).join("exits"),
        Path::new(DIR).join("vcpus"),
        Path::new(DIR).join("profile"),
    ];
    let mut stuck = Vec::new();
    for path in &paths {
        stuck.push(StuckReader::reading(open(path)?, Call::Read)?);
    }
    let beside = others_go_on(alone)?;
    let start = Instant::now();
    let most = Duration::from_secs(5) * u32::try_from(debug::patience())?;
    within(most, "the VM's end", move || drop(vm))?;
    let ended = start.elapsed();
    ensure!(!gone.exists(), "{} is still there", gone.display());
    let after = others_go_on(alone)?;
    // Other readers get on, too.
    let (dir, names) = (Path::new(DIR), ["exits", "vcpus", "profile"]);
    for path in names.map(|name| dir.join(name)) {
        within(most, "another reader", move || fs::read(path))??;
    }
    let got = errno(&remove_now(PROFILER));
    ensure!(got == libc::EAGAIN, "rmmod: {}", describe(got));
    for (stuck, path) in stuck.into_iter().zip(&paths) {
        let read = stuck.release()?;
        ensure!(read > 0, "{} is empty", path.display());
    }
    host.reach(State::Absent)?;
    Ok(format!(
        "{VMS} VMs in {alone:.1?}, in {beside:.1?} beside {} stuck readers and, when \
         the VM had ended in {ended:.1?}, in {after:.1?}",
        paths.len()
    ))
}

/// A stuck reader lists a VM's directory, which is locked meanwhile. A new vCPU of that
/// VM cannot be attached then, but nobody else waits for it.
fn stuck_directory(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let alone = come_and_go()?;
    let mut vm = Bare::new(1)?;
    let dir = Path::new(DIR).join(vm.name());
    let stuck = StuckReader::reading(open(&dir)?, Call::List)?;
    let (tell, tid) = mpsc::channel();
    let attaching = thread::spawn(move || {
        tell.send(threads::id())?;
        vm.add_vcpu()?;
        anyhow::Ok(vm)
    });
    let tid = tid.recv().context("no thread")?;
    let attaches = || {
        let stack = fs::read_to_string(format!("/proc/self/task/{tid}/stack"));
        let stack = stack.unwrap_or_default();
        stack.contains("kvm_exit_profiler_attach") && stack.contains("debugfs_create_dir")
    };
    let end = Instant::now() + Duration::from_secs(10);
    while !attaches() {
        watchdog::check()?;
        ensure!(Instant::now() < end, "the vCPU is not being attached");
        thread::sleep(Duration::from_millis(1));
    }
    let beside = others_go_on(alone)?;
    ensure!(attaches(), "the vCPU did not wait");
    // Readers of the host's files do not wait either.
    let most = Duration::from_secs(5) * u32::try_from(debug::patience())?;
    for name in ["exits", "vcpus", "profile"] {
        let path = Path::new(DIR).join(name);
        within(most, "reading", move || fs::read(path))??;
    }
    stuck.release()?;
    let vm = attaching.join().ok().context("a thread panicked")??;
    ensure!(dir.join("vcpu1").is_dir(), "the vCPU has no directory");
    drop(vm);
    ensure!(!dir.exists(), "{} is still there", dir.display());
    Ok(format!(
        "{VMS} VMs in {alone:.1?}, in {beside:.1?} beside a waiting vCPU"
    ))
}

/// A tenant over its memory limit sleeps where it allocates. While that is for a vCPU's
/// counters, VMs of others come and go.
fn slow_allocation(host: &mut Host) -> Result<String> {
    // Where all is slow, so many that a VM gets its turn while one sleeps.
    let number = if debug::patience() > 1 { 8 } else { 32 };
    const NOBODY: u32 = 65534;
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Err(Skip::because("the kernel has no memory cgroups"));
    }
    host.reload("log=N")?;
    let cgroup = Cgroup::new("tenants")?;
    let mut tenants = Vec::new();
    for _ in 0..number {
        let mut tenant = Tenant::start(NOBODY)?;
        cgroup.add(&tenant)?;
        tenant.tell("churn 8")?;
        tenants.push(tenant);
    }
    let sleeps = |tenant: &&Tenant| {
        let stack = tenant.stack();
        stack.contains("kvm_exit_profiler_attach") && stack.contains("mem_cgroup_handle_over_high")
    };
    // One VM is enough: if it waited for the tenant, it would outlast the tenant's sleep.
    // On a fast machine, there are more. The kernel lets nobody sleep for more than two
    // seconds at once, and VMs take time.
    let most = Duration::from_secs(60) * u32::try_from(debug::patience())?;
    let (start, mut seen, mut best) = (Instant::now(), 0, 0);
    while best < 3 && (best == 0 || seen < 20) {
        watchdog::check()?;
        // This takes the memory that each CPU keeps in store for the tenants.
        cgroup.set("memory.high", "1M")?;
        let Some(tenant) = tenants.iter().find(sleeps) else {
            continue;
        };
        seen += 1;
        let mut made = 0;
        while made < 3 && sleeps(&tenant) {
            drop(Bare::new(1)?);
            // The VM has not waited for the tenant.
            made += u32::from(sleeps(&tenant));
        }
        best = best.max(made);
        ensure!(
            best > 0 || seen < 60 && start.elapsed() < most,
            "no VM came and went while a tenant slept, in {seen} attempts"
        );
    }
    let took = start.elapsed();
    let usage = cgroup.get("memory.current")?;
    drop(tenants);
    drop(cgroup);
    Ok(format!(
        "{best} VMs came and went while a tenant slept, at attempt {seen}, after {took:.1?}, \
         with {} bytes of 1 MiB",
        usage.trim()
    ))
}
