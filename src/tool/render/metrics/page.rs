// SPDX-License-Identifier: GPL-2.0

//! All metrics of one reading, or of an attempt to read, as text.

use super::{
    families,
    text::Text,
    write::{Once, Samples},
};
use crate::{series::Values, snapshot::Snapshot};
use prometheus_client::{
    collector::Collector,
    encoding::{self, DescriptorEncoder, prometheus_text},
    registry::Registry,
};
use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// What is shown.
#[derive(Clone, Debug)]
pub struct Page(Arc<Content>);

/// The versions of this program, for a metric.
static BUILD: LazyLock<[(&str, &str); 2]> = LazyLock::new(|| {
    [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", env!("EXITPROF_COMMIT")),
    ]
});

#[derive(Debug)]
struct Content {
    reading: Option<(Snapshot, Values)>,
    /// How long it took, if an exporter read it.
    took: Option<Duration>,
    /// Whether to say when series were zero.
    created: bool,
}

impl Page {
    /// A reading of its own.
    pub fn new(snapshot: Snapshot, values: Values) -> Page {
        Page(Arc::new(Content {
            reading: Some((snapshot, values)),
            took: None,
            created: true,
        }))
    }

    /// A reading of an exporter, which may have failed, and how long it took; and whether to
    /// say when series were zero.
    pub fn of_exporter(reading: Option<(Snapshot, Values)>, took: Duration, created: bool) -> Page {
        Page(Arc::new(Content {
            reading,
            took: Some(took),
            created,
        }))
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// None: memory is all that is written.
    pub fn text(&self, format: Text) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Encoding {
            content: Arc::clone(&self.0),
            created: self.0.created && format == Text::OpenMetrics,
        }));
        let mut once = Once::default();
        match format {
            Text::OpenMetrics => encoding::text::encode(&mut once, &registry)?,
            Text::Prometheus => prometheus_text::encode(&mut once, &registry)?,
        }
        Ok(once.text)
    }
}

#[derive(Debug)]
struct Encoding {
    content: Arc<Content>,
    created: bool,
}

impl Collector for Encoding {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Samples {
            encoder,
            created: self.created,
        };
        let Content { reading, took, .. } = &*self.content;
        if let Some(took) = took {
            families::exporter(&mut out, &*BUILD, reading.is_some(), *took)?;
        }
        match reading {
            Some((snapshot, values)) => families::all(&mut out, snapshot, values),
            None => Ok(()),
        }
    }
}
