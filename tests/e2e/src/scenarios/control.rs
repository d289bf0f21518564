// SPDX-License-Identifier: GPL-2.0
//! The host controls the counters: reset and recording.

use crate::harness::Test;
use crate::host::debugfs::{PROFILER as DIR, ProfileFile};
use crate::host::module::{self, PARAMETERS, PROFILER};
use crate::host::{Host, State, cpus};
use crate::oracle::catalog::run_all;
use crate::oracle::snapshot::{RELEASE, TAKE, TELL, check_none, command};
use crate::oracle::{check_histograms, leaf};
use crate::vmm::cpu::HYPERCALL;
use crate::vmm::{Vm, while_storming};
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::PermissionsExt;
use std::{fs, io};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("control.reset", State::Absent, reset),
        Test::new("control.reset_under_load", State::Absent, |host| {
            cpus::changing_code(|| reset_under_load(host))
        }),
        Test::new("control.reset_voids_snapshots", State::Absent, voids),
        Test::new("control.recording", State::Absent, recording),
        Test::new("control.nonsense", State::Absent, nonsense),
    ]
}

/// Writes a parameter.
fn control(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("{PARAMETERS}/{name}"), value)
}

/// The epoch that guests read.
fn epoch(vm: &mut Vm) -> Result<u32> {
    Ok(vm.cpuid(leaf::PROTOCOL, 0)?[2])
}

/// All counts are gone, and new exits are counted.
fn reset(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let vms = run_all()?;
    let mut vm = Vm::with_vcpus(2)?;
    let old = epoch(&mut vm)?;
    drop(vms);
    let before = ProfileFile::read()?;
    ensure!(before.total("ended")?.0 > 0, "{before:?}");
    control("reset", "1\n")?;
    let empty = ProfileFile::read()?;
    for kind in ["host", "vcpu", "ended", "unattributed"] {
        ensure!(empty.of(kind).count() == 0, "{empty:?}");
    }
    ensure!(empty.of("attached").count() == 2, "{empty:?}");
    let since = |file: &ProfileFile| file.head().number("since_ns");
    ensure!(
        since(&empty)? > before.head().number("time_ns")?,
        "{empty:?}"
    );
    let new = epoch(&mut vm)?;
    ensure!(new != old && new != 0, "epoch {old}, then {new}");
    ensure!(empty.head().number("epoch")? == u64::from(new), "{empty:?}");

    let start = vm.exits()?;
    vm.vcpus[1].hypercalls(1)?;
    let file = ProfileFile::read()?;
    file.check_sums()?;
    // Minimum and maximum are those of the new exits.
    check_histograms(&file)?;
    // After the reset the guest read the epoch: a CPUID, and the OUT that ends the
    // program.
    let (got, want) = (file.total("host")?.0, vm.exits()? - start + 2);
    ensure!(got == want, "want {want} got {got}");
    Ok(format!(
        "{} exits, then 0, then {got}",
        before.total("host")?.0
    ))
}

/// The counters of the host and of vCPUs start from zero at the same moment.
fn reset_under_load(host: &mut Host) -> Result<String> {
    const TIMES: u32 = 50;
    host.reload("log=N")?;
    let mut storm = Vm::with_vcpus(3)?;
    let mut counted = 0;
    while_storming(&mut storm.vcpus, || {
        let mut epochs = Vec::new();
        for _ in 0..TIMES {
            control("reset", "1")?;
            // VMs come and go meanwhile.
            Vm::plain()?.hypercalls(23)?;
            let file = ProfileFile::read()?;
            for line in file.of("host") {
                let (min, max) = (line.number("min")?, line.number("max")?);
                ensure!(min <= max && !line.log2()?.is_empty(), "{line:?}");
            }
            counted += file.total("host")?.0;
            epochs.push(file.head().number("epoch")?);
        }
        epochs.sort_unstable();
        epochs.dedup();
        ensure!(epochs.len() == TIMES as usize, "{epochs:?}");
        Ok(())
    })?;
    let file = ProfileFile::read()?;
    file.check_sums()?;
    check_histograms(&file)?;
    let (last, all) = (file.total("host")?.0, storm.exits()?);
    ensure!(last > 0 && counted > 0, "nothing was counted");
    ensure!(last < all, "{last} of {all} exits after the last time");
    Ok(format!(
        "{TIMES} times, {counted} exits seen, then {last}, of more than {all}"
    ))
}

/// A snapshot is held only in the epoch in which it was taken.
fn voids(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(1)?;
    vm.hypercalls(23)?;
    let held = command(&mut vm.vcpus[0], TAKE)?;
    ensure!(held == (true, 1), "{held:?}");
    control("reset", "1")?;
    let told = command(&mut vm.vcpus[0], TELL)?;
    ensure!(told == (false, 1), "{told:?}");
    check_none(&mut vm.vcpus[0])?;
    let [exits, ..] = vm.cpuid(leaf::EXITS, HYPERCALL.number())?;
    ensure!(exits == 0, "{exits} hypercalls");
    let again = command(&mut vm.vcpus[0], TAKE)?;
    ensure!(again == (true, 2), "{again:?}");
    let released = command(&mut vm.vcpus[0], RELEASE)?;
    ensure!(released == (false, 2), "{released:?}");
    Ok("held, void, taken anew".into())
}

/// The parameter and the file agree, and a reset changes neither.
fn recording(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    for (value, param) in [("0", "N"), ("1", "Y"), ("0\n", "N"), ("Y", "Y"), ("N", "N")] {
        control("recording", value)?;
        control("reset", "1")?;
        let shown = module::param(PROFILER, "recording")?;
        ensure!(shown == param, "wrote {value:?}, parameter {shown}");
        vm.hypercalls(23)?;
        let file = ProfileFile::read()?;
        let on = file.head().number("recording")?;
        ensure!(
            on == u64::from(param == "Y"),
            "wrote {value:?}, {:?}",
            file.head()
        );
        let got = file.total("host")?.0;
        ensure!(
            (got >= 23) == (on == 1) && (got == 0) == (on == 0),
            "{value:?}: {got}"
        );
    }
    Ok("off, on, off, on, off".into())
}

/// Nonsense is refused, and changes nothing. Only root may read or write any of this.
fn nonsense(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    vm.hypercalls(23)?;
    let state = |vm: &mut Vm| -> Result<_> {
        let total = ProfileFile::read()?
            .total("vcpu")?
            .0
            .wrapping_sub(vm.exits()?);
        Ok((total, epoch(vm)?, module::param(PROFILER, "recording")?))
    };
    let before = state(&mut vm)?;
    let mut refused = 0;
    let reset = ["", "0", "2", "-1", "x", "1x", "1 1", "11", "yes", "Y"];
    // The kernel looks at the first character of a bool only.
    let recording = ["", "2", "-1", "x", " 1"];
    let both = reset.map(|value| ("reset", value));
    for (name, value) in both.into_iter().chain(recording.map(|v| ("recording", v))) {
        let error = control(name, value).err();
        // An empty write never reaches the module.
        if let Some(error) = error {
            let errno = error.raw_os_error();
            ensure!(errno == Some(libc::EINVAL), "{name}={value:?}: {error}");
            refused += 1;
        } else {
            ensure!(value.is_empty(), "{name}={value:?} was accepted");
        }
        let after = state(&mut vm)?;
        ensure!(
            after == before,
            "{name}={value:?}: {before:?}, then {after:?}"
        );
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(DIR).context(DIR)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files.sort();
    ensure!(files == ["exits", "profile", "vcpus"], "{files:?}");
    let files = files.iter().map(|file| (format!("{DIR}/{file}"), 0o400));
    let parameters = [("reset", 0o200), ("report", 0o200), ("recording", 0o644)];
    let parameters = parameters.map(|(name, mode)| (format!("{PARAMETERS}/{name}"), mode));
    for (path, mode) in files.chain(parameters) {
        let got = fs::metadata(&path).with_context(|| path.clone())?;
        let got = got.permissions().mode() & 0o777;
        ensure!(got == mode, "{path} has mode {got:o}");
    }
    Ok(format!("{refused} times EINVAL"))
}
