// SPDX-License-Identifier: GPL-2.0
//! Whose exits: what the host sees by VM and vCPU.

mod crowds;
mod profiles;
pub mod waiting;
mod without;

use crate::harness::{Effort, Test};
use crate::host::{Host, State, cpus};

pub fn tests(effort: Effort) -> Vec<Test<Host>> {
    let absent = State::Absent;
    let long = 180 * u64::from(effort.factor);
    vec![
        Test::new("vcpu.own_exits", absent, profiles::own_exits),
        Test::new("vcpu.ended", absent, profiles::ended),
        Test::new("vcpu.already_running", absent, |host| {
            cpus::changing_code(|| profiles::already_running(host))
        }),
        Test::new("vcpu.on_all_cpus", absent, profiles::on_all_cpus),
        Test::new("vcpu.many_vms", absent, move |host| {
            crowds::many_vms(host, effort)
        })
        .seconds(long),
        Test::new("vcpu.created_while_loading", absent, move |host| {
            cpus::changing_code(|| crowds::created_while_loading(host, effort))
        })
        .seconds(long),
        Test::new("vcpu.report", absent, profiles::report),
        Test::new("vcpu.without_memory", absent, without::without_memory),
        Test::new("vcpu.not_wanted", absent, without::not_wanted),
    ]
}
