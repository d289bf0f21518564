// SPDX-License-Identifier: GPL-2.0

//! Arguments that name what is behind exits.

use crate::names::{Names, devices::Devices, symbols::Symbols};
use anyhow::Result;
use clap::ValueHint;
use std::{path::PathBuf, sync::Arc};

/// What names a VM's devices and code.
#[derive(clap::Args, Clone, Debug)]
pub struct Naming {
    /// Read the names of devices from FILE: lines such as 'mmio 0xfebd1000-0xfebd1fff net' and
    /// 'port 0xc000-0xc03f disk'
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    device: Option<PathBuf>,
    /// Read the symbols of a guest's kernel from FILE: its System.map, a copy of its
    /// /proc/kallsyms, or its vmlinux (repeatable)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    symbols: Vec<PathBuf>,
    /// How much higher the guest's kernel lies than the symbols say, because of KASLR. A copy
    /// of /proc/kallsyms needs no offset
    #[arg(long, value_name = "OFFSET", value_parser = offset, requires = "symbols", value_hint = ValueHint::Other)]
    kaslr: Option<u64>,
}

/// Parses a hexadecimal offset.
fn offset(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .map_err(|_| "not a hexadecimal number, such as 0x1e000000".into())
}

impl Naming {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one cannot be read, or is wrong.
    pub fn read(&self) -> Result<Arc<Names>> {
        let mut symbols = Symbols::default();
        for file in &self.symbols {
            symbols.add(file, self.kaslr.unwrap_or(0))?;
        }
        let devices = self.device.as_deref().map(Devices::read).transpose()?;
        Ok(Arc::new(Names {
            devices: devices.unwrap_or_default(),
            symbols,
        }))
    }
}
