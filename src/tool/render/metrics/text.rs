// SPDX-License-Identifier: GPL-2.0

//! The formats that monitoring systems read.

/// A format of that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own, version 0.0.4. It cannot say when a counter was zero.
    Prometheus,
}

impl Text {
    /// All of them. The first is the best.
    pub const ALL: [Text; 2] = [Text::OpenMetrics, Text::Prometheus];

    /// The type and subtype of its media type, and the version that it has there.
    pub fn media_type(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Text::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
            Text::Prometheus => ("text", "plain", "0.0.4"),
        }
    }

    /// The media type in full.
    pub fn content_type(self) -> &'static str {
        match self {
            Text::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Text::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}
