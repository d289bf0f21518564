// SPDX-License-Identifier: GPL-2.0

//! `exitprof top`: what is counted now, on a screen that keeps up with it.

pub mod state;
