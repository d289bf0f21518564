// SPDX-License-Identifier: GPL-2.0

//! The files in debugfs. `kvm_exitprof/` has the host's files, and a directory for each
//! VM. Its name is the name of the VM's directory in KVM's part of debugfs.

use crate::{
    host::{Host, KeepsHost},
    reading::Reading,
    sys::{
        debugfs::{Dir, File, Name, Text, TextPtr},
        error::to_c,
    },
    table, text,
    vm::{Vcpu, Vm},
};
use core::{
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    ptr::NonNull,
};

/// The module's directory; `None` if debugfs could not make it.
struct Root(UnsafeCell<Option<Dir>>);

// SAFETY: It is written before the registration with KVM and after the unregistration. In
// between, it is only read.
unsafe impl Sync for Root {}

static ROOT: Root = Root(UnsafeCell::new(None));

/// The module's directory.
///
/// # Safety
///
/// A [`Files`] exists during `'a`.
unsafe fn root<'a>() -> Option<&'a Dir> {
    // SAFETY: `ROOT` is only written when a `Files` is made and dropped.
    unsafe { (*ROOT.0.get()).as_ref() }
}

/// The module's directory. Dropping it removes the directory with all its content.
pub(crate) struct Files(());

impl Files {
    /// Makes the directory.
    ///
    /// # Safety
    ///
    /// The profiler is not registered with KVM: neither when this is called, nor when the
    /// result is dropped.
    pub(crate) unsafe fn new() -> Files {
        let dir = Dir::new(&Name::new(format_args!("kvm_exitprof")));
        // SAFETY: The caller guarantees that KVM calls no callback, and so nobody reads
        // `ROOT`.
        unsafe { *ROOT.0.get() = dir };
        Files(())
    }

    pub(crate) fn show_host(&self) {
        // SAFETY: `self` exists.
        if let Some(root) = unsafe { root() } {
            for (name, file) in &HOST {
                // SAFETY: `HOST` and its functions exist as long as the module, which
                // outlives its directory.
                unsafe { root.add(&Name::new(format_args!("{name}")), file) };
            }
        }
    }
}

static HOST: [(&str, File); 3] = [
    ("exits", File::new(show_host)),
    ("vcpus", File::new(show_vcpus)),
    ("profile", File::new(show_profile)),
];

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: The caller of `new()` guarantees that KVM calls no callback, and so
        // nobody reads `ROOT`.
        unsafe { *ROOT.0.get() = None };
    }
}

/// Makes the directory of a vCPU, and of its VM if the VM has none yet. If debugfs cannot
/// make them, the vCPU has no directory.
///
/// # Safety
///
/// The caller attaches the vCPU, and calls this once, while a [`Files`] exists.
/// [`remove_vcpu`] is called before the vCPU is freed.
pub(crate) unsafe fn add_vcpu(vcpu: &Vcpu) {
    let (vm, exits) = (vcpu.vm(), Name::new(format_args!("exits")));
    let mut vm_dir = vm.dir.lock();
    if vm_dir.is_none() {
        let private = vm as *const Vm as *mut c_void;
        // SAFETY: A `Files` exists. `remove_vm()` removes the directory before the VM is
        // freed.
        *vm_dir =
            unsafe { root().and_then(|root| root.with_file(&vm.name, &exits, show_vm, private)) };
    }
    let name = Name::new(format_args!("vcpu{}", vcpu.head.number));
    let private = vcpu as *const Vcpu as *mut c_void;
    // SAFETY: The caller attaches the vCPU, so nobody else uses `dir()`. `remove_vcpu()`
    // removes the directory before the vCPU is freed, and before `remove_vm()` removes
    // the VM's directory.
    unsafe {
        *vcpu.dir() = vm_dir
            .as_ref()
            .and_then(|vm_dir| vm_dir.with_file(&name, &exits, show_vcpu, private));
    }
}

/// Removes the directory of a vCPU. Afterwards, nobody reads the vCPU through its file.
///
/// # Safety
///
/// The caller detaches the vCPU.
pub(crate) unsafe fn remove_vcpu(vcpu: &Vcpu) {
    // SAFETY: The caller detaches the vCPU, so nobody else uses `dir()`.
    unsafe { *vcpu.dir() = None };
}

/// Removes the directory of a VM whose vCPUs have all ended.
pub(crate) fn remove_vm(vm: &Vm) {
    *vm.dir.lock() = None;
}

/// The opening of a file, which keeps the host's memory in use.
///
/// # Invariants
///
/// debugfs opens one of our files, and the value does not outlive that.
struct Opening(());

impl Opening {
    /// # Safety
    ///
    /// The caller shows a file that is opened, and drops the result before it returns.
    unsafe fn new() -> Opening {
        // INVARIANT: The caller guarantees it.
        Opening(())
    }
}

// SAFETY: debugfs holds a reference to the module while it opens a file. `Files` waits
// for that when it is dropped, which is before the host's memory is freed.
unsafe impl KeepsHost for Opening {}

/// Shows the host's exits by reason.
///
/// # Safety
///
/// `debugfs.c` calls the functions below when a file is opened, with the file's text and
/// its private pointer.
unsafe extern "C" fn show_host(text: TextPtr, _: *mut c_void) -> c_int {
    // SAFETY: `debugfs.c` passes the text of the file that it opens.
    let mut text = unsafe { Text::new(text) };
    // SAFETY: The file is being opened, and `opening` is dropped before this returns.
    let opening = unsafe { Opening::new() };
    to_c(Host::get(&opening).map_or(Ok(()), |host| table::by_reason(&host, &mut text)))
}

/// Shows the host's exits by vCPU.
unsafe extern "C" fn show_vcpus(text: TextPtr, _: *mut c_void) -> c_int {
    // SAFETY: `debugfs.c` passes the text of the file that it opens.
    let mut text = unsafe { Text::new(text) };
    let reading = Reading::begin();
    // SAFETY: The file is being opened, and `opening` is dropped before this returns.
    let opening = unsafe { Opening::new() };
    to_c(Host::get(&opening).map_or(Ok(()), |host| table::by_vcpu(&host, &reading, &mut text)))
}

/// Shows everything, for programs.
unsafe extern "C" fn show_profile(text: TextPtr, _: *mut c_void) -> c_int {
    // SAFETY: `debugfs.c` passes the text of the file that it opens.
    let mut text = unsafe { Text::new(text) };
    let reading = Reading::begin();
    // SAFETY: The file is being opened, and `opening` is dropped before this returns.
    let opening = unsafe { Opening::new() };
    to_c(Host::get(&opening).map_or(Ok(()), |host| text::write(&host, &reading, &mut text)))
}

/// Shows a VM's exits by reason.
unsafe extern "C" fn show_vm(text: TextPtr, vm: *mut c_void) -> c_int {
    // SAFETY: `debugfs.c` passes the text of the file that it opens.
    let mut text = unsafe { Text::new(text) };
    to_c(NonNull::new(vm.cast::<Vm>()).map_or(Ok(()), |vm| {
        // SAFETY: `add_vcpu()` made the file for this VM. `remove_vm()` waits for this
        // call, and comes before the VM is freed.
        table::by_reason(unsafe { vm.as_ref() }, &mut text)
    }))
}

/// Shows a vCPU's exits by reason.
unsafe extern "C" fn show_vcpu(text: TextPtr, vcpu: *mut c_void) -> c_int {
    // SAFETY: `debugfs.c` passes the text of the file that it opens.
    let mut text = unsafe { Text::new(text) };
    to_c(NonNull::new(vcpu.cast::<Vcpu>()).map_or(Ok(()), |vcpu| {
        // SAFETY: `add_vcpu()` made the file for this vCPU. `remove_vcpu()` waits for
        // this call, and comes before the vCPU is freed.
        table::by_reason(unsafe { vcpu.as_ref() }, &mut text)
    }))
}
