//! One connection's state, and how Perl values hold it.

use super::burst_guard::Guarded;
use super::footprint::Footprint;
use super::inbox::Inbox;
use super::interpreter::{Interpreter, Slot};
use super::job::Job;
use super::outbox::{Outbox, Process};
use super::turn::Turn;
use crate::engine::{self, Config, ProtocolError};
use crate::xs::io::clock;
use crate::xs::io::descriptor::{self, Addresses};
use crate::xs::io::handle::Handle;
use crate::xs::io::methods::Stock;
use crate::xs::io::transport::Route;
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::{self, AV, HV, Perl, SV, State, Xsub};
use crate::xs::perl::fork;
use crate::xs::perl::magic::{self, Kind};
use crate::xs::perl::places::Places;
use crate::xs::perl::sv;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::rc::{Rc, Weak};

/// The reason why a connection fails.
pub enum Failure {
    /// The peer broke a rule. It is sent a Close frame at the end of the dispatch.
    Violation(ProtocolError),
    /// A callback died with this exception; this is a reference count of it.
    Exception(*mut SV),
}

/// The most recent dispatch.
pub struct LastDispatch {
    /// The Perl stack on which it has called its last callback; null after its end.
    pub stack: *const c_void,
    /// The process in which it began.
    pub process: Process,
    /// The number of its calls that may have run code of the program, including those of dispatches nested in it.
    pub calls: u32,
}

impl Default for LastDispatch {
    fn default() -> Self {
        Self { stack: null(), process: 0, calls: 0 }
    }
}

/// The state of one connection object.
pub struct Connection {
    pub engine: Engine,
    pub interpreter: Rc<Interpreter>,
    /// The connection itself.
    pub this: Weak<Shared>,
    /// The Perl object; null after it has been freed.
    pub object: *mut HV,
    /// Kept alive by the object's magic.
    pub handle: *mut HV,
    /// The sub that the handle and its watcher call; this is a reference count of it.
    pub handle_callback: *mut SV,
    /// Messages are delivered as they arrive, because the program has had a chance to register callbacks: control was
    /// back in the event loop, or nothing had arrived when the connection was created.
    pub is_started: bool,
    pub footprint: Footprint,
    pub inbox: Inbox,
    /// The addresses when the connection was created.
    pub addresses: Addresses,
    pub turn: Turn,
    pub last_dispatch: LastDispatch,
    pub outbox: Outbox,
    /// The jobs to be done before the next event is taken from the inbox.
    pub jobs: VecDeque<Job>,
    /// The reason why the connection fails, until `parse_error` callbacks have been called.
    pub failure: Option<Failure>,
}

/// The engine, with messages that grow in perl's memory.
pub type Engine = engine::Connection<PerlBuffer>;

/// A connection, shared by its object and its handle callback.
pub type Shared = RefCell<Connection>;

/// The arguments for [`Connection::attach`].
pub struct Parts {
    pub interpreter: Rc<Interpreter>,
    pub object: *mut HV,
    pub handle: *mut HV,
    /// The XSUB that becomes the handle callback.
    pub handle_callback: &'static Xsub,
    pub config: Config,
    pub is_traced: bool,
}

impl Connection {
    /// Creates a connection, and hangs it on its object. Returns a reference to its handle callback.
    pub fn attach(perl: Perl, parts: Parts) -> *mut SV {
        fork::watch();
        let (object, handle, handle_callback) = (parts.object, parts.handle, parts.handle_callback);
        let shared: Rc<Shared> = Rc::new_cyclic(|this| RefCell::new(Self::new(parts, this.clone())));
        let fd = shared.borrow().handle().fd();
        if let Some(fd) = fd {
            shared.borrow_mut().addresses = descriptor::addresses(fd);
        }
        // SAFETY: the values are live.
        let handle_callback = unsafe {
            magic::attach(perl, object.cast(), State::new(Kind::Object, &shared), handle.cast());
            ffi::ws_new_bound_sub(perl, handle_callback, State::new(Kind::HandleCallback, &shared))
        };
        shared.borrow_mut().handle_callback = sv::referent(handle_callback).map_or(null_mut(), sv::retain);
        handle_callback
    }

    fn new(parts: Parts, this: Weak<Shared>) -> Self {
        let mut engine = engine::Connection::new(parts.config);
        engine.configure(clock::monotonic(), |_| {});
        if parts.is_traced {
            engine.trace_frames();
        }
        Self {
            engine,
            interpreter: parts.interpreter,
            this,
            object: parts.object,
            handle: parts.handle,
            handle_callback: null_mut(),
            is_started: false,
            addresses: Addresses::default(),
            footprint: Footprint::default(),
            inbox: Inbox::default(),
            turn: Turn::default(),
            last_dispatch: LastDispatch::default(),
            outbox: Outbox::default(),
            jobs: VecDeque::new(),
            failure: None,
        }
    }

    /// Notes that the object is gone. Returns the handle callback, whose reference count the caller must give up.
    fn lose_object(&mut self) -> *mut SV {
        self.object = null_mut();
        self.clear_inbox();
        self.clear_jobs();
        if let Some(Failure::Exception(exception)) = self.failure.take() {
            sv::free_later(self.perl(), exception);
        }
        std::mem::replace(&mut self.handle_callback, null_mut())
    }

    /// Returns the connection as the guard against nested event loops keeps it.
    pub fn guarded(&self) -> Guarded {
        self.this.clone()
    }

    /// Returns the interpreter that the connection belongs to.
    pub fn perl(&self) -> Perl {
        self.interpreter.perl
    }

    /// Creates a reference to the Perl object.
    pub fn reference(&self) -> *mut SV {
        sv::new_reference(self.perl(), self.object.cast())
    }

    /// Returns the engine's log lines as a string.
    pub fn trace_lines(&mut self) -> *mut SV {
        sv::new_string(self.perl(), self.engine.take_trace().as_bytes())
    }

    /// Discards the bytes that have arrived.
    pub fn clear_inbox(&mut self) {
        self.inbox.clear(&self.interpreter.scratch);
    }

    /// Discards the jobs, and frees their values later.
    pub fn clear_jobs(&mut self) {
        for value in std::mem::take(&mut self.jobs).iter().flat_map(Job::values) {
            sv::free_later(self.perl(), value);
        }
    }

    /// Returns the list of callbacks for an event, if any was ever registered. A list that a program has tied or made
    /// read-only counts as none.
    pub fn callbacks(&self, slot: Slot) -> Option<*mut AV> {
        let list = self.interpreter.keys.fetch(self.perl(), self.object, slot).and_then(sv::referent)?;
        sv::is_changeable_array(list).then_some(list.cast())
    }

    /// Prefetches the memory that a dispatch will touch.
    pub fn prefetch(&self) {
        self.footprint.prefetch(self);
    }

    /// Looks up which memory a dispatch touches.
    #[cold]
    pub fn renew_footprint(&mut self) {
        let mut places = Places::default();
        self.handle().add_places(&mut places);
        self.interpreter.keys.add_places(self.object, [Slot::NextMessage, Slot::EachMessage], &mut places);
        self.footprint.remember(&places);
    }

    fn has(&self, slot: Slot) -> bool {
        self.interpreter.keys.fetch(self.perl(), self.object, slot).is_some_and(sv::is_set)
    }

    /// Returns `true` if the program may want to know about the backlog.
    pub fn wants_backlog(&self) -> bool {
        self.has(Slot::Drain) || self.has(Slot::MaxBufferedAmount)
    }

    /// Returns `true` if a timer watches the compression window of sent messages.
    pub fn is_window_watched(&self) -> bool {
        self.has(Slot::WindowTimer)
    }

    /// Returns the handle, which must not be used after Perl code has run.
    pub fn handle(&self) -> Handle<'_> {
        Handle::new(self.perl(), &self.interpreter.handle_keys, self.handle)
    }

    /// Returns `true` if this is the connection's handle, or one with our handle callback to which that handle, a
    /// wrapper, passes calls on.
    pub fn is_read_through(&self, handle: *mut HV) -> bool {
        let has_our_callback =
            || Handle::new(self.perl(), &self.interpreter.handle_keys, handle).has_on_read(self.handle_callback);
        handle == self.handle || !self.has_stock_handle() && has_our_callback()
    }

    /// Returns `true` if the handle's methods are AnyEvent::Handle's own, so that its internals may be used.
    pub fn has_stock_handle(&self) -> bool {
        self.interpreter.handle_methods.are_stock(self.perl(), self.handle)
    }

    /// Returns `true` if the same goes for those that shut down the write side.
    pub fn has_stock_shutdown(&self) -> bool {
        matches!(self.interpreter.handle_methods.stock(self.perl(), self.handle), Stock::All)
    }

    /// Returns the path that outgoing bytes take at present.
    pub fn route(&self) -> Route {
        Route::of(self.handle(), self.has_stock_handle())
    }

    /// Returns `true` if a frame sent now may wait for the replies to later messages.
    pub fn may_batch(&self) -> bool {
        // SAFETY: the interpreter is running the XSUB that sends.
        let is_tail_call = || unsafe { ffi::ws_is_tail_call(self.perl(), self.last_dispatch.stack) };
        self.turn.may_wait() && self.outbox.may_try() && is_tail_call()
    }
}

/// Frees the state that hung on a Perl value. If the value was an object, returns its handle callback, whose reference
/// count the caller must give up.
///
/// # Safety
/// `state` hung on a value, and is not used again.
pub unsafe fn free(state: State) -> *mut SV {
    // SAFETY: state of a kind is the pointer of an `Rc` of its type, given up here once.
    unsafe {
        if state.is(Kind::Interpreter) {
            drop(Rc::from_raw(state.state.cast::<Interpreter>()));
            return null_mut();
        }
        let shared = Rc::from_raw(state.state.cast::<Shared>());
        if state.is(Kind::Object) { shared.borrow_mut().lose_object() } else { null_mut() }
    }
}

/// Returns the connection of an object, if it has one.
///
/// # Safety
/// The object outlives the result.
pub unsafe fn of_object<'a>(perl: Perl, object: *mut SV) -> Option<&'a Shared> {
    // SAFETY: the object outlives the result; state of this kind is a connection.
    unsafe { magic::on(perl, object).get(Kind::Object) }
}

/// The result of looking for a value's connection.
pub enum Lookup<'a> {
    /// The value has a connection.
    Connection(&'a Shared),
    /// The connection has been freed, or belongs to another thread.
    Gone,
    /// The value never had a connection.
    NotAConnection,
}

/// Finds the connection that hangs on a value's magic.
///
/// # Safety
/// The value outlives the result.
pub unsafe fn find<'a>(perl: Perl, value: *mut SV) -> Lookup<'a> {
    // SAFETY: the value outlives the result; state of these kinds is a connection.
    unsafe {
        let found = magic::on(perl, value);
        if !found.is(Kind::Object) && !found.is(Kind::HandleCallback) {
            return Lookup::NotAConnection;
        }
        match found.state.cast::<Shared>().as_ref() {
            // It can be in use already: OpenSSL calls Perl code, for instance that of Net::SSLeay::set_msg_callback.
            Some(shared) if shared.try_borrow().map_or(true, |connection| !connection.object.is_null()) => {
                Lookup::Connection(shared)
            }
            _ => Lookup::Gone,
        }
    }
}
