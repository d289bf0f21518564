// SPDX-License-Identifier: GPL-2.0

//! Directories and files in debugfs: `debugfs.c`, which says when a file's text is
//! made.
//!
//! A directory is kept by its dentry, and never looked up by its name: that would ask
//! for the permissions of the task that happens to remove it.

use super::{
    bindings,
    memory::{self, Wait},
};
use core::{
    ffi::{c_char, c_int, c_void},
    fmt, ptr,
    ptr::NonNull,
};

/// A directory, which is removed with all that is in it when this is dropped.
///
/// # Invariants
///
/// The dentry came from `debugfs_create_dir()`, and nobody else removes it, or a
/// directory above it. The file is in it, and came from `memory::alloc()`.
pub(crate) struct Dir {
    dentry: NonNull<bindings::dentry>,
    file: Option<NonNull<File>>,
}

// SAFETY: debugfs does its own locking; no task owns a dentry.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

/// Writes a file's text, with what the file was made with; 0 or an error.
pub(crate) type Show = unsafe extern "C" fn(TextPtr, *mut c_void) -> c_int;

/// What a file shows.
#[repr(transparent)]
pub(crate) struct File(bindings::exitprof_file);

// SAFETY: It is never changed.
unsafe impl Sync for File {}

impl File {
    /// A file that `show` is to show, without anything.
    pub(crate) const fn new(show: Show) -> File {
        File(bindings::exitprof_file {
            show: Some(show),
            private: ptr::null_mut(),
        })
    }
}

/// A name, which ends with NUL.
pub(crate) struct Name([u8; 32]);

impl Name {
    /// What `text` prints, cut off where there is no room.
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Name {
        struct Cursor<'a>(core::slice::IterMut<'a, u8>);

        impl fmt::Write for Cursor<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for byte in text.bytes() {
                    *self.0.next().ok_or(fmt::Error)? = byte;
                }
                Ok(())
            }
        }

        let mut name = [0; 32];
        if let Some((_nul, room)) = name.split_last_mut() {
            // What has no room is cut off.
            let _ = fmt::Write::write_fmt(&mut Cursor(room.iter_mut()), text);
        }
        Name(name)
    }

    /// The name at `c`, a string that ends with NUL.
    ///
    /// # Safety
    ///
    /// `c` is one.
    pub(crate) unsafe fn from_c(c: *const c_char) -> Name {
        let mut name = [0; 32];
        if let Some((_nul, room)) = name.split_last_mut() {
            for (index, byte) in room.iter_mut().enumerate() {
                // SAFETY: By this function's contract; all before was not NUL.
                match unsafe { *c.add(index) } {
                    0 => break,
                    other => *byte = other as u8,
                }
            }
        }
        Name(name)
    }

    /// Without the NUL.
    pub(crate) fn as_str(&self) -> &str {
        let mut parts = self.0.split(|&byte| byte == 0);
        let text = parts.next().unwrap_or_default();
        core::str::from_utf8(text).unwrap_or("")
    }
}

impl Dir {
    fn make(name: &Name, parent: *mut bindings::dentry) -> Option<Dir> {
        // SAFETY: The name ends with NUL, and `parent` is a directory or NULL.
        let dir = unsafe { bindings::exitprof_make_dir(name.0.as_ptr().cast(), parent) };
        // INVARIANT: It was made just now.
        NonNull::new(dir).map(|dentry| Dir { dentry, file: None })
    }

    /// Makes one at the top, if debugfs can.
    pub(crate) fn new(name: &Name) -> Option<Dir> {
        Dir::make(name, ptr::null_mut())
    }

    /// Makes one in this one, with a file that `show` shows, which is called with
    /// `private`; if debugfs can, and there is none of that name.
    ///
    /// # Safety
    ///
    /// `show` may be called with `private` until what is returned is dropped, which is
    /// before this is.
    pub(crate) unsafe fn with_file(
        &self,
        dir: &Name,
        file: &Name,
        show: Show,
        private: *mut c_void,
    ) -> Option<Dir> {
        let mut dir = Dir::make(dir, self.dentry.as_ptr())?;
        let ours = memory::alloc(core::mem::size_of::<File>(), Wait::Yes).ok()?;
        let ours = ours.cast::<File>();
        // SAFETY: It was allocated just now.
        unsafe {
            ours.as_ptr().write(File(bindings::exitprof_file {
                show: Some(show),
                private,
            }));
        }
        // INVARIANT: As above.
        dir.file = Some(ours);
        // SAFETY: `drop()` removes it before it frees `ours`.
        unsafe { dir.add(file, ours.as_ref()) }.then(|| dir)
    }

    /// Makes a file in it; false if debugfs cannot.
    ///
    /// # Safety
    ///
    /// `file` may be shown, and lives, until this is dropped.
    pub(crate) unsafe fn add(&self, name: &Name, file: &File) -> bool {
        let dentry = self.dentry.as_ptr();
        // SAFETY: By the type's invariant, and by this function's contract.
        unsafe { bindings::exitprof_make_file(name.0.as_ptr().cast(), dentry, &file.0) }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant. It waits for those who are opening a file.
        unsafe { bindings::exitprof_remove(self.dentry.as_ptr()) };
        if let Some(file) = self.file {
            // SAFETY: By the type's invariant, and as nobody opens it any more.
            unsafe { memory::free(file.cast()) };
        }
    }
}

/// The text of a file that is being opened.
///
/// # Invariants
///
/// The pointer is that which `debugfs.c` has called us with, and waits.
pub(crate) struct Text(*mut bindings::list_head);

/// That, as C passes it.
pub(crate) type TextPtr = *mut bindings::list_head;

impl Text {
    /// # Safety
    ///
    /// By the type's invariant.
    pub(crate) unsafe fn new(text: TextPtr) -> Text {
        // INVARIANT: By this function's contract.
        Text(text)
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: By the type's invariant.
        match unsafe { bindings::exitprof_text_write(self.0, text.as_ptr().cast(), text.len()) } {
            0 => Ok(()),
            _ => Err(fmt::Error),
        }
    }
}
