// SPDX-License-Identifier: GPL-2.0
//! The file `profile`, which is for programs: lines of `key=value`.

use super::paths::{Counted, PROFILER};
use crate::vmm::Vm;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;

/// A line: its kind and its fields.
#[derive(Clone, Debug)]
pub struct Line {
    pub kind: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default().to_owned();
        let mut fields = BTreeMap::new();
        for word in words {
            let (key, value) = word.split_once('=').with_context(|| line.to_owned())?;
            let old = fields.insert(key.to_owned(), value.to_owned());
            ensure!(old.is_none(), "{line}: {key} twice");
        }
        Ok(Self { kind, fields })
    }

    pub fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        let field = self.fields.get(key).map(String::as_str);
        field.with_context(|| format!("{self:?} has no {key}"))
    }

    pub fn number(&self, key: &str) -> Result<u64> {
        let text = self.text(key)?;
        text.parse().with_context(|| format!("{key}={text}"))
    }

    pub fn counted(&self) -> Result<Counted> {
        Ok((self.number("exits")?, self.number("cycles")?))
    }

    /// The random identity: sixteen digits, not all zero.
    pub fn id(&self) -> Result<u64> {
        let text = self.text("id")?;
        let id = u64::from_str_radix(text, 16).with_context(|| format!("id={text}"))?;
        ensure!(text.len() == 16 && id != 0, "id={text}");
        Ok(id)
    }

    /// The histogram: exits by bucket.
    pub fn log2(&self) -> Result<BTreeMap<u32, u64>> {
        let pair = |pair: &str| {
            let (bucket, exits) = pair.split_once(':').context("no colon")?;
            anyhow::Ok((bucket.parse()?, exits.parse()?))
        };
        let text = self.text("log2")?;
        text.split_terminator(',')
            .map(pair)
            .collect::<Result<_>>()
            .with_context(|| format!("log2={text}"))
    }
}

/// The whole file.
#[derive(Clone, Debug)]
pub struct ProfileFile(Vec<Line>);

impl ProfileFile {
    pub fn read() -> Result<Self> {
        let path = format!("{PROFILER}/profile");
        let text = fs::read_to_string(&path).context(path)?;
        let lines: Result<Vec<_>> = text.lines().map(Line::parse).collect();
        let file = Self(lines?);
        let (head, end) = (file.head(), file.0.last().context("it is empty")?);
        ensure!(head.kind == "profile" && end.kind == "end", "{file:?}");
        ensure!(head.number("version")? == 2, "{head:?}");
        ensure!(head.number("epoch")? == end.number("epoch")?, "{file:?}");
        ensure!(end.number("lines")? == file.0.len() as u64, "{end:?}");
        Ok(file)
    }

    pub fn head(&self) -> &Line {
        &self.0[0]
    }

    pub fn account(&self) -> Result<&Line> {
        self.of("account").next().context("no account")
    }

    /// The lines of a kind.
    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Line> {
        self.0.iter().filter(move |line| line.kind == kind)
    }

    /// The lines of a kind that belong to a vCPU.
    pub fn of_vcpu(&self, kind: &str, vm: &Vm, id: u32) -> impl Iterator<Item = &Line> {
        let name = vm.name();
        self.of(kind).filter(move |line| {
            let owner = (line.text("vm").ok(), line.number("vcpu").ok());
            owner == (Some(&name), Some(id.into()))
        })
    }

    /// The line of a kind and a reason, if there is one.
    pub fn row(&self, kind: &str, reason: u32) -> Option<&Line> {
        let number = reason.to_string();
        self.of(kind)
            .find(|line| line.text("reason").ok() == Some(&number))
    }

    /// Exits, cycles and untimed exits by reason, summed over the lines of all `kinds`.
    pub fn by_reason(&self, kinds: &[&str]) -> Result<BTreeMap<String, (u64, u64, u64)>> {
        let mut sums = BTreeMap::new();
        for line in self.0.iter().filter(|l| kinds.contains(&&*l.kind)) {
            let (exits, cycles) = line.counted()?;
            let untimed = line.number("untimed")?;
            ensure!(exits > 0 && untimed <= exits, "{line:?}");
            let sum: &mut (u64, u64, u64) =
                sums.entry(line.text("reason")?.to_owned()).or_default();
            *sum = (sum.0 + exits, sum.1 + cycles, sum.2 + untimed);
        }
        Ok(sums)
    }

    /// Exits and cycles, summed over the lines of a kind.
    pub fn total(&self, kind: &str) -> Result<Counted> {
        let rows = self.by_reason(&[kind])?;
        let add = |a: Counted, b: &(u64, u64, u64)| (a.0 + b.0, a.1 + b.1);
        Ok(rows.values().fold((0, 0), add))
    }

    /// Checks that the lines `vcpu`, `ended` and `unattributed` add up to those of the
    /// host for each reason, as they do while nothing runs.
    pub fn check_sums(&self) -> Result<()> {
        let host = self.by_reason(&["host"])?;
        let parts = self.by_reason(&["vcpu", "ended", "unattributed"])?;
        ensure!(host == parts, "host {host:?}, the others {parts:?}");
        Ok(())
    }
}
