// SPDX-License-Identifier: GPL-2.0

//! Which files there are in debugfs: `kvm_exitprof/` has those of the host, and a
//! directory for each VM, named as KVM names its own.

use crate::{
    host::{Host, KeepsHost},
    reading::Reading,
    sys::{
        debugfs::{Dir, File, Name, Text, TextPtr},
        error::to_c,
    },
    table, text,
    vcpus::{Vcpu, Vm},
};
use core::{
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    ptr::NonNull,
};

/// The module's directory, if debugfs could make it.
struct Root(UnsafeCell<Option<Dir>>);

// SAFETY: It is set before KVM knows us, and taken when KVM has forgotten us; in
// between it is only read.
unsafe impl Sync for Root {}

static ROOT: Root = Root(UnsafeCell::new(None));

fn root() -> Option<&'static Dir> {
    // SAFETY: Called by `attach()`, and by who has made it: see above.
    unsafe { (*ROOT.0.get()).as_ref() }
}

/// The module's directory, and all in it.
pub(crate) struct Files(());

impl Files {
    /// Makes the directory.
    ///
    /// # Safety
    ///
    /// KVM does not know us before, nor when what is returned is dropped.
    pub(crate) unsafe fn new() -> Files {
        let dir = Dir::new(&Name::new(format_args!("kvm_exitprof")));
        // SAFETY: By this function's contract.
        unsafe { *ROOT.0.get() = dir };
        Files(())
    }

    /// Makes the host's files.
    pub(crate) fn show_host(&self) {
        if let Some(root) = root() {
            for (name, file) in &HOST {
                // SAFETY: They are shown while the module is loaded, which is longer.
                unsafe { root.add(&Name::new(format_args!("{name}")), file) };
            }
        }
    }
}

/// The host's files.
static HOST: [(&str, File); 3] = [
    ("exits", File::new(show_host)),
    ("vcpus", File::new(show_vcpus)),
    ("profile", File::new(show_profile)),
];

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: By the contract of `new()`.
        unsafe { *ROOT.0.get() = None };
    }
}

/// Makes a directory for a vCPU, if there is one for its VM or one can be made.
///
/// # Safety
///
/// Called once, by who attaches the vCPU; [`remove_vcpu`] comes before that is freed.
pub(crate) unsafe fn add_vcpu(vcpu: &Vcpu) {
    let (vm, exits) = (vcpu.vm(), Name::new(format_args!("exits")));
    let mut vm_dir = vm.dir.lock();
    if vm_dir.is_none() {
        let private = vm as *const Vm as *mut c_void;
        // SAFETY: `remove_vm()` comes before the VM is freed.
        *vm_dir =
            root().and_then(|root| unsafe { root.with_file(&vm.name, &exits, show_vm, private) });
    }
    let name = Name::new(format_args!("vcpu{}", vcpu.head.number));
    let private = vcpu as *const Vcpu as *mut c_void;
    // SAFETY: By this function's contract; the VM's directory goes after its last vCPU's.
    unsafe {
        *vcpu.dir() = vm_dir
            .as_ref()
            .and_then(|vm_dir| vm_dir.with_file(&name, &exits, show_vcpu, private));
    }
}

/// Removes it; then nobody looks at the vCPU any more by a file of its own.
///
/// # Safety
///
/// Called by who detaches the vCPU.
pub(crate) unsafe fn remove_vcpu(vcpu: &Vcpu) {
    // SAFETY: By this function's contract.
    unsafe { *vcpu.dir() = None };
}

/// Removes the directory of a VM, all of whose vCPUs have ended.
pub(crate) fn remove_vm(vm: &Vm) {
    *vm.dir.lock() = None;
}

/// A file of the host's that is being opened.
struct Opening;

// SAFETY: debugfs holds the module for the file, and `Files` are gone before the
// host's memory.
unsafe impl KeepsHost for Opening {}

/// Shows the host's exits by reason.
///
/// # Safety
///
/// As for the others here: called for a file that is being opened, with what that was
/// made with.
unsafe extern "C" fn show_host(text: TextPtr, _: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let mut text = unsafe { Text::new(text) };
    to_c(Host::get(&Opening).map_or(Ok(()), |host| table::by_reason(&host, &mut text)))
}

/// Shows the host's exits by vCPU.
unsafe extern "C" fn show_vcpus(text: TextPtr, _: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let mut text = unsafe { Text::new(text) };
    let reading = Reading::begin();
    to_c(Host::get(&Opening).map_or(Ok(()), |host| table::by_vcpu(&host, &reading, &mut text)))
}

/// Shows all, for programs.
unsafe extern "C" fn show_profile(text: TextPtr, _: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let mut text = unsafe { Text::new(text) };
    let reading = Reading::begin();
    to_c(Host::get(&Opening).map_or(Ok(()), |host| text::write(&host, &reading, &mut text)))
}

/// Shows a VM's exits by reason.
unsafe extern "C" fn show_vm(text: TextPtr, vm: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let mut text = unsafe { Text::new(text) };
    to_c(NonNull::new(vm.cast::<Vm>()).map_or(Ok(()), |vm| {
        // SAFETY: `remove_vm()`, which waits for us, comes before it is freed.
        table::by_reason(unsafe { vm.as_ref() }, &mut text)
    }))
}

/// Shows a vCPU's exits by reason.
unsafe extern "C" fn show_vcpu(text: TextPtr, vcpu: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let mut text = unsafe { Text::new(text) };
    to_c(NonNull::new(vcpu.cast::<Vcpu>()).map_or(Ok(()), |vcpu| {
        // SAFETY: `remove_vcpu()`, which waits for us, comes before it is freed.
        table::by_reason(unsafe { vcpu.as_ref() }, &mut text)
    }))
}
