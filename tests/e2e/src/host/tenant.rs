// SPDX-License-Identifier: GPL-2.0
//! Tenants: other processes that have VMs, as another user or with little memory.
//!
//! A tenant is this program again. It gets commands as lines, and answers each with a
//! line.

use crate::vmm::{Bare, Op, Program, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, io, str};

/// The argument that makes this program a tenant.
const MODE: &str = "tenant";

/// Whether this process is a tenant.
pub fn is_tenant() -> bool {
    env::args().nth(1).is_some_and(|mode| mode == MODE)
}

/// Obeys commands until there are no more.
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
            // Makes a VM with that many vCPUs, and answers its name.
            "vm" => {
                let vm = Vm::with_vcpus(u8::try_from(number)?)?;
                let name = vm.name();
                self.0.push(vm);
                Ok(name)
            }
            // Makes each vCPU do that many hypercalls, and answers all exits.
            "run" => {
                let program = Program::repeated(Op::Vmcall, number, 0);
                let mut exits = 0;
                for vm in &mut self.0 {
                    for vcpu in &mut vm.vcpus {
                        vcpu.run(&program)?;
                        exits += vcpu.exits()?;
                    }
                }
                Ok(exits.to_string())
            }
            // Makes VMs with that many vCPUs, one after the other, without end.
            "churn" => loop {
                drop(Bare::new(number)?);
            },
            _ => bail!("unknown command {line}"),
        }
    }
}

/// A tenant's process, which ends when this is dropped.
pub struct Tenant {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Tenant {
    /// Starts a tenant as the user with that number, who may then have VMs.
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

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command, without waiting for the answer.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        let to = self.to.as_mut().context("the tenant has ended")?;
        Ok(writeln!(to, "{command}")?)
    }

    /// Gives a command, and returns the answer.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.tell(command)?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let answer = line.trim_end().strip_prefix("ok ");
        let answer = answer.with_context(|| format!("{command}: {line:?}"))?;
        Ok(answer.to_owned())
    }

    /// Lets the process end by itself.
    pub fn end(mut self) -> Result<()> {
        self.to = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "a tenant: {status}");
        Ok(())
    }

    /// The process's stack in the kernel.
    pub fn stack(&self) -> String {
        fs::read_to_string(format!("/proc/{}/stack", self.pid())).unwrap_or_default()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A memory cgroup. It is removed when this is dropped, after its tenants.
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

    /// Charges what the tenant allocates from now on.
    pub fn add(&self, tenant: &Tenant) -> Result<()> {
        self.set("cgroup.procs", &tenant.pid().to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A failure shows when the next cgroup of that name is made.
        let _ = fs::remove_dir(&self.0);
    }
}
