// SPDX-License-Identifier: GPL-2.0
//! Processes of their own that have VMs, as another user or with little memory.
//!
//! Such a process is this program again. It is told what to do by lines, and answers
//! each by one.

use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::{Bare, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, io, str};

/// What makes this program one.
const MODE: &str = "tenant";

/// Whether this process is one.
pub fn is_tenant() -> bool {
    env::args().nth(1).is_some_and(|mode| mode == MODE)
}

/// Does what it is told until it is told no more.
pub fn serve() -> io::Result<()> {
    let mut tenant = Serving::default();
    for line in stdin().lines() {
        let answer = match tenant.obey(&line?) {
            Ok(answer) => format!("ok {answer}"),
            Err(e) => format!("no {e:#}"),
        };
        writeln!(stdout(), "{}", answer.replace('\n', "; "))?;
    }
    Ok(())
}

#[derive(Default)]
struct Serving(Vec<Vm>);

impl Serving {
    fn obey(&mut self, line: &str) -> Result<String> {
        let (command, number) = line.split_once(' ').unwrap_or((line, "0"));
        let number: u32 = number.parse()?;
        match command {
            // A VM with so many vCPUs.
            "vm" => {
                let vm = Vm::with_vcpus(u8::try_from(number)?)?;
                let name = vm.name();
                self.0.push(vm);
                Ok(name)
            }
            // So many hypercalls by each vCPU; answers all exits.
            "run" => {
                let mut program = Program::new();
                program.repeat(Op::Vmcall, number, 0);
                let mut exits = 0;
                for vm in &mut self.0 {
                    for vcpu in &mut vm.vcpus {
                        vcpu.run(&program)?;
                        exits += vcpu.exits()?;
                    }
                }
                Ok(exits.to_string())
            }
            // VMs with so many vCPUs, one after the other, for ever.
            "churn" => loop {
                drop(Bare::new(number)?);
            },
            _ => bail!("{line}: nothing to do"),
        }
    }
}

/// Such a process; it ends with this.
pub struct Tenant {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Tenant {
    /// One of the user with that number, who may have VMs.
    pub fn start(uid: u32) -> Result<Self> {
        fs::set_permissions("/dev/kvm", Permissions::from_mode(0o666)).context("/dev/kvm")?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(MODE).uid(uid).gid(uid);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("a tenant")?;
        let to = child.stdin.take();
        let from = child.stdout.take().context("a tenant's answers")?;
        Ok(Self {
            child,
            to,
            from: BufReader::new(from),
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it what to do, without waiting for the answer.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        let to = self.to.as_mut().context("a tenant that has ended")?;
        Ok(writeln!(to, "{command}")?)
    }

    /// Has it do something, and returns the answer.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.tell(command)?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let answer = line.trim_end().strip_prefix("ok ");
        let answer = answer.with_context(|| format!("{command}: {line:?}"))?;
        Ok(answer.to_owned())
    }

    /// Lets it end by itself.
    pub fn end(mut self) -> Result<()> {
        self.to = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "a tenant: {status}");
        Ok(())
    }

    /// Where it is in the kernel.
    pub fn stack(&self) -> String {
        fs::read_to_string(format!("/proc/{}/stack", self.pid())).unwrap_or_default()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A memory cgroup; it is gone with this, when its tenants are.
pub struct Cgroup(PathBuf);

impl Cgroup {
    pub fn new(name: &str) -> Result<Self> {
        const ROOT: &str = "/sys/fs/cgroup";
        let root = Path::new(ROOT);
        fs::write(root.join("cgroup.subtree_control"), "+memory").context(ROOT)?;
        let dir = root.join(name);
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        Ok(Self(dir))
    }

    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, value).with_context(|| format!("{}: {value}", path.display()))
    }

    pub fn get(&self, name: &str) -> Result<String> {
        let path = self.0.join(name);
        let text = fs::read_to_string(&path);
        text.with_context(|| path.display().to_string())
    }

    /// Takes the tenant in, with what it allocates from now on.
    pub fn add(&self, tenant: &Tenant) -> Result<()> {
        self.set("cgroup.procs", &tenant.pid().to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A later one of the same name says so.
        let _ = fs::remove_dir(&self.0);
    }
}
