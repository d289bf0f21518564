// SPDX-License-Identifier: GPL-2.0

//! Reads the counters when somebody asks, but not more often than once a second.

use crate::{
    commands::tell::tell,
    render::metrics::{Page, Text},
    series::{By, Series, Values},
    snapshot::Snapshot,
    source::{Choice, Need, Source},
};
use anyhow::Result;
use hyper::body::Bytes;
use std::time::{Duration, Instant};

/// How long a page is used again.
const AGE: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Debug)]
pub struct Scraper {
    choice: Choice,
    /// Found when it is read first, or again after an error: the module may be loaded later.
    source: Option<Source>,
    series: Series,
    created: bool,
    /// Why the last reading failed.
    fault: Option<String>,
    /// The last page in each format, and when it was begun.
    pages: [Option<(Instant, Bytes)>; Text::ALL.len()],
}

impl Scraper {
    /// Has read nothing yet.
    pub fn new(choice: Choice, (by, limit): (By, usize), created: bool) -> Scraper {
        Scraper {
            choice,
            source: None,
            series: Series::new(by, limit),
            created,
            fault: None,
            pages: Default::default(),
        }
    }

    /// The page in a format.
    ///
    /// # Errors
    ///
    /// None: what cannot be read is part of the page.
    pub fn page(&mut self, format: Text) -> Result<Bytes> {
        let begun = Instant::now();
        let place = Text::ALL.iter().position(|&other| other == format);
        let place = place.unwrap_or_default();
        if let Some((at, page)) = &self.pages[place]
            && begun.duration_since(*at) < AGE
        {
            return Ok(page.clone());
        }
        // Not both at one time.
        self.pages[place] = None;
        let reading = self.read();
        let page = Page::of_exporter(reading, begun.elapsed(), self.created);
        let page = Bytes::from(page.text(format)?);
        self.pages[place] = Some((begun, page.clone()));
        Ok(page)
    }

    /// Why the last reading failed, if it did.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Reads, and says so when that begins or ceases to fail.
    fn read(&mut self) -> Option<(Snapshot, Values)> {
        match self.try_read() {
            Ok(reading) => {
                if self.fault.take().is_some() {
                    tell("the counters can be read again");
                }
                Some(reading)
            }
            Err(e) => {
                self.source = None;
                let fault = format!("{e:#}");
                if self.fault.as_ref() != Some(&fault) {
                    tell(&fault);
                }
                self.fault = Some(fault);
                None
            }
        }
    }

    fn try_read(&mut self) -> Result<(Snapshot, Values)> {
        let source = match &mut self.source {
            Some(source) => source,
            None => (self.source).insert(Source::find(&self.choice, Need::ForOthers)?),
        };
        let snapshot = source.read()?;
        let values = self.series.next(&snapshot);
        Ok((snapshot, values))
    }
}
