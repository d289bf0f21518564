// SPDX-License-Identifier: GPL-2.0

//! VMs: their names, several of them, and their reasons.

use crate::{
    host::{Host, PROFILE, exitprof, output},
    schema::check,
};
use serde_json::Value;
use std::fs;

/// A host whose VMs are processes: one of QEMU, as libvirt starts it, and one without a name.
fn named() -> Host {
    let host = Host::new(PROFILE);
    for (pid, file, text) in [
        (
            412,
            "cmdline",
            "qemu\0-name\0guest=web one,debug-threads=on\0-S\0",
        ),
        (412, "comm", "CPU 0/KVM\n"),
        (977, "cmdline", "./vmm\0disk.img\0"),
        (977, "comm", "vmm\n"),
    ] {
        let dir = host.0.path().join(format!("proc/{pid}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), text).unwrap();
    }
    host
}

/// A report, without when it was read.
fn report(host: &Host, arguments: &[&str]) -> String {
    let text = output(host.exitprof("report").args(arguments));
    let timeless = text.lines().filter(|line| !line.starts_with("Read "));
    timeless.map(|line| format!("{line}\n")).collect()
}

fn json(host: &Host, arguments: &[&str]) -> Value {
    let text = report(host, &[&["--format", "json"], arguments].concat());
    check(&text, "Report");
    serde_json::from_str(&text).unwrap()
}

/// The sum of a field over all rows.
fn sum(json: &Value, field: &str) -> u64 {
    let rows = json["rows"].as_array().unwrap().iter();
    rows.map(|row| row[field].as_u64().unwrap()).sum()
}

#[test]
fn vms_are_shown_and_chosen_by_their_names() {
    let host = named();
    let table = report(&host, &["--by", "vm"]);
    insta::assert_snapshot!(table);
    let rows = json(&host, &["--by", "vcpu", "--vm", "web one"]);
    let names = rows["rows"].as_array().unwrap().iter();
    assert!(
        names
            .map(|row| &row["vm_name"])
            .all(|name| name == "web one")
    );
    assert_eq!(rows["rows"].as_array().unwrap().len(), 2);
    for vm in ["412", "412-11", "web one"] {
        assert_eq!(json(&host, &["--vm", vm])["total"], rows["total"], "{vm}");
    }
    let run = host
        .exitprof("report")
        .args(["--vm", "web"])
        .assert()
        .code(1)
        .get_output()
        .clone();
    let says = "exitprof: there is no VM web: there are 412-11 (web one), 977-14 (vmm)\n";
    assert_eq!(String::from_utf8(run.stderr).unwrap(), says);
}

#[test]
fn several_vms_are_added_up() {
    let host = named();
    let exits = |arguments: &[&str]| json(&host, arguments)["total"]["exits"].as_u64().unwrap();
    let both = exits(&["--vm", "412", "--vm", "vmm"]);
    assert_eq!(both, exits(&["--vm", "412"]) + exits(&["-p", "977"]));
    assert!(report(&host, &["--vm", "412", "-p", "vmm"]).starts_with("Exits of VMs 412, vmm; "));
    host.exitprof("report")
        .args(["--vm", "412", "--vm", "5"])
        .assert()
        .code(1);
}

/// Recordings keep them.
#[test]
fn names_are_recorded() {
    let host = named();
    let file = host.0.path().join("recording");
    host.exitprof("record").arg(&file).assert().success();
    check(&fs::read_to_string(&file).unwrap(), "Snapshot");
    let mut command = exitprof();
    let text = output(command.args(["report", "--vm", "web one", "-i"]).arg(&file));
    assert!(text.starts_with("Exits of VM web one; "), "{text}");
}

#[test]
fn names_that_would_confuse_are_refused() {
    let host = named();
    let text = output(host.exitprof("record").arg("-"));
    let file = host.0.path().join("recording");
    fs::write(&file, text.replace("web one", "\\u001b[31m")).unwrap();
    let run = exitprof()
        .args(["report", "-i"])
        .arg(file)
        .assert()
        .code(1)
        .get_output()
        .clone();
    let error = String::from_utf8(run.stderr).unwrap();
    assert!(error.contains("is not the name of a VM"), "{error}");
}

#[test]
fn reasons_of_vms_add_up_to_vms() {
    let host = named();
    let by = |what| json(&host, &["--by", what]);
    let (vms, reasons) = (by("vm"), by("vm,reason"));
    assert_eq!(reasons["total"], vms["total"]);
    for vm in vms["rows"].as_array().unwrap() {
        let of_vm = reasons["rows"].as_array().unwrap().iter();
        let of_vm = of_vm.filter(|row| row["owner"] == vm["name"]);
        let exits: u64 = of_vm.map(|row| row["exits"].as_u64().unwrap()).sum();
        assert_eq!(vm["exits"], exits, "{}", vm["name"]);
    }
    let vcpus = by("vcpu,reason");
    assert_eq!(sum(&vcpus, "exits"), sum(&vms, "exits"));
    assert_eq!(by("reason,vm")["rows"], reasons["rows"]);
    let all = json(
        &host,
        &["--by", "vcpu,reason", "--all", "--reason", "INVLPG"],
    );
    assert_eq!(
        (sum(&all, "exits"), all["rows"].as_array().unwrap().len()),
        (0, 3)
    );
    insta::assert_snapshot!(report(&host, &["--by", "vm,reason", "--top", "6"]));
}
