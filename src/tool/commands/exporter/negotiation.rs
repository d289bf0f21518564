// SPDX-License-Identifier: GPL-2.0

//! Which format a client wants.

use crate::render::metrics::Text;
use mediatype::{MediaTypeList, Name, ReadParams};

const VERSION: Name<'_> = Name::new_unchecked("version");
const WEIGHT: Name<'_> = Name::new_unchecked("q");

/// The format for a client that sends `accept` in the header field Accept: OpenMetrics if that
/// names it, and not Prometheus' format with a higher weight.
pub fn format(accept: &str) -> Text {
    let open_metrics = weight(accept, Text::OpenMetrics);
    if open_metrics > 0.0 && open_metrics >= weight(accept, Text::Prometheus) {
        Text::OpenMetrics
    } else {
        Text::Prometheus
    }
}

/// How much a format is wanted: from 0 to 1. What does not name it counts as 0.
fn weight(accept: &str, format: Text) -> f32 {
    let (kind, subtype, version) = format.media_type();
    let ranges = MediaTypeList::new(accept).flatten();
    let own = ranges.filter(|range| range.ty == kind && range.subty == subtype);
    let own = own.filter(|range| range.get_param(VERSION).is_none_or(|v| v == version));
    let weights = own.map(|range| match range.get_param(WEIGHT) {
        Some(q) => q.as_str().parse().unwrap_or(0.0),
        None => 1.0,
    });
    weights.fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_prefers() {
        for (accept, wanted) in [
            ("", Text::Prometheus),
            ("*/*", Text::Prometheus),
            (
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Text::Prometheus,
            ),
            // Prometheus 2 and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Text::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Text::OpenMetrics,
            ),
            ("Application/OpenMetrics-Text", Text::OpenMetrics),
            (
                "application/openmetrics-text;version=2.0.0",
                Text::Prometheus,
            ),
            ("application/openmetrics-text;q=0", Text::Prometheus),
            (
                "application/openmetrics-text;q=0.3, text/plain;q=0.4",
                Text::Prometheus,
            ),
            ("application/openmetrics-text;q=x", Text::Prometheus),
            (",;=,application/openmetrics-text", Text::OpenMetrics),
        ] {
            assert_eq!(format(accept), wanted, "{accept}");
        }
    }
}
