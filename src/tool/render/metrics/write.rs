// SPDX-License-Identifier: GPL-2.0

//! Writes families of metrics with prometheus-client.
//!
//! prometheus-client has no timestamps of creation. OpenMetrics wants them beside each counter
//! as samples of its family, whose name has the suffix `_created`. Here, they are gauges of a
//! family of their own, whose descriptors are left out.

use jiff::Timestamp;
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};
use std::fmt::{self, Result, Write};

/// What a family is called, and what it means.
#[derive(Debug)]
pub struct Family {
    /// The name, without the unit and without suffixes.
    pub name: &'static str,
    /// The unit, if it has one.
    pub unit: Option<Unit>,
    /// What it means, without a full stop.
    pub help: &'static str,
}

/// Labels: names and values. A label without a value is left out.
pub type Labels<'a> = [(&'static str, &'a str)];

/// Writes samples.
#[derive(Debug)]
pub struct Samples<'a> {
    pub encoder: DescriptorEncoder<'a>,
    /// Whether to write when counters were zero.
    pub created: bool,
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

impl Samples<'_> {
    /// A number of times, or of something else that only grows.
    pub fn count(
        &mut self,
        family: &Family,
        labels: &Labels<'_>,
        count: u64,
        created: Option<Timestamp>,
    ) -> Result {
        self.sample(family, MetricType::Counter, labels, |mut metric| {
            metric.encode_counter(&count, NO_EXEMPLAR)
        })?;
        self.created(family, labels, created)
    }

    /// A time that only grows, in seconds.
    pub fn time(
        &mut self,
        family: &Family,
        labels: &Labels<'_>,
        seconds: f64,
        created: Option<Timestamp>,
    ) -> Result {
        self.sample(family, MetricType::Counter, labels, |mut metric| {
            metric.encode_counter(&seconds, NO_EXEMPLAR)
        })?;
        self.created(family, labels, created)
    }

    /// A number that may grow or fall.
    pub fn gauge(&mut self, family: &Family, labels: &Labels<'_>, value: f64) -> Result {
        self.sample(family, MetricType::Gauge, labels, |mut metric| {
            metric.encode_gauge(&value)
        })
    }

    /// Words.
    pub fn info(&mut self, family: &Family, labels: &Labels<'_>) -> Result {
        self.sample(family, MetricType::Info, &[], |mut metric| {
            metric.encode_info(&given(labels).as_slice())
        })
    }

    /// The numbers of values up to each bound, which is the first of each pair.
    pub fn histogram(
        &mut self,
        family: &Family,
        labels: &Labels<'_>,
        sum: f64,
        buckets: &[(f64, u64)],
        created: Option<Timestamp>,
    ) -> Result {
        // A recording may say anything.
        let add = |sum: u64, (_, count): &(f64, u64)| sum.checked_add(*count);
        let Some(count) = buckets.iter().try_fold(0, add) else {
            return Ok(());
        };
        self.sample(family, MetricType::Histogram, labels, |mut metric| {
            metric.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
        })?;
        self.created(family, labels, created)
    }

    fn sample(
        &mut self,
        family: &Family,
        kind: MetricType,
        labels: &Labels<'_>,
        encode: impl FnOnce(MetricEncoder<'_>) -> Result,
    ) -> Result {
        let Family { name, unit, help } = family;
        let encoder = &mut self.encoder;
        let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
        match given(labels) {
            labels if labels.is_empty() => encode(metric),
            labels => encode(metric.encode_family(&labels.as_slice())?),
        }
    }

    fn created(
        &mut self,
        family: &Family,
        labels: &Labels<'_>,
        created: Option<Timestamp>,
    ) -> Result {
        let Some(created) = created.filter(|_| self.created) else {
            return Ok(());
        };
        let unit = family.unit.as_ref();
        let unit = unit.map_or_else(String::new, |unit| format!("_{}", unit.as_str()));
        let name = format!("{}{unit}{CREATED}", family.name);
        let labels = given(labels);
        let encoder = &mut self.encoder;
        let mut metric = encoder.encode_descriptor(&name, "", None, MetricType::Gauge)?;
        let mut metric = metric.encode_family(&labels)?;
        metric.encode_gauge(&(created.as_millisecond() as f64 / 1e3))
    }
}

/// The labels that have a value.
fn given<'a>(labels: &Labels<'a>) -> Vec<(&'static str, &'a str)> {
    let given = labels.iter().filter(|(_, value)| !value.is_empty());
    given.copied().collect()
}

/// What ends the name of timestamps of creation.
const CREATED: &str = "_created";

/// Text in which each family is described once, ahead of its first sample, though a
/// description precedes each sample.
#[derive(Debug, Default)]
pub struct Once {
    pub text: String,
    /// The line that is being written.
    line: String,
    /// The family that was described last.
    family: String,
    /// Whether it has a sample yet.
    has_sample: bool,
}

impl Once {
    /// Adds the line, unless it describes what has been described.
    fn end(&mut self) {
        let family = self.line.strip_prefix("# ").map(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next().unwrap_or_default()
        });
        let is_wanted = match family {
            None => {
                self.has_sample = true;
                true
            }
            Some(family) if family.ends_with(CREATED) => false,
            Some(family) if family == self.family => !self.has_sample,
            Some(family) => {
                self.family = family.into();
                self.has_sample = false;
                true
            }
        };
        if is_wanted {
            self.text.push_str(&self.line);
        }
        self.line.clear();
    }
}

impl Write for Once {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            self.line.push_str(piece);
            if piece.ends_with('\n') {
                self.end();
            }
        }
        Ok(())
    }
}
