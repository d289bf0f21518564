// SPDX-License-Identifier: GPL-2.0

//! What keys do.

use super::state::{Overlay, Place, State};
use crate::select::{By, Level, Selection};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::{ops::ControlFlow, time::Duration};

/// No text has more lines on a screen.
const LONGEST: usize = 500;
/// How many rows a page key moves.
const PAGE: isize = 10;

impl State {
    /// Does what a key asks for. Breaks if it asks to quit.
    pub fn press(&mut self, key: KeyEvent) -> ControlFlow<()> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return ControlFlow::Break(());
        }
        self.notice = None;
        if self.typing {
            self.type_filter(key.code);
            return ControlFlow::Continue(());
        }
        match key.code {
            KeyCode::Char('q') => return ControlFlow::Break(()),
            KeyCode::Char('+') => self.delay = other_delay(self.delay, true),
            KeyCode::Char('-') => self.delay = other_delay(self.delay, false),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('b') => self.rebase(),
            KeyCode::Esc => return self.back(),
            KeyCode::Char('?') if self.overlay == Some(Overlay::Help) => self.overlay = None,
            KeyCode::Char('?') => self.open(Overlay::Help),
            KeyCode::Up | KeyCode::Char('k') => return self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => return self.step(1),
            KeyCode::PageUp => return self.step(-PAGE),
            KeyCode::PageDown => return self.step(PAGE),
            KeyCode::Home => return self.step(isize::MIN),
            KeyCode::End => return self.step(isize::MAX),
            // The keys below act on the list.
            _ if self.overlay.is_some() => (),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('s' | '>') => self.sort_by_next(),
            KeyCode::Char('<') => self.sort_by_previous(),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char('v') => self.other_list(),
            KeyCode::Char('t') => self.switch_phases(),
            KeyCode::Char('l') => self.other_level(),
            KeyCode::Char('h') => self.open_histogram(),
            KeyCode::Enter => self.enter(),
            _ => (),
        }
        self.refresh();
        ControlFlow::Continue(())
    }

    /// Goes back one step.
    fn back(&mut self) -> ControlFlow<()> {
        if self.overlay.take().is_some() {
            // The list shows again.
        } else if !self.filter.is_empty() {
            self.filter.clear();
        } else if self.places.len() > 1 {
            self.places.pop();
        } else if self.has_phases() {
            self.switch_phases();
        } else if self.selection().by != By::Reason {
            self.places = vec![Place::new(self.everything.clone())];
        } else {
            self.notice = Some("This is the first list: q quits.".into());
        }
        self.refresh();
        ControlFlow::Continue(())
    }

    /// Changes the filter.
    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) => self.filter.push(c),
            _ => (),
        }
        self.place_mut().cursor = None;
        self.refresh();
    }

    /// Moves the cursor, or scrolls. The rows do not change.
    fn step(&mut self, rows: isize) -> ControlFlow<()> {
        if self.overlay.is_some() {
            self.scroll = self.scroll.saturating_add_signed(rows).min(LONGEST);
        } else {
            let keys = self.keys();
            let last = keys.len().saturating_sub(1);
            let to = self.cursor().saturating_add_signed(rows).min(last);
            self.place_mut().cursor = keys.get(to).cloned();
        }
        ControlFlow::Continue(())
    }

    fn open(&mut self, overlay: Overlay) {
        self.overlay = Some(overlay);
        self.scroll = 0;
    }

    /// Switches from reasons to VMs, to vCPUs, and back. Within a VM, there is no list of VMs.
    fn other_list(&mut self) {
        if !self.now().origin.is_host() {
            self.notice = Some("A guest cannot see VMs and vCPUs.".into());
            return;
        }
        let place = self.place_mut();
        let Selection { by, vms, vcpu, .. } = &place.selection;
        let is_one_vm = !vms.is_empty() || vcpu.is_some();
        let by = match by {
            By::Vm | By::VmReason if place.phases => By::Vcpu,
            _ if place.phases && !is_one_vm => By::Vm,
            _ if place.phases => *by,
            By::Reason if vcpu.is_some() => By::Reason,
            By::Reason if !vms.is_empty() => By::Vcpu,
            By::Reason => By::Vm,
            By::Vm => By::Vcpu,
            By::Vcpu | By::VmReason | By::VcpuReason => By::Reason,
            By::Detail | By::Rip | By::RipReason => By::Reason,
        };
        if place.selection.by.is_of_keys() {
            place.selection.reasons.clear();
        }
        place.selection.by = by;
        place.cursor = None;
    }

    /// Switches from all levels of nested guests to L1, to L2, to what was reflected, and back.
    fn other_level(&mut self) {
        let is_of_keys = self.selection().by.is_of_keys();
        let next = match self.selection().level {
            None => Some(Level::L1),
            Some(Level::L1) => Some(Level::L2),
            // Nobody knows the details of what was reflected.
            Some(Level::L2) if !is_of_keys => Some(Level::Reflected),
            Some(Level::L2 | Level::Reflected) => None,
        };
        if self.has_phases() {
            self.notice = Some("Where time went is not known by level.".into());
        } else if let Err(e) = self.choose_level(next) {
            self.notice = Some(format!("{e}."));
        }
    }

    /// Shows the histogram of a reason.
    fn open_histogram(&mut self) {
        let key = self.keys().get(self.cursor()).cloned();
        match key {
            Some(key) if self.selection().by == By::Reason && !self.has_phases() => {
                self.open(Overlay::Histogram(key));
            }
            _ => self.notice = Some("Only reasons have histograms.".into()),
        }
    }

    /// Enters a VM or vCPU, or shows the details of a reason; its histogram, if they are not
    /// recorded.
    fn enter(&mut self) {
        let Some(key) = self.keys().get(self.cursor()).cloned() else {
            return;
        };
        if self.selection().by == By::Reason && !self.has_phases() {
            let mut details = self.now().details.iter();
            if details.any(|entry| entry.reason == key.reason) {
                self.places.push(Place::new(Selection {
                    by: By::Detail,
                    reasons: vec![key.name.to_string()],
                    ..self.selection().clone()
                }));
            } else {
                self.open(Overlay::Histogram(key));
            }
        } else if key.vm.is_none() {
            self.notice = Some(format!("The row \"{}\" has no details.", key.name));
        } else {
            // A VM has vCPUs to show. What a vCPU has, are exits.
            let phases = self.has_phases() && key.vcpu.is_none();
            let selection = Selection {
                vms: key.vm.iter().map(|vm| vm.to_string()).collect(),
                vcpu: key.vcpu,
                id: key.id,
                ..self.everything.clone()
            };
            self.places.push(Place {
                phases,
                ..Place::new(selection)
            });
        }
    }
}

/// The next longer or shorter time between readings.
fn other_delay(delay: Duration, longer: bool) -> Duration {
    const ALL: [u64; 12] = [
        100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000, 300_000, 600_000, 3_600_000,
    ];
    let mut all = ALL.into_iter().map(Duration::from_millis);
    let next = match longer {
        true => all.find(|&other| other > delay),
        false => all.rfind(|&other| other < delay),
    };
    next.unwrap_or(delay)
}
