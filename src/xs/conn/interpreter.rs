//! The state shared by all connections of one interpreter.

use super::burst_guard::BurstGuard;
use super::message::MessagePool;
use super::perl_subs;
use crate::engine::DeflatePool;
use crate::xs::io::handle;
use crate::xs::io::methods::HandleMethods;
use crate::xs::io::scratch::Scratch;
use crate::xs::perl::after::DispatchLoop;
use crate::xs::perl::bound_sub::BoundSub;
use crate::xs::perl::ffi::{self, HV, Perl, SV, Xsub};
use crate::xs::perl::keys::slots;
use crate::xs::perl::magic::{self, Kind};
use crate::xs::perl::sv;
use std::cell::Cell;
use std::rc::Rc;

slots! {
    /// A slot of a connection's object.
    pub enum Slot, Keys {
        Drain = "_ws_drain_cb",
        EachMessage = "_each_message_cb",
        MaxBufferedAmount = "max_buffered_amount",
        NextMessage = "_next_message_cb",
        WindowTimer = "_ws_window_timer",
    }
}

/// Subs that unregister each_message callbacks.
#[derive(Default)]
pub struct UnregisterSubs {
    /// One that is not in use.
    pub spare: Cell<Option<Box<BoundSub>>>,
    /// The one that a callback was passed last. Its reference may be freed already, unless that callback still runs.
    pub lent: Cell<Option<Box<BoundSub>>>,
}

/// One interpreter, and the state that its connections share.
pub struct Interpreter {
    pub perl: Perl,
    pub keys: Keys,
    pub handle_keys: handle::Keys,
    pub handle_methods: HandleMethods,
    pub dispatch_loop: DispatchLoop,
    /// The Perl sub that each burst calls first, unless a timer is shared.
    pub begin_burst: *mut SV,
    pub burst_guard: BurstGuard,
    /// The XSUB `send`.
    send: &'static Xsub,
    /// The XSUB that unregisters an each_message callback.
    pub unregister: &'static Xsub,
    pub unregister_subs: UnregisterSubs,
    pub messages: MessagePool,
    /// The read buffer of all connections, while no inbox uses it.
    pub scratch: Scratch,
    /// The buffer for encrypted bytes, which are decrypted or written at once.
    pub encrypted_scratch: Scratch,
    /// The compressors and inflaters that no connection uses.
    pub deflate: Rc<DeflatePool>,
}

impl Interpreter {
    /// Returns the shared state, which hangs on the XSUB `sub`; creates it if needed. `send` is the XSUB of that name,
    /// and `unregister` the one that unregisters an each_message callback.
    pub fn of(perl: Perl, sub: *mut SV, send: &'static Xsub, unregister: &'static Xsub) -> Rc<Self> {
        // SAFETY: `sub` is live, and state of this kind is the pointer of an `Rc<Interpreter>`.
        unsafe { magic::get_or_attach(perl, sub, Kind::Interpreter, || Self::new(perl, send, unregister)) }
    }

    fn new(perl: Perl, send: &'static Xsub, unregister: &'static Xsub) -> Self {
        // SAFETY: the interpreter is running.
        let dispatch_loop = unsafe { ffi::ws_new_dispatch_loop(perl) };
        // SAFETY: the name is a C string; the result may be null.
        let begin_burst: *mut SV = unsafe { ffi::ws_sub(perl, perl_subs::BEGIN_BURST.as_ptr()).cast() };
        Self {
            perl,
            keys: Keys::new(perl),
            handle_keys: handle::Keys::new(perl),
            handle_methods: HandleMethods::default(),
            dispatch_loop: DispatchLoop::new(perl, dispatch_loop),
            // Kept, because a program might redefine it.
            begin_burst: if begin_burst.is_null() { begin_burst } else { sv::retain(begin_burst) },
            burst_guard: BurstGuard::default(),
            send,
            unregister,
            unregister_subs: UnregisterSubs::default(),
            messages: MessagePool::new(perl),
            scratch: Scratch::default(),
            encrypted_scratch: Scratch::default(),
            deflate: Rc::default(),
        }
    }

    /// Returns the shared state that hangs on `sub`, if there is some.
    ///
    /// # Safety
    /// `sub` is live, and outlives the result.
    pub unsafe fn on<'a>(perl: Perl, sub: *mut SV) -> Option<&'a Self> {
        // SAFETY: as the caller guarantees; state of this kind is an `Interpreter`.
        unsafe { magic::on(perl, sub).get(Kind::Interpreter) }
    }

    /// Returns `true` if the object's `send` is ours, and not replaced by a subclass or a program.
    pub fn sends_natively(&self, object: *mut HV) -> bool {
        // SAFETY: `object` is live.
        unsafe { ffi::ws_has_xsub(self.perl, object, c"send".as_ptr(), self.send) }
    }
}
