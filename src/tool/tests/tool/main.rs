// SPDX-License-Identifier: GPL-2.0

//! The tool: what it prints for known profiles, how it reads in a guest, what it does with
//! any input, and how it behaves as a command.

mod alike;
mod bpf;
mod changes;
mod check;
mod command;
mod compare;
mod details;
mod ends;
mod examples;
mod exporter;
mod files;
mod fuzz;
mod golden;
mod growing;
mod guest;
mod hangup;
mod host;
mod interval;
mod leaves;
mod metrics;
mod period;
mod phase_changes;
mod phases;
mod plot;
mod properties;
mod recording;
mod schema;
mod signals;
mod sizes;
mod stat;
mod sweep;
mod terminal;
mod top;
mod untimed;
mod validator;
mod vms;
