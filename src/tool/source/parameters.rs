// SPDX-License-Identifier: GPL-2.0

//! The module's parameters in sysfs, which can be changed while it is loaded.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

/// Where the parameters are.
#[derive(Args, Clone, Debug)]
pub struct Parameters {
    /// Where sysfs is mounted
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/sys",
        help_heading = "Source"
    )]
    sysfs: PathBuf,
}

impl Parameters {
    /// Writes a parameter.
    ///
    /// # Errors
    ///
    /// If that fails: says what to do.
    pub fn write(&self, name: &str, value: &str) -> Result<()> {
        let path = self.path(name)?;
        fs::write(&path, value).map_err(|e| explain(&path, &e))
    }

    /// Reads whether a switch is on.
    ///
    /// # Errors
    ///
    /// If that fails: says what to do.
    pub fn is_on(&self, name: &str) -> Result<bool> {
        let path = self.path(name)?;
        match fs::read_to_string(&path)
            .map_err(|e| explain(&path, &e))?
            .trim()
        {
            "Y" | "1" => Ok(true),
            "N" | "0" => Ok(false),
            other => bail!("{}: {other:?} is neither on nor off", path.display()),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let dir = self.sysfs.join("module/kvm_exitprof");
        dir.exists().then_some(()).with_context(|| {
            format!(
                "the module is not loaded ({} does not exist): insmod kvm_exitprof.ko; a guest \
                 cannot control its host's",
                dir.display()
            )
        })?;
        Ok(dir.join("parameters").join(name))
    }
}

fn explain(path: &std::path::Path, e: &io::Error) -> anyhow::Error {
    let path = path.display();
    match e.kind() {
        ErrorKind::PermissionDenied => {
            anyhow!("{path}: {e}: only root may control the module (sudo exitprof …)")
        }
        ErrorKind::NotFound => anyhow!(
            "{path} is missing: the loaded module is older than this exitprof; load the module \
             that came with it"
        ),
        _ => anyhow!("{path}: {e}"),
    }
}
