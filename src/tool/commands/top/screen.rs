// SPDX-License-Identifier: GPL-2.0

//! Draws the screen, at any size.

use super::{
    list, phases,
    state::{Overlay, State},
};
use crate::{
    reasons,
    render::{
        buckets::Histogram,
        units::{self, Unit},
        words, wrap,
    },
    select::Key,
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::{Line, Text},
    widgets::{Paragraph, Wrap},
};

/// The most lines of a message.
const MESSAGE: usize = 3;

const KEYS: [(&str, &str); 17] = [
    ("s >", "sort by the next column"),
    ("<", "sort by the previous column"),
    ("r", "reverse the order"),
    ("v", "switch to VMs, to vCPUs, or back to reasons"),
    (
        "t",
        "show where the time of vCPUs, or of VMs, went in the last interval; or exits again",
    ),
    (
        "Up Down",
        "select a row, or scroll (also k j, PgUp PgDn, Home End)",
    ),
    (
        "Enter",
        "on a VM or vCPU: show its reasons; on a reason: show its details, if they are recorded",
    ),
    (
        "l",
        "show exits of L1 only, of L2, those of L2 that KVM gave to the hypervisor in L1, or all",
    ),
    ("h", "on a reason: show the histogram of its times"),
    (
        "/",
        "show only rows whose names contain a text; Esc shows all",
    ),
    ("+ -", "read less or more often"),
    ("Esc", "go back"),
    (
        "b",
        "set the baseline to now: Exits and the columns to its right count from the baseline",
    ),
    ("p Space", "pause, or go on"),
    ("Ctrl-Z", "stop; the shell's fg goes on"),
    ("?", "show or hide this help"),
    ("q Ctrl-C", "quit"),
];
/// The width of the keys' column.
const KEY: usize = 11;

/// What the screen shows besides the state.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether to show cycles, even if the TSC's frequency is known.
    pub cycles: bool,
}

/// Draws everything.
pub fn draw(frame: &mut Frame, state: &State, settings: Settings) {
    let message = state.error.as_ref().or(state.notice.as_ref());
    let width = usize::from(frame.area().width).max(1);
    // Wrapping leaves lines shorter than the screen: count on three quarters.
    let lines = message.map_or(0, |text| text.len().div_ceil(width - width / 4));
    let [head, status, told, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(lines.min(MESSAGE) as u16),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());

    let unit = Unit::of(state.now(), settings.cycles);
    let [title_text, status_text] = summary(state, unit, width);
    frame.render_widget(Line::from(title_text).bold(), head);
    frame.render_widget(Line::from(status_text), status);
    if let Some(message) = message {
        let style = match state.error {
            Some(_) => Style::new().red(),
            None => Style::new().yellow(),
        };
        let paragraph = Paragraph::new(message.as_str()).wrap(Wrap { trim: true });
        frame.render_widget(paragraph.style(style), told);
    }
    match &state.overlay {
        None => list(frame, body, state, unit),
        Some(Overlay::Help) => scrolled(frame, body, state, help(body.width.into())),
        Some(Overlay::Histogram(key)) => {
            let lines = histogram(state, key, unit, body.width.into());
            scrolled(frame, body, state, Text::from(lines));
        }
    }
    let keys = "? help  q quit  s sort  v VMs  t time  Enter open  Esc back  / filter  b baseline";
    if state.typing {
        frame.render_widget(Line::from(format!("/{}_", state.filter)).bold(), foot);
    } else {
        frame.render_widget(Line::from(fitting(keys, "  ", width)).dim(), foot);
    }
}

/// The screen as lines of text, with all rows.
pub fn lines(state: &State, settings: Settings, width: usize) -> Vec<String> {
    let unit = Unit::of(state.now(), settings.cycles);
    let message = state.error.iter().chain(&state.notice).next();
    let message = message.map(|text| wrap::wrapped(text, 0, 0, width));
    let [mut title, status] = summary(state, unit, width);
    if let Some(clock) = state.now().clock {
        title = fitting(
            &format!("{} {title}", units::time_of_day(clock)),
            "; ",
            width,
        );
    }
    [title, status]
        .into_iter()
        .chain(message.unwrap_or_default())
        .chain(match instead(state) {
            Some(text) => wrap::wrapped(&text, 0, 0, width),
            None if state.has_phases() => phases::lines(state, width),
            None => list::listing(state, unit, width).lines(),
        })
        .collect()
}

/// What there is in place of a list, if it has no rows.
fn instead(state: &State) -> Option<String> {
    match state.has_phases() {
        true => phases::instead(state),
        false => list::instead(state).map(String::from),
    }
}

/// Draws the list.
fn list(frame: &mut Frame<'_>, area: Rect, state: &State, unit: Unit) {
    if let Some(text) = instead(state) {
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
    } else if state.has_phases() {
        phases::draw(frame, area, state);
    } else {
        let listing = list::listing(state, unit, area.width.into());
        listing.draw(frame, area, state.cursor());
    }
}

/// What is shown, and the current rate.
fn summary(state: &State, unit: Unit, width: usize) -> [String; 2] {
    [title(state, unit), status_line(state)].map(|text| fitting(&text, "; ", width))
}

/// As many of the parts between marks as there is room for; the first in any case.
fn fitting(text: &str, mark: &str, width: usize) -> String {
    let mut parts: Vec<&str> = text.split(mark).collect();
    let length = |parts: &[&str]| parts.join(mark).chars().count();
    while parts.len() > 1 && length(&parts) > width {
        parts.pop();
    }
    let text = parts.join(mark);
    wrap::wrapped(&text, 0, 0, width).swap_remove(0)
}

/// The keys and what they do.
fn help(width: usize) -> Text<'static> {
    let indent = if width >= 3 * KEY { KEY } else { 2 };
    let lines = KEYS.iter().flat_map(|(key, what)| {
        let line = format!("{key:KEY$}{what}");
        wrap::wrapped(&line, KEY, indent, width)
    });
    Text::from(lines.map(Line::from).collect::<Vec<_>>())
}

/// Draws a text, scrolled at most to its end.
fn scrolled(frame: &mut Frame<'_>, area: Rect, state: &State, text: Text<'_>) {
    let most = text.lines.len().saturating_sub(area.height.into());
    let scroll = u16::try_from(state.scroll.min(most)).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(text).scroll((scroll, 0)), area);
}

fn title(state: &State, unit: Unit) -> String {
    let isa = reasons::set_name(state.now().isa);
    let head = match state.has_phases() {
        true => words::time_head,
        false => words::head,
    };
    let what = head(state.now(), state.selection(), unit);
    // Of details.
    match state.selection().reasons.as_slice() {
        [reason] => format!("{isa}: {reason}: {what}"),
        _ => format!("{isa}: {what}"),
    }
}

/// The current rate, and how the screen is updated.
fn status_line(state: &State) -> String {
    let mut parts = Vec::new();
    if state.paused {
        parts.push("PAUSED".into());
    }
    match state.total {
        Some((exits, cycles)) => {
            parts.push(format!("{} exits/s", units::rate(exits, 9)));
            let interval = state.interval();
            if let Some(share) = interval.and_then(|interval| interval.cpu_share(cycles)) {
                let cpus = state.now().cpus.unwrap_or(0);
                let cpus = units::counted(cpus, "CPU", "CPUs");
                parts.push(format!("{} of {cpus}", units::percent(share)));
            }
        }
        None => parts.push("- exits/s".into()),
    }
    parts.push(match state.replays {
        true => "replay".into(),
        false => format!("every {} s", state.delay.as_secs_f64()),
    });
    let since = state.since().seconds().unwrap_or(0.0);
    parts.push(format!("baseline {} ago", units::duration(since)));
    if !state.filter.is_empty() && !state.typing {
        parts.push(format!("only \"{}\"", state.filter));
    }
    if state.now().recording == Some(false) {
        parts.push("recording is off".into());
    }
    parts.join("; ")
}

/// The lines of a reason's histogram.
fn histogram(state: &State, key: &Key, unit: Unit, width: usize) -> Vec<Line<'static>> {
    let name = format!("{} since the baseline", key.name);
    let name = wrap::wrapped(&name, 0, 2, width).into_iter();
    let name: Vec<Line<'static>> = name.map(|part| Line::from(part).bold()).collect();
    let found = match state.histogram(key) {
        Ok(row) => Histogram::of(row, unit, width).ok_or("None of its exits was timed."),
        Err(why) => Err(why),
    };
    let histogram = match found {
        Ok(histogram) => histogram,
        Err(why) => {
            let why = wrap::wrapped(why, 0, 2, width).into_iter().map(Line::from);
            return name.into_iter().chain(why).collect();
        }
    };
    let buckets = histogram.buckets.into_iter();
    let buckets =
        buckets.map(|(figures, bar)| Line::from_iter([(figures + " ").into(), bar.cyan()]));
    let summary = histogram.summary.iter();
    let summary = summary.flat_map(|line| wrap::wrapped(line, 0, 2, width));
    let summary = summary.map(Line::from);
    name.into_iter()
        .chain(summary)
        .chain([Line::from(histogram.head).bold()])
        .chain(buckets)
        .collect()
}
