// SPDX-License-Identifier: GPL-2.0

//! Directories and files in debugfs. `debugfs.c` makes the text of a file when it is
//! opened.
//!
//! A directory is kept by its dentry, and never looked up by name. A lookup would need
//! the permissions of the task that happens to remove the directory.

use super::{
    bindings,
    memory::{self, Wait},
};
use core::{
    ffi::{c_char, c_int, c_void},
    fmt, ptr,
    ptr::NonNull,
};

/// A directory. Dropping it removes it with all its content.
///
/// # Invariants
///
/// The dentry came from `debugfs_create_dir()`. Nobody else removes it or a directory
/// above it. The file is in this directory, and came from `memory::alloc()`.
pub(crate) struct Dir {
    dentry: NonNull<bindings::dentry>,
    file: Option<NonNull<File>>,
}

// SAFETY: debugfs locks what it changes, and a dentry belongs to no task.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

/// Writes a file's text; gets the file's private pointer. Returns 0 or an error.
pub(crate) type Show = unsafe extern "C" fn(TextPtr, *mut c_void) -> c_int;

/// The function that makes a file's text, and its private pointer.
#[repr(transparent)]
pub(crate) struct File(bindings::exitprof_file);

// SAFETY: A `File` is never changed.
unsafe impl Sync for File {}

impl File {
    /// A file whose `show` needs no private pointer.
    pub(crate) const fn new(show: Show) -> File {
        File(bindings::exitprof_file {
            show: Some(show),
            private: ptr::null_mut(),
        })
    }
}

/// A name with a terminating NUL.
pub(crate) struct Name([u8; 32]);

impl Name {
    /// Formats a name, truncated to 31 bytes.
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
            // The error says only that the name is truncated.
            let _ = fmt::Write::write_fmt(&mut Cursor(room.iter_mut()), text);
        }
        Name(name)
    }

    /// Copies a name, truncated to 31 bytes.
    ///
    /// # Safety
    ///
    /// `c` is a string with a terminating NUL.
    pub(crate) unsafe fn from_c(c: *const c_char) -> Name {
        let mut name = [0; 32];
        if let Some((_nul, room)) = name.split_last_mut() {
            for (index, byte) in room.iter_mut().enumerate() {
                // SAFETY: The caller guarantees that a NUL follows, and all bytes so far
                // were others.
                match unsafe { *c.add(index) } {
                    0 => break,
                    other => *byte = other as u8,
                }
            }
        }
        Name(name)
    }

    /// The name without the NUL.
    pub(crate) fn as_str(&self) -> &str {
        let mut parts = self.0.split(|&byte| byte == 0);
        let text = parts.next().unwrap_or_default();
        core::str::from_utf8(text).unwrap_or("")
    }
}

impl Dir {
    fn make(name: &Name, parent: *mut bindings::dentry) -> Option<Dir> {
        // SAFETY: `Name` ends with NUL, and `parent` is a directory or NULL.
        let dir = unsafe { bindings::exitprof_make_dir(name.0.as_ptr().cast(), parent) };
        // INVARIANT: The dentry is new, and has no file yet.
        NonNull::new(dir).map(|dentry| Dir { dentry, file: None })
    }

    /// Makes a directory at the top of debugfs; `None` if debugfs cannot.
    pub(crate) fn new(name: &Name) -> Option<Dir> {
        Dir::make(name, ptr::null_mut())
    }

    /// Makes the directory `dir` in this one, and the file `file` in `dir`. Opening it
    /// calls `show` with `private`. `None` if debugfs cannot, or if the name `dir`
    /// exists.
    ///
    /// # Safety
    ///
    /// `show` may be called with `private` until the result is dropped. The result is
    /// dropped before `self`.
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
        // SAFETY: The memory is new, and large enough for a `File`.
        unsafe {
            ours.as_ptr().write(File(bindings::exitprof_file {
                show: Some(show),
                private,
            }));
        }
        // INVARIANT: `ours` came from `memory::alloc()`, and is added to `dir` below.
        dir.file = Some(ours);
        // SAFETY: `drop()` removes the directory before it frees `ours`. The caller
        // guarantees the rest.
        unsafe { dir.add(file, ours.as_ref()) }.then(|| dir)
    }

    /// Makes a file in this directory. Returns false if debugfs cannot.
    ///
    /// # Safety
    ///
    /// `file` exists, and may be shown, until `self` is dropped.
    pub(crate) unsafe fn add(&self, name: &Name, file: &File) -> bool {
        let dentry = self.dentry.as_ptr();
        // SAFETY: By the type's invariant, `dentry` is a directory. The caller guarantees
        // that `file` outlives it.
        unsafe { bindings::exitprof_make_file(name.0.as_ptr().cast(), dentry, &file.0) }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, the dentry exists. This waits for tasks that
        // are opening a file.
        unsafe { bindings::exitprof_remove(self.dentry.as_ptr()) };
        if let Some(file) = self.file {
            // SAFETY: By the type's invariant, it came from `memory::alloc()`. Nobody can
            // open it any more.
            unsafe { memory::free(file.cast()) };
        }
    }
}

/// The text of a file that is being opened.
///
/// # Invariants
///
/// `debugfs.c` passed the pointer, and waits for the call to return.
pub(crate) struct Text(*mut bindings::list_head);

/// The pointer to a text, as C passes it.
pub(crate) type TextPtr = *mut bindings::list_head;

impl Text {
    /// # Safety
    ///
    /// `debugfs.c` passed `text`, and the result does not outlive the call.
    pub(crate) unsafe fn new(text: TextPtr) -> Text {
        // INVARIANT: The caller guarantees it.
        Text(text)
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: By the type's invariant, the text exists. The pointer and the length
        // are a slice's.
        match unsafe { bindings::exitprof_text_write(self.0, text.as_ptr().cast(), text.len()) } {
            0 => Ok(()),
            _ => Err(fmt::Error),
        }
    }
}
