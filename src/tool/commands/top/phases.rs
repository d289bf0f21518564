// SPDX-License-Identifier: GPL-2.0

//! The list of bars on the screen that show where time went.

use super::{
    bars::{Bar, PartOrder, group},
    list::TOTAL,
    listing::{Entry, Head, Listing},
    state::State,
};
use crate::{
    budget::{Part, Time, switch_on},
    render::{
        budget::PARTS,
        rows::{self, heading},
        units,
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Stylize},
    text::{Line, Span, Text},
};

/// What bars are made of: of each part a mark, so that bars are read without colours, too.
const MARKS: [(char, Color); PARTS.len()] = [
    ('=', Color::Green),
    ('+', Color::Blue),
    ('H', Color::Yellow),
    ('L', Color::Magenta),
    ('U', Color::Cyan),
    ('P', Color::LightBlue),
    ('.', Color::Gray),
    ('X', Color::Red),
    ('z', Color::LightMagenta),
];

/// The width of shares.
const SHARE: usize = 6;
/// Bars are more needed than shares.
const SHORTEST_BAR: usize = 24;
const LONGEST_BAR: usize = 60;

/// What there is in place of bars, if there are none.
pub fn instead(state: &State) -> Option<String> {
    state.bars.is_empty().then(|| match state.interval() {
        None => "Waiting for a second reading.".into(),
        Some(_) if !state.filter.is_empty() => "No such rows in the last interval.".into(),
        Some(_) if state.now().phases == Some(true) => {
            "No vCPU had any time in the last interval.".into()
        }
        Some(_) => format!("There are no phases: {}.", switch_on(state.now())),
    })
}

/// The list as lines of text, of any number of rows.
pub fn lines(state: &State, width: usize) -> Vec<String> {
    let legend = legend(width);
    let legend = legend.iter().map(ToString::to_string);
    listing(state, width)
        .lines()
        .into_iter()
        .chain(legend)
        .collect()
}

/// Draws the list, and below it what the marks mean.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let legend = legend(area.width.into());
    let below = (legend.len() as u16).min(area.height / 2);
    let list = Rect {
        height: area.height - below,
        ..area
    };
    let left = listing(state, area.width.into()).draw(frame, list, state.cursor());
    let area = Rect {
        height: left.height + below,
        ..left
    };
    frame.render_widget(Text::from(legend), area);
}

fn listing(state: &State, width: usize) -> Listing {
    let names: Vec<String> =
        rows::told_apart((state.bars.iter()).map(|bar| (&*bar.key.name, bar.key.id)))
            .into_iter()
            .zip(&state.bars)
            .map(|(name, bar)| match &bar.vm_name {
                Some(vm) => format!("{name} {}", rows::shortened(vm)),
                None => name,
            })
            .collect();
    let head = heading(group(state.selection().by));
    let widest = names.iter().map(|name| name.chars().count()).max();
    let name = widest.unwrap_or(0).max(head.len());
    let columns = columns_for(&state.bars, width.saturating_sub(name + 1 + SHORTEST_BAR));
    let column = |&part: &usize| {
        let label = PARTS[part].0.label;
        Head {
            label,
            width: label.len().max(SHARE),
            is_order: state.part == PartOrder { part: Some(part) },
        }
    };
    let columns_heads: Vec<Head> = columns.iter().map(column).collect();
    let used = columns_heads
        .iter()
        .map(|head| head.width + 1)
        .sum::<usize>();
    let room = width.saturating_sub(name + used + 1).min(LONGEST_BAR);
    let entry = |name: String, time: &Time| {
        let parts: Vec<Part> = time.parts().collect();
        let cell = |&part: &usize| {
            let share = parts[part].percent.filter(|&share| share > 0.0);
            share.map_or("-".into(), |share| units::percent(share / 100.0))
        };
        Entry {
            name,
            cells: columns.iter().map(cell).collect(),
            bar: stacked(time, room),
        }
    };
    let mut sum = Time::default();
    for bar in &state.bars {
        sum += bar.time;
    }
    let head = Head {
        label: head,
        width: name,
        is_order: state.part == PartOrder { part: None },
    };
    Listing {
        heads: [head].into_iter().chain(columns_heads).collect(),
        rows: (names.into_iter().zip(&state.bars))
            .map(|(name, bar)| entry(name, &bar.time))
            .collect(),
        total: (state.bars.len() > 1).then(|| entry(TOTAL.into(), &sum)),
        bar: room,
    }
}

/// The parts whose shares fit into `room` columns and are not all 0. Of others, people see the
/// bars alone.
fn columns_for(bars: &[Bar], room: usize) -> Vec<usize> {
    let has_time = |&part: &usize| {
        let mut shares = bars.iter().filter_map(|bar| bar.time.parts().nth(part));
        part == 0 || shares.any(|part| part.cycles > 0)
    };
    let mut columns: Vec<usize> = (0..PARTS.len()).filter(has_time).collect();
    let width = |part: &usize| PARTS[*part].0.label.len().max(SHARE) + 1;
    while columns.iter().map(width).sum::<usize>() > room {
        let least = columns.iter().map(|&part| PARTS[part].1).min();
        columns.retain(|&part| Some(PARTS[part].1) != least);
    }
    columns
}

/// A bar of so many characters, in which each part has as many as its share, rounded so that
/// they fill it.
fn stacked(time: &Time, width: usize) -> Line<'static> {
    let mut line = Line::default();
    let (mut cycles, mut drawn) = (0, 0);
    for (part, (mark, color)) in time.parts().zip(MARKS) {
        cycles += part.cycles;
        let end = match time.elapsed {
            0 => 0,
            elapsed => (cycles as f64 / elapsed as f64 * width as f64).round() as usize,
        };
        let end = end.min(width);
        line.push_span(Span::from(mark.to_string().repeat(end.saturating_sub(drawn))).fg(color));
        drawn = end.max(drawn);
    }
    line
}

/// What the marks mean, in lines that fit.
fn legend(width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for ((meta, _), (mark, color)) in PARTS.into_iter().zip(MARKS) {
        let last = lines.len() - 1;
        let used = lines[last].width();
        let item = [
            Span::from(mark.to_string()).fg(color).bold(),
            Span::from(format!(" {}", meta.label)),
        ];
        let needed = 2 + meta.label.len();
        if used > 0 && used + 2 + needed > width {
            lines.push(Line::from_iter(item));
            continue;
        }
        if used > 0 {
            lines[last].push_span("  ");
        }
        item.into_iter()
            .for_each(|span| lines[last].push_span(span));
    }
    lines
}
