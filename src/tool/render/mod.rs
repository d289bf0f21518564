// SPDX-License-Identifier: GPL-2.0

//! Shows figures: to people as tables and words, to programs as JSON and CSV.
//!
//! A [`Sheet`](sheet::Sheet) has all that there is to show, and each format takes from it what it needs.

pub mod buckets;
pub mod budget;
mod cells;
pub mod changes;
pub mod checked;
pub mod csv;
pub mod details;
pub mod facts;
pub mod grid;
pub mod json;
mod markdown;
pub mod metrics;
pub mod parts;
pub mod repeated;
pub mod rows;
pub mod schema;
pub mod sheet;
pub mod sweep;
pub mod table;
pub mod units;
pub mod verdict;
pub mod words;
pub mod wrap;

use clap::ValueEnum;
use sheet::Exporter;

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs (see exitprof schema)
    Json,
    /// For spreadsheets (see exitprof schema)
    Csv,
    /// For reports of bugs and the like
    Markdown,
    /// For monitoring systems: OpenMetrics 1.0
    Openmetrics,
    /// For Prometheus' node_exporter and other systems that do not know OpenMetrics
    Prometheus,
}

impl Format {
    /// What writes it.
    pub fn exporter(self) -> Box<dyn Exporter> {
        match self {
            Format::Table => Box::new(table::Table),
            Format::Json => Box::new(json::Json),
            Format::Csv => Box::<csv::Csv>::default(),
            Format::Markdown => Box::new(markdown::Markdown),
            Format::Openmetrics => Box::new(metrics::Metrics(metrics::Text::OpenMetrics)),
            Format::Prometheus => Box::new(metrics::Metrics(metrics::Text::Prometheus)),
        }
    }

    /// Whether it has words, too.
    pub fn is_for_people(self) -> bool {
        self.exporter().is_for_people()
    }
}
