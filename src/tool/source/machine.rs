// SPDX-License-Identifier: GPL-2.0

//! What this machine tells besides counters: its name, the time, and its VMs' names.

use crate::snapshot::Vcpu;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};
use unicode_width::UnicodeWidthChar;

/// The longest name that is kept.
const LONGEST: usize = 64;

/// The machine's name.
pub fn hostname() -> Option<String> {
    let name = rustix::system::uname();
    let name = printable(name.nodename().to_string_lossy().as_ref());
    // What the kernel says until it is told otherwise.
    Some(name).filter(|name| !name.is_empty() && name != "(none)")
}

/// The time, in whole milliseconds.
pub fn now() -> Option<Timestamp> {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).ok()
}

/// The time by CLOCK_MONOTONIC, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // This clock is never negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A VM that KVM shows in debugfs.
#[derive(Debug, PartialEq, Eq)]
pub struct Vm {
    /// `<pid>-<fd>`, where the first is that of the thread which made it.
    pub name: Arc<str>,
    /// The process of that thread, if it is still there; or else the thread.
    pub process: u32,
    /// The numbers of its vCPUs.
    pub vcpus: Vec<u32>,
}

/// The VMs that KVM shows in `debugfs`. None if that cannot be read.
pub fn vms(debugfs: &Path, procfs: &Path) -> Vec<Vm> {
    let names = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    };
    let dir = debugfs.join("kvm");
    let vm = |name: String| {
        let (pid, fd) = name.split_once('-')?;
        let thread = pid.parse::<u32>().ok()?;
        fd.parse::<u32>().ok()?;
        let vcpus =
            names(&dir.join(&name)).filter_map(|file| file.strip_prefix("vcpu")?.parse().ok());
        Some(Vm {
            process: process(thread, procfs).unwrap_or(thread),
            vcpus: vcpus.collect(),
            name: name.into(),
        })
    };
    names(&dir).filter_map(vm).collect()
}

/// The process of a thread.
fn process(thread: u32, procfs: &Path) -> Option<u32> {
    let status = fs::read_to_string(procfs.join(thread.to_string()).join("status")).ok()?;
    let mut lines = status.lines();
    let process = lines.find_map(|line| line.strip_prefix("Tgid:"))?;
    process.trim().parse().ok()
}

/// The names of VMs, by what KVM's debugfs calls them. None is asked for twice.
#[derive(Debug, Default)]
pub struct Names(HashMap<Arc<str>, Option<String>>);

impl Names {
    /// Those of `vcpus`, as their processes in `procfs` tell.
    pub fn of(&mut self, vcpus: &[Vcpu], procfs: &Path) -> BTreeMap<String, String> {
        let mut names = HashMap::new();
        for vcpu in vcpus {
            if !names.contains_key(&vcpu.vm) {
                let known = self.0.remove(&vcpu.vm);
                let name = known.unwrap_or_else(|| name(&vcpu.vm, procfs));
                names.insert(Arc::clone(&vcpu.vm), name);
            }
        }
        let found = names.iter();
        let found = found.filter_map(|(vm, name)| Some((vm.to_string(), name.clone()?)));
        let found = found.collect();
        self.0 = names;
        found
    }
}

/// The name of a VM: the one on the command line of its process, or the name of the process.
fn name(vm: &str, procfs: &Path) -> Option<String> {
    let pid = vm.split('-').next()?.parse::<u32>().ok()?;
    let dir = procfs.join(pid.to_string());
    let line = fs::read(dir.join("cmdline")).ok()?;
    let words: Vec<_> = line.split(|&byte| byte == 0).collect();
    let words: Vec<_> = words
        .iter()
        .map(|word| String::from_utf8_lossy(word))
        .collect();
    let given = words.iter().zip(words.get(1..)?).find_map(|(key, value)| {
        match key.as_ref() {
            // QEMU's, which libvirt uses too, and kvmtool's.
            "-name" | "--name" => Some(guest(value)),
            // Firecracker's.
            "--id" => Some(value.to_string()),
            _ => None,
        }
    });
    let comm = || fs::read_to_string(dir.join("comm")).unwrap_or_default();
    let name = given.filter(|name| !name.is_empty()).unwrap_or_else(comm);
    let name = printable(name.trim());
    (!name.is_empty()).then_some(name)
}

/// The name in the value of QEMU's -name: `guest=NAME,debug-threads=on`, or just `NAME`. A
/// comma in it is written twice.
fn guest(value: &str) -> String {
    let value = value.replace(",,", "\0");
    let mut parts = value.split(',');
    let given = parts.clone().find_map(|part| part.strip_prefix("guest="));
    let first = parts.next().filter(|part| !part.contains('='));
    given.or(first).unwrap_or_default().replace('\0', ",")
}

/// The name without what would confuse a terminal or a table.
fn printable(name: &str) -> String {
    let is_plain = |c: char| !c.is_control() && c.width() == Some(1);
    let plain = |c| if is_plain(c) { c } else { '?' };
    name.chars().take(LONGEST).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vms_are_those_in_debugfs() {
        let dir = tempfile::tempdir().unwrap();
        let procfs = dir.path().join("proc");
        assert_eq!(vms(dir.path(), &procfs), []);
        for name in ["12-11/vcpu3", "12-11/vcpux", "12-x/vcpu0", "halt_poll"] {
            fs::create_dir_all(dir.path().join("kvm").join(name)).unwrap();
        }
        let vm = |process| Vm {
            name: "12-11".into(),
            process,
            vcpus: vec![3],
        };
        assert_eq!(vms(dir.path(), &procfs), [vm(12)]);
        fs::create_dir_all(procfs.join("12")).unwrap();
        fs::write(procfs.join("12/status"), "Name:\tvmm\nTgid:\t9\n").unwrap();
        assert_eq!(vms(dir.path(), &procfs), [vm(9)]);
    }

    #[test]
    fn names_are_those_that_were_given() {
        for (value, name) in [
            ("web", "web"),
            ("guest=web,debug-threads=on", "web"),
            ("web,process=x", "web"),
            ("debug-threads=on", ""),
            ("debug-threads=on,guest=a,,b", "a,b"),
            ("", ""),
        ] {
            assert_eq!(guest(value), name, "{value}");
        }
        assert_eq!(printable("a\x1b[31m\u{301}\u{4e2d}é"), "a?[31m??é");
        assert_eq!(printable(&"x".repeat(99)).len(), LONGEST);
    }
}
