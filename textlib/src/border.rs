//! The plumbing of the C border: slices in, buffers out, errors as values, panics caught.

use std::panic::{catch_unwind, AssertUnwindSafe};

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Ok = 0,
    Invalid = 1,
    Unsupported = 2,
    Resource = 3,
    Internal = 4,
}

/// What went wrong, in words for the user.
#[derive(Debug, Clone)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

pub type Outcome<T> = Result<T, Failure>;

pub fn invalid(message: impl std::fmt::Display) -> Failure {
    Failure { status: Status::Invalid, message: message.to_string() }
}

pub fn unsupported(message: impl std::fmt::Display) -> Failure {
    Failure { status: Status::Unsupported, message: message.to_string() }
}

pub fn resource(message: impl std::fmt::Display) -> Failure {
    Failure { status: Status::Resource, message: message.to_string() }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    pub data: *const u8,
    pub size: usize,
}

impl Slice {
    /// # Safety
    /// `data` points to `size` readable bytes that outlive the result.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.size == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(self.data, self.size)
        }
    }

    /// # Safety
    /// As for `bytes`.
    pub unsafe fn text<'a>(self, what: &str) -> Outcome<&'a str> {
        std::str::from_utf8(self.bytes())
            .map_err(|e| invalid(format!("{what}: not UTF-8 at byte {}", e.valid_up_to())))
    }

    pub fn of(bytes: &[u8]) -> Slice {
        Slice { data: bytes.as_ptr(), size: bytes.len() }
    }
}

#[repr(C)]
pub struct Buffer {
    pub data: *mut u8,
    pub size: usize,
}

const ALIGNMENT: usize = 8;

impl Buffer {
    pub fn empty() -> Buffer {
        Buffer { data: std::ptr::null_mut(), size: 0 }
    }

    pub fn from_bytes(bytes: &[u8]) -> Buffer {
        if bytes.is_empty() {
            return Buffer::empty();
        }
        let layout = std::alloc::Layout::from_size_align(bytes.len(), ALIGNMENT).expect("buffer size");
        // SAFETY: the layout has a size above zero, and the copy stays inside the new block.
        unsafe {
            let data = std::alloc::alloc(layout);
            if data.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
            Buffer { data, size: bytes.len() }
        }
    }

    pub fn from_ids(ids: &[u32]) -> Buffer {
        // SAFETY: any u32 may be read as four bytes.
        Buffer::from_bytes(unsafe { std::slice::from_raw_parts(ids.as_ptr().cast::<u8>(), ids.len() * 4) })
    }
}

#[no_mangle]
pub extern "C" fn kt_buffer_free(buffer: Buffer) {
    if buffer.data.is_null() || buffer.size == 0 {
        return;
    }
    let layout = std::alloc::Layout::from_size_align(buffer.size, ALIGNMENT).expect("buffer size");
    // SAFETY: non-empty buffers come from `Buffer::from_bytes` with this very layout.
    unsafe { std::alloc::dealloc(buffer.data, layout) }
}

fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".into());
    format!("internal error in textlib: {text}")
}

/// Turns a panic into a failure. A panic on the way is silent: the message goes to the caller, not to standard error.
pub fn guarded<T>(body: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    quiet_panics();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(outcome) => outcome,
        Err(payload) => Err(Failure { status: Status::Internal, message: panic_text(payload) }),
    }
}

/// The default hook prints; ours stays silent, as every panic of this library reaches its caller as an error.
fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// Runs `body` for a C function: its bytes or its error's text go to `out`.
///
/// # Safety
/// `out` points to a writable Buffer.
pub unsafe fn answer(out: *mut Buffer, body: impl FnOnce() -> Outcome<Buffer>) -> Status {
    let (status, buffer) = match guarded(body) {
        Ok(buffer) => (Status::Ok, buffer),
        Err(failure) => (failure.status, Buffer::from_bytes(failure.message.as_bytes())),
    };
    *out = buffer;
    status
}

/// Runs `body` for a C function that makes a handle.
///
/// # Safety
/// `handle` and `out` point to writable places.
pub unsafe fn make<T>(handle: *mut *mut T, out: *mut Buffer, body: impl FnOnce() -> Outcome<T>) -> Status {
    *handle = std::ptr::null_mut();
    answer(out, || {
        let made = body()?;
        *handle = Box::into_raw(Box::new(made));
        Ok(Buffer::empty())
    })
}

/// # Safety
/// `handle` is NULL or came from `make` or `Box::into_raw`, and is not used afterwards.
pub unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(handle))));
    }
}
