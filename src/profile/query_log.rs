// SPDX-License-Identifier: GPL-2.0

//! The line that a guest's query leaves in the host's log.

use super::{
    leaf::{CYCLES, EXITS, TOTAL_CYCLES, TOTAL_EXITS},
    query::{Answer, Figure, Query, When},
};
use core::fmt;

/// The vCPU that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process of its VM, as KVM's debugfs names it.
    pub pid: u32,
    /// The vCPU's number in its VM.
    pub vcpu: u32,
}

/// A query and its answer. Only queries of leaves FC to FF have a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine {
    caller: Option<Caller>,
    figure: Figure,
    value: Option<u64>,
}

impl LogLine {
    /// The line for `query` and `answer`, if there is one. `caller` is `None` for a vCPU
    /// without a profile.
    pub fn new(caller: Option<Caller>, query: Query, answer: Answer) -> Option<LogLine> {
        let figure = match query {
            Query::Figure(When::Now, figure) => figure,
            _ => return None,
        };
        let value = match (figure, answer) {
            (Figure::Untimed { .. } | Figure::Phase { .. }, _) => return None,
            (_, Answer::Exits(value) | Answer::Cycles(value)) => Some(value),
            (Figure::Exits { .. } | Figure::Cycles { .. }, Answer::Undefined) => None,
            _ => return None,
        };
        Some(LogLine {
            caller,
            figure,
            value,
        })
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.figure {
            Figure::TotalExits => write!(f, "{TOTAL_EXITS:#x}, Total exits=")?,
            Figure::TotalCycles => write!(f, "{TOTAL_CYCLES:#x}, Total cycles=")?,
            Figure::Exits { reason } => {
                write!(f, "{EXITS:#x}, Exit number {reason}. Total exits=")?
            }
            Figure::Cycles { reason } => {
                write!(f, "{CYCLES:#x}, Exit number {reason}. Total cycles=")?
            }
            Figure::Hidden | Figure::Identity | Figure::Untimed { .. } | Figure::Phase { .. } => (),
        }
        match self.value {
            Some(value) => write!(f, "{value}")?,
            None => f.write_str("0 (undefined)")?,
        }
        match self.caller {
            Some(Caller { pid, vcpu }) => write!(f, " (pid {pid}, vCPU {vcpu})"),
            None => f.write_str(" (a vCPU without a profile)"),
        }
    }
}
