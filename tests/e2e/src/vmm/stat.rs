// SPDX-License-Identifier: GPL-2.0
//! KVM's own statistics of a vCPU (`KVM_GET_STATS_FD`).

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// `_IO(KVMIO, 0xce)`, which kvm-ioctls lacks.
const KVM_GET_STATS_FD: libc::c_ulong = 0xaece;

/// One 64-bit statistic of one vCPU.
pub struct Stat {
    file: File,
    at: u64,
}

impl Stat {
    pub fn open(vcpu: &impl AsRawFd, name: &str) -> Result<Self> {
        // SAFETY: the ioctl takes no argument and returns a new descriptor.
        let fd = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_STATS_FD, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("KVM_GET_STATS_FD");
        }
        // SAFETY: the descriptor is fresh, so nobody else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        // The header: flags, name_size, num_desc, id_offset, desc_offset,
        // data_offset.
        let [_, name_size, count, _, descs, data] = words(&file, 0)?;
        for i in 0..u64::from(count) {
            let at = u64::from(descs) + i * (16 + u64::from(name_size));
            // A descriptor: flags, exponent:size, offset, bucket_size, name.
            let [_, _, offset, _] = words(&file, at)?;
            let mut text = vec![0; name_size as usize];
            file.read_exact_at(&mut text, at + 16)?;
            if text.split(|&b| b == 0).next() == Some(name.as_bytes()) {
                let at = u64::from(data) + u64::from(offset);
                return Ok(Self { file, at });
            }
        }
        bail!("KVM has no statistic {name}")
    }

    /// Its value now, which is exact while the vCPU is outside KVM_RUN.
    pub fn read(&self) -> Result<u64> {
        let mut value = [0; 8];
        self.file.read_exact_at(&mut value, self.at)?;
        Ok(u64::from_ne_bytes(value))
    }
}

/// Reads N 32-bit words.
fn words<const N: usize>(file: &File, at: u64) -> Result<[u32; N]> {
    let mut bytes = vec![0; N * 4];
    file.read_exact_at(&mut bytes, at)?;
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(chunk.try_into()?);
    }
    Ok(words)
}
