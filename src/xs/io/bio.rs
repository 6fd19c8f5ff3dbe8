//! Lets a TLS session read and write memory of ours. The handle's session has memory BIOs, through which each byte is
//! copied twice; while the session decrypts or encrypts natively, a BIO of ours takes the place of one of them.

use super::openssl::{Functions, functions};
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, c_void};
use std::slice;
use std::sync::OnceLock;

/// BIO_TYPE_SOURCE_SINK: a BIO that passes nothing on to another one.
const TYPE_SOURCE_SINK: c_int = 0x0400;
/// BIO_FLAGS_READ and BIO_FLAGS_SHOULD_RETRY: there is no input now, but this is not the end.
const RETRY_READ: c_int = 0x01 | 0x08;
/// BIO_CTRL_PENDING: asks how many bytes of input are left.
const PENDING: c_int = 10;
/// BIO_CTRL_FLUSH, which a session expects to succeed.
const FLUSH: c_int = 11;

/// The memory that a session reads or writes at present.
#[derive(Default)]
enum Memory {
    #[default]
    Nothing,
    /// These bytes are left to be read.
    Input { start: *const u8, len: usize },
    /// Written bytes are appended. The vector itself is stored here, so that it survives if Perl code dies in a callback
    /// of OpenSSL's, past our frames.
    Output(Vec<u8>),
}

/// A BIO and the memory that it stands for. If Perl code dies in a callback of OpenSSL's, a session keeps the BIO.
#[derive(Clone, Copy)]
pub struct MemoryBio {
    functions: &'static Functions,
    bio: *mut c_void,
}

/// The BIO of a thread, once it was needed.
#[derive(Default)]
struct OfThread(Cell<Option<MemoryBio>>);

impl Drop for OfThread {
    fn drop(&mut self) {
        if let Some(MemoryBio { functions, bio }) = self.0.get() {
            // SAFETY: the thread gives up its reference.
            unsafe { (functions.bio_free)(bio) };
        }
    }
}

thread_local! {
    static BIO: OfThread = OfThread::default();
}

/// The methods of all [`MemoryBio`]s.
static METHOD: OnceLock<Option<usize>> = OnceLock::new();

impl MemoryBio {
    /// Returns this thread's BIO. Returns `None` if the thread ends, or OpenSSL has no memory.
    pub fn of_thread(functions: &'static Functions) -> Option<Self> {
        let of = |OfThread(bio): &OfThread| {
            if bio.get().is_none() {
                bio.set(Self::new(functions));
            }
            bio.get()
        };
        BIO.try_with(of).ok().flatten()
    }

    #[cold]
    fn new(functions: &'static Functions) -> Option<Self> {
        let method = (*METHOD.get_or_init(|| method(functions)))? as *mut c_void;
        // SAFETY: the method is never freed, and the BIO's data is freed with the BIO.
        unsafe {
            let bio = (functions.bio_new)(method);
            if bio.is_null() {
                return None;
            }
            (functions.bio_set_data)(bio, Box::into_raw(Box::new(Cell::new(Memory::Nothing))).cast());
            (functions.bio_set_init)(bio, 1);
            Some(Self { functions, bio })
        }
    }

    fn memory(&self) -> &Cell<Memory> {
        // SAFETY: this is a BIO of ours, of which the thread has a reference.
        unsafe { memory_of(self.functions, self.bio) }
    }

    /// Has `ssl`, whose BIO for reading is `own`, read `input` while `work` runs. Returns the result of `work`, and what
    /// is left of the input.
    ///
    /// # Safety
    /// Both are live, and `work` changes neither of the session's BIOs.
    pub unsafe fn with_input<R>(
        self,
        ssl: *mut c_void,
        own: *mut c_void,
        input: &[u8],
        work: impl FnOnce() -> R,
    ) -> (R, &[u8]) {
        let memory = Memory::Input { start: input.as_ptr(), len: input.len() };
        // SAFETY: the caller guarantees this.
        let (result, memory) = unsafe { self.exchange(memory, self.functions.ssl_set0_rbio, ssl, own, work) };
        let left = if let Memory::Input { len, .. } = memory { len } else { 0 };
        (result, &input[input.len() - left..])
    }

    /// Has `ssl`, whose BIO for writing is `own`, append to `output` while `work` runs.
    ///
    /// # Safety
    /// Both are live, and `work` changes neither of the session's BIOs.
    pub unsafe fn with_output<R>(
        self,
        ssl: *mut c_void,
        own: *mut c_void,
        output: &mut Vec<u8>,
        work: impl FnOnce() -> R,
    ) -> R {
        let memory = Memory::Output(std::mem::take(output));
        // SAFETY: the caller guarantees this.
        let (result, memory) = unsafe { self.exchange(memory, self.functions.ssl_set0_wbio, ssl, own, work) };
        if let Memory::Output(octets) = memory {
            *output = octets;
        }
        result
    }

    /// Calls `set` to put this BIO in the place of the session's own, and to undo it after `work`. Returns also what has
    /// become of the memory.
    unsafe fn exchange<R>(
        self,
        memory: Memory,
        set: unsafe extern "C" fn(*mut c_void, *mut c_void),
        ssl: *mut c_void,
        own: *mut c_void,
        work: impl FnOnce() -> R,
    ) -> (R, Memory) {
        // A callback of OpenSSL's may run Perl code, and that may use another session.
        let outer = self.memory().replace(memory);
        // SAFETY: the caller passes a live session with its own BIO. Each `set` takes over a reference to a BIO, and drops
        // one to the BIO that it replaces.
        let result = unsafe {
            (self.functions.bio_up_ref)(own);
            (self.functions.bio_up_ref)(self.bio);
            set(ssl, self.bio);
            let result = work();
            set(ssl, own);
            result
        };
        (result, self.memory().replace(outer))
    }
}

/// Reads from a [`MemoryBio`].
unsafe extern "C" fn read(bio: *mut c_void, out: *mut c_char, room: c_int) -> c_int {
    let (Some(functions), Ok(room)) = (functions(), usize::try_from(room)) else { return -1 };
    // SAFETY: the BIO is one of ours, and its input is live while a session reads; OpenSSL passes that much room.
    unsafe {
        let memory = memory_of(functions, bio);
        match memory.take() {
            Memory::Input { start, len } if len > 0 => {
                let count = len.min(room);
                out.cast::<u8>().copy_from_nonoverlapping(start, count);
                memory.set(Memory::Input { start: start.add(count), len: len - count });
                (functions.bio_clear_flags)(bio, RETRY_READ);
                count as c_int
            }
            other => {
                memory.set(other);
                (functions.bio_set_flags)(bio, RETRY_READ);
                -1
            }
        }
    }
}

/// Writes to a [`MemoryBio`].
unsafe extern "C" fn write(bio: *mut c_void, octets: *const c_char, len: c_int) -> c_int {
    let (Some(functions), Ok(count)) = (functions(), usize::try_from(len)) else { return -1 };
    // SAFETY: the BIO is one of ours; OpenSSL passes that many bytes.
    unsafe {
        let memory = memory_of(functions, bio);
        match memory.take() {
            Memory::Output(mut output) => {
                output.extend_from_slice(slice::from_raw_parts(octets.cast(), count));
                memory.set(Memory::Output(output));
                len
            }
            other => {
                memory.set(other);
                -1
            }
        }
    }
}

/// Answers questions about a [`MemoryBio`].
unsafe extern "C" fn control(bio: *mut c_void, command: c_int, _number: c_long, _pointer: *mut c_void) -> c_long {
    match (functions(), command) {
        // SAFETY: the BIO is one of ours.
        (Some(functions), PENDING) => unsafe { pending(memory_of(functions, bio)) as c_long },
        (_, FLUSH) => 1,
        _ => 0,
    }
}

/// Returns the number of bytes left to be read.
fn pending(memory: &Cell<Memory>) -> usize {
    let now = memory.take();
    let len = if let Memory::Input { len, .. } = now { len } else { 0 };
    memory.set(now);
    len
}

/// Frees the memory's description, with a [`MemoryBio`].
unsafe extern "C" fn destroy(bio: *mut c_void) -> c_int {
    let Some(functions) = functions() else { return 0 };
    // SAFETY: the BIO is one of ours, and this is its end. `new` has put this data there.
    unsafe { drop(Box::from_raw((functions.bio_get_data)(bio).cast::<Cell<Memory>>())) };
    1
}

/// Creates the methods of a [`MemoryBio`], and returns their address.
fn method(functions: &Functions) -> Option<usize> {
    // SAFETY: the name is a C string, and the functions have the types that OpenSSL documents.
    unsafe {
        let method = (functions.bio_meth_new)(TYPE_SOURCE_SINK, c"memory of a WebSocket connection".as_ptr());
        if method.is_null() {
            return None;
        }
        (functions.bio_meth_set_read)(method, read);
        (functions.bio_meth_set_write)(method, write);
        (functions.bio_meth_set_ctrl)(method, control);
        (functions.bio_meth_set_destroy)(method, destroy);
        Some(method as usize)
    }
}

/// Returns the memory that a [`MemoryBio`] stands for.
///
/// # Safety
/// The BIO is one of ours, and lives as long as the result.
unsafe fn memory_of<'a>(functions: &Functions, bio: *mut c_void) -> &'a Cell<Memory> {
    // SAFETY: `new` has put this data there, and only `destroy` frees it.
    unsafe { &*(functions.bio_get_data)(bio).cast::<Cell<Memory>>() }
}
