// SPDX-License-Identifier: GPL-2.0

//! The symbols of a guest's kernel: from its `System.map`, a copy of its `/proc/kallsyms`, or its
//! `vmlinux`.

use super::devices::PAGE;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSymbol, ReadCache, ReadRef, SymbolKind};
use std::{fs::File, io::Read, path::Path};

/// The first bytes of an ELF file.
const ELF: &[u8; 4] = b"\x7fELF";

/// No function is longer. What is farther behind a symbol has no name.
const LONGEST: u64 = 1 << 16;

/// Symbols of code, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols(Vec<Symbol>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Symbol {
    address: u64,
    /// The number of bytes, 0 if the file does not say.
    size: u64,
    name: String,
}

impl Symbols {
    /// Adds the symbols of a file. `offset` is how much higher the guest's kernel lies than the
    /// file says.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is none of the three, or has no symbols of code.
    pub fn add(&mut self, path: &Path, offset: u64) -> Result<()> {
        self.add_file(path, offset)
            .with_context(|| path.display().to_string())
    }

    fn add_file(&mut self, path: &Path, offset: u64) -> Result<()> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        file.by_ref()
            .take(ELF.len() as u64)
            .read_to_end(&mut bytes)?;
        if bytes == ELF && file.metadata()?.is_file() {
            // Most of a vmlinux may be something else.
            return self.add_all(of_elf(&ReadCache::new(file))?, offset);
        }
        // It may be a pipe, which cannot be read again.
        file.read_to_end(&mut bytes)?;
        self.add_bytes(&bytes, offset)
    }

    /// Adds the symbols of a file with this content.
    ///
    /// # Errors
    ///
    /// As of [`add`](Self::add).
    pub fn add_bytes(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        let read = match bytes.starts_with(ELF) {
            true => of_elf(bytes)?,
            false => of_text(bytes)?,
        };
        self.add_all(read, offset)
    }

    fn add_all(&mut self, mut read: Vec<Symbol>, offset: u64) -> Result<()> {
        read.retain(|symbol| symbol.address != 0 && is_code(&symbol.name));
        ensure!(
            !read.is_empty(),
            "it has no symbols of code: it must be a guest's System.map, vmlinux (not vmlinuz), \
             or a copy of /proc/kallsyms that root made"
        );
        for symbol in &mut read {
            symbol.address = symbol.address.wrapping_add(offset);
        }
        self.0.extend(read);
        // Of several names for an address, the one that is least internal.
        let key = |symbol: &Symbol| (symbol.address, symbol.name.starts_with('_'));
        self.0
            .sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name)));
        self.0.dedup_by_key(|symbol| symbol.address);
        Ok(())
    }

    /// The symbol that an address belongs to, and the offset in it.
    pub fn at(&self, address: u64) -> Option<String> {
        let index = self.0.partition_point(|symbol| symbol.address <= address);
        let symbol = self.0.get(index.checked_sub(1)?)?;
        let offset = address - symbol.address;
        let size = Some(symbol.size).filter(|&size| size > 0);
        (offset < size.unwrap_or(LONGEST)).then(|| match offset {
            0 => symbol.name.clone(),
            _ => format!("{}+{offset:#x}", symbol.name),
        })
    }

    /// The first and the last symbol that a page has code of.
    pub fn of_page(&self, page: u64) -> Option<String> {
        let first = self.0.partition_point(|symbol| symbol.address < page);
        let end = self
            .0
            .partition_point(|symbol| symbol.address <= page | (PAGE - 1));
        let before = self.at(page);
        let before = before.map(|name| name.split('+').next().unwrap_or("").to_owned());
        let names = self.0[first..end].iter().map(|symbol| symbol.name.clone());
        let mut names: Vec<String> = before.into_iter().chain(names).collect();
        names.dedup();
        match names.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            [first, .., last] => Some(format!("{first}..{last}")),
        }
    }
}

/// Whether a symbol is not just a mark that compilers put before functions.
fn is_code(name: &str) -> bool {
    !name.is_empty()
        && !["__pfx_", "__cfi_"]
            .iter()
            .any(|mark| name.starts_with(mark))
}

/// Symbols in lines `ADDRESS TYPE NAME`, as `nm` prints them.
fn of_text(bytes: &[u8]) -> Result<Vec<Symbol>> {
    let text = std::str::from_utf8(bytes).context("it is neither text nor an ELF file")?;
    let mut symbols = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let (address, kind, name) = (words.next(), words.next(), words.next());
        let address = address.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let symbol = address.zip(kind.filter(|kind| kind.len() == 1)).zip(name);
        let Some(((address, kind), name)) = symbol else {
            ensure!(
                line.trim().is_empty(),
                "line {}: it is not an address, a letter and a name",
                index + 1
            );
            continue;
        };
        if matches!(kind, "t" | "T" | "w" | "W") {
            symbols.push(Symbol {
                address,
                size: 0,
                name: printable(name),
            });
        }
    }
    let hidden = !symbols.is_empty() && symbols.iter().all(|symbol| symbol.address == 0);
    ensure!(
        !hidden,
        "all addresses are 0: only root sees them, copy /proc/kallsyms as root"
    );
    Ok(symbols)
}

/// Symbols of an ELF file.
fn of_elf<'a>(data: impl ReadRef<'a>) -> Result<Vec<Symbol>> {
    let file = object::File::parse(data).context("it is not a valid ELF file")?;
    let code = (file.symbols()).filter(|symbol| symbol.kind() == SymbolKind::Text);
    let code = code.filter(|symbol| symbol.is_definition());
    let named = code.filter_map(|symbol| {
        Some(Symbol {
            address: symbol.address(),
            size: symbol.size(),
            name: printable(symbol.name().ok()?),
        })
    });
    Ok(named.collect())
}

/// A name without what a terminal would obey.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}
