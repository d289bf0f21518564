// SPDX-License-Identifier: GPL-2.0
//! Files of VMs that come and go, and of VMs with many vCPUs.

use crate::harness::Test;
use crate::host::debugfs::{
    ExitsTable, Line, PROFILER as DIR, ProfileFile, VcpusTable, vcpu_dir, vm_dir,
};
use crate::host::module::{self, PROFILER, describe, errno, remove_now};
use crate::host::tenant::Tenant;
use crate::host::{Host, State};
use crate::oracle::growth::still_counts;
use crate::vmm::cpu::HYPERCALL;
use crate::vmm::{Bare, Vm};
use anyhow::{Context, Result, ensure};
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("files.as_opened", State::Absent, as_opened),
        Test::new("files.hold_module", State::Absent, hold_module),
        Test::new("vcpu.files_without_search", State::Absent, without_search),
        Test::new("table.many_vcpus", State::Absent, many_vcpus),
    ]
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| path.display().to_string())
}

/// The rest of a file, read by that many bytes at a time.
fn read_by(mut file: &File, bytes: usize) -> Result<Vec<u8>> {
    let (mut all, mut some) = (Vec::new(), vec![0; bytes]);
    loop {
        match file.read(&mut some)? {
            0 => return Ok(all),
            n => all.extend(&some[..n]),
        }
    }
}

/// However late and slowly a file is read, its text is from when it was opened, even if
/// its VM is gone since, or the counters have been reset.
fn as_opened(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    vm.hypercalls(23)?;
    let paths = [
        vcpu_dir(&vm, 0).join("exits"),
        vm_dir(&vm).join("exits"),
        Path::new(DIR).join("exits"),
        Path::new(DIR).join("vcpus"),
        Path::new(DIR).join("profile"),
    ];
    let read =
        |path: &PathBuf| -> Result<_> { Ok(String::from_utf8(read_by(&open(path)?, 4096)?)?) };
    let before = paths.iter().map(read).collect::<Result<Vec<_>>>()?;
    let files = paths.iter().map(|path| open(path));
    let files = files.collect::<Result<Vec<_>>>()?;
    // The start of one is read already.
    let mut begin = [0; 7];
    files[0].read_exact_at(&mut begin, 0)?;

    vm.hypercalls(23)?;
    drop(vm);
    ensure!(!paths[0].exists() && !paths[1].exists(), "still there");
    module::set_param(PROFILER, "reset", "1")?;
    for ((file, path), before) in files.iter().zip(&paths).zip(&before) {
        let late = String::from_utf8(read_by(file, 7)?)?;
        let mut same = late == *before;
        if path.ends_with("profile") {
            // The first line has the time.
            let rows = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
            same = rows(&late) == rows(before);
        }
        ensure!(same, "{}: {before}, then {late}", path.display());
    }
    Ok(format!("{} files, read when all had ended", files.len()))
}

/// While a file is open, the module cannot be unloaded. When it is closed, it can.
fn hold_module(host: &mut Host) -> Result<String> {
    let mut names = Vec::new();
    for index in 0..5 {
        host.reload("log=N")?;
        let vm = Vm::plain()?;
        let path = match index {
            0 => vcpu_dir(&vm, 0).join("exits"),
            1 => vm_dir(&vm).join("exits"),
            n => Path::new(DIR).join(["exits", "vcpus", "profile"][n - 2]),
        };
        let file = open(&path)?;
        let refused = |when: &str| {
            let got = errno(&remove_now(PROFILER));
            let text = format!("{} {when}: rmmod: {}", path.display(), describe(got));
            ensure!(got == libc::EAGAIN, "{text}");
            still_counts()
        };
        refused("open")?;
        drop(vm);
        refused("open, but the VM ended")?;
        drop(file);
        host.reach(State::Absent)?;
        names.push(path.file_name().map(|n| n.to_string_lossy().into_owned()));
    }
    Ok(format!("{} files", names.len()))
}

/// The file that is at a path now, whatever is there later.
fn find(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH);
    let found = options.open(path);
    found.with_context(|| path.display().to_string())
}

/// Only root may search the profiler's directory. VMs of other users have their files
/// there nevertheless, whether they began before that or after. The files go with the
/// VM, whoever ends it.
fn without_search(host: &mut Host) -> Result<String> {
    const NOBODY: u32 = 65534;
    let mut notes = Vec::new();
    for before in [true, false] {
        host.reload("log=N")?;
        let forbid = || fs::set_permissions(DIR, Permissions::from_mode(0o700));
        if !before {
            forbid()?;
        }
        let mut tenant = Tenant::start(NOBODY)?;
        let name = tenant.ask("vm 2")?;
        forbid()?;
        let note = ends_with_files(tenant, &name);
        notes.push(note.with_context(|| format!("began before: {before}"))?);
    }
    Ok(notes.join("; "))
}

/// Lets the tenant's VM run and end, and checks its files.
fn ends_with_files(mut tenant: Tenant, name: &str) -> Result<String> {
    let exits: u64 = tenant.ask("run 23")?.parse()?;
    let dir = Path::new(DIR).join(name);
    let paths = [
        dir.join("exits"),
        dir.join("vcpu0/exits"),
        dir.join("vcpu1/exits"),
    ];
    let all = ExitsTable::read(&dir)?;
    ensure!(all.total.0 == exits, "want {exits} got {:?}", all.total);
    ensure!(all.exits(HYPERCALL.number()) == 46, "{all:?}");
    let found = paths.iter().map(|path| find(path));
    let found = found.collect::<Result<Vec<_>>>()?;
    let kept = paths.iter().map(|path| open(path));
    let kept = kept.collect::<Result<Vec<_>>>()?;

    tenant.end()?;
    ensure!(!dir.exists(), "{} is still there", dir.display());
    // Other VMs, which get the memory of that one.
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(Vm::with_vcpus(2)?);
    }
    for (found, path) in found.iter().zip(&paths) {
        let again = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()));
        let error = again.err().and_then(|e| e.raw_os_error());
        ensure!(
            error == Some(libc::ENOENT),
            "{} of the ended VM: {error:?}",
            path.display()
        );
    }
    let text = String::from_utf8(read_by(&kept[0], 4096)?)?;
    let total = text.lines().last().context("it is empty")?;
    let got = total.split_whitespace().nth(1);
    ensure!(got == Some(&exits.to_string()), "{total}, want {exits}");
    let table = VcpusTable::read()?;
    table.check_sums()?;
    ensure!(!table.vms.contains_key(name), "{table:?}");
    ensure!(table.ended.0 == exits, "want {exits}: {table:?}");
    Ok(format!("{exits} exits of {name}, then none"))
}

/// A VM with many vCPUs has all of them in all files, in order. The files are the same
/// whether they are read at once or by a few bytes.
fn many_vcpus(host: &mut Host) -> Result<String> {
    const IDLE: u32 = 512;
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    let idle = vm.add_idle(IDLE)?;
    let other = Bare::new(3)?;
    vm.hypercalls(23)?;

    // The newest VM comes first, and each VM's vCPUs in the order of their creation.
    let mut want: Vec<_> = (0..3).map(|id| (other.name(), id)).collect();
    want.extend((0..IDLE + 2).map(|id| (vm.name(), u64::from(id))));
    let file = ProfileFile::read()?;
    file.check_sums()?;
    let owner =
        |line: &Line| -> Result<_> { Ok((line.text("vm")?.to_owned(), line.number("vcpu")?)) };
    let attached = file.of("attached").map(owner).collect::<Result<Vec<_>>>()?;
    ensure!(attached == want, "{attached:?}");
    let rows = file.of("vcpu").map(owner).collect::<Result<Vec<_>>>()?;
    ensure!(rows.iter().all(|(_, id)| *id < 2), "{rows:?}");
    let table = VcpusTable::read()?;
    table.check_sums()?;
    ensure!(table.vcpus.len() == want.len(), "{table:?}");
    let got = table.vms.get(&vm.name()).map(|counted| counted.0);
    ensure!(got == Some(vm.exits()?), "{got:?}");
    ensure!(table.vms.get(&other.name()) == Some(&(0, 0)), "{table:?}");

    let mut sizes = Vec::new();
    for name in ["profile", "vcpus", "exits"] {
        let mut file = open(&Path::new(DIR).join(name))?;
        let slowly = read_by(&file, 7)?;
        file.rewind()?;
        let at_once = read_by(&file, 1 << 20)?;
        ensure!(slowly == at_once, "{name} is not the same twice");
        let lines = String::from_utf8(at_once.clone())?.lines().count();
        ensure!(at_once.ends_with(b"\n"), "{name} ends within a line");
        // From any position.
        for at in (0..at_once.len() + 100).step_by(4051) {
            let mut part = [0; 100];
            let n = file.read_at(&mut part, at as u64)?;
            let end = (at + 100).min(at_once.len());
            let want = at_once.get(at..end).unwrap_or_default();
            ensure!(part[..n] == *want, "{name} at {at}: {n} bytes");
        }
        sizes.push((name, at_once.len(), lines));
    }
    drop(idle);
    drop(vm);
    let left = ProfileFile::read()?;
    left.check_sums()?;
    let attached = left.of("attached").map(owner).collect::<Result<Vec<_>>>()?;
    ensure!(attached == want[..3], "{attached:?}");
    Ok(format!("{} vCPUs; {sizes:?}", want.len()))
}
