//! One connection's state, and how Perl values hold it.

use super::inbox::Inbox;
use super::interpreter::{Interpreter, Slot};
use super::job::Job;
use super::outbox::{Outbox, Process};
use super::turn::Turn;
use crate::engine::{self, Config, ProtocolError};
use crate::xs::io::descriptor;
use crate::xs::io::handle::Handle;
use crate::xs::io::transport::Route;
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::{self, AV, HV, Perl, SV, State, Xsub};
use crate::xs::perl::fork;
use crate::xs::perl::magic::{self, Kind};
use crate::xs::perl::sv;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::rc::Rc;

/// Why a connection goes down.
pub enum Failure {
    /// The peer broke a rule; at the end of the dispatch it gets a Close frame.
    Violation(ProtocolError),
    /// A callback died with this exception; a reference count of it.
    Exception(*mut SV),
}

/// The dispatch that was begun last.
pub struct Running {
    /// Perl's stack on which it has called the last callback; null when it is over.
    pub stack: *const c_void,
    /// The process in which it began.
    pub process: Process,
}

impl Default for Running {
    fn default() -> Self {
        Self { stack: null(), process: 0 }
    }
}

/// What belongs to one Perl object.
pub struct Connection {
    pub engine: engine::Connection<PerlBuffer>,
    pub interpreter: Rc<Interpreter>,
    /// The Perl object; null once it is gone.
    pub object: *mut HV,
    /// Kept alive by the object's magic.
    pub handle: *mut HV,
    /// The sub that the handle and its watcher call; this is a reference count of it.
    pub hook: *mut SV,
    /// Messages are delivered as they come: the program has had its chance to register callbacks, since nothing had come
    /// before, or since control has been back in the event loop.
    pub is_started: bool,
    pub inbox: Inbox,
    /// The peer's packed address when the connection was made, and our own, which begins where the number says.
    pub addresses: (Box<[u8]>, usize),
    pub turn: Turn,
    pub running: Running,
    pub outbox: Outbox,
    /// What is due before the next event is looked at.
    pub jobs: VecDeque<Job>,
    /// Why the connection goes down, until `parse_error` callbacks are told.
    pub failure: Option<Failure>,
}

/// State is shared by the object and the sub that AnyEvent holds.
pub type Shared = RefCell<Connection>;

/// What a connection is made of.
pub struct Parts {
    pub interpreter: Rc<Interpreter>,
    pub object: *mut HV,
    pub handle: *mut HV,
    /// What is to be called for the handle and its watcher.
    pub hook: &'static Xsub,
    pub config: Config,
    pub is_traced: bool,
}

impl Connection {
    /// Makes a connection's state, and hangs it on its object. Returns a reference to its hook.
    pub fn attach(perl: Perl, parts: Parts) -> *mut SV {
        fork::watch();
        let (object, handle, hook) = (parts.object, parts.handle, parts.hook);
        let mut connection = Self::new(parts);
        if let Some(fd) = connection.handle().fd() {
            connection.addresses = descriptor::addresses(fd);
        }
        let shared: Rc<Shared> = Rc::new(RefCell::new(connection));
        // SAFETY: live values.
        let hook = unsafe {
            magic::attach(perl, object.cast(), State::new(Kind::Object, &shared), handle.cast());
            ffi::ws_new_hook(perl, hook, State::new(Kind::Sub, &shared))
        };
        shared.borrow_mut().hook = sv::referent(hook).map_or(null_mut(), sv::retain);
        hook
    }

    fn new(parts: Parts) -> Self {
        let mut engine = engine::Connection::new(parts.config);
        if parts.is_traced {
            engine.trace_frames();
        }
        Self {
            engine,
            interpreter: parts.interpreter,
            object: parts.object,
            handle: parts.handle,
            hook: null_mut(),
            is_started: false,
            addresses: Default::default(),
            inbox: Inbox::default(),
            turn: Turn::default(),
            running: Running::default(),
            outbox: Outbox::default(),
            jobs: VecDeque::new(),
            failure: None,
        }
    }

    /// The object has gone; its reference count of the hook is to be given up.
    fn lose_object(&mut self) -> *mut SV {
        self.object = null_mut();
        self.clear_inbox();
        std::mem::replace(&mut self.hook, null_mut())
    }

    /// The interpreter that it belongs to.
    pub fn perl(&self) -> Perl {
        self.interpreter.perl
    }

    /// A new reference to the Perl object.
    pub fn reference(&self) -> *mut SV {
        sv::new_reference(self.perl(), self.object.cast())
    }

    /// What the engine has to log.
    pub fn trace_lines(&mut self) -> *mut SV {
        sv::new_string(self.perl(), self.engine.take_trace().as_bytes())
    }

    /// Discards what has arrived.
    pub fn clear_inbox(&mut self) {
        self.inbox.clear(&self.interpreter.scratch);
    }

    /// A list of callbacks, if there ever was any for that event.
    pub fn callbacks(&self, slot: Slot) -> Option<*mut AV> {
        let list = self.interpreter.keys.fetch(self.perl(), self.object, slot).and_then(sv::referent)?;
        sv::is_array(list).then_some(list.cast())
    }

    fn has(&self, slot: Slot) -> bool {
        self.interpreter.keys.fetch(self.perl(), self.object, slot).is_some_and(sv::is_set)
    }

    /// Returns `true` if the program may want to know what waits for the peer to read.
    pub fn wants_backlog(&self) -> bool {
        self.has(Slot::Drain) || self.has(Slot::MaxBufferedAmount)
    }

    /// Returns `true` if a timer checks whether the compression window of what was sent is still used.
    pub fn is_window_watched(&self) -> bool {
        self.has(Slot::WindowTimer)
    }

    /// The handle, to be looked at before any Perl code runs.
    pub fn handle(&self) -> Handle<'_> {
        Handle::new(self.perl(), &self.interpreter.handle_keys, self.handle)
    }

    /// Whether this is the handle, or one with our hook that the handle passes calls on to.
    pub fn is_read_through(&self, handle: *mut HV) -> bool {
        let is_hooked = || Handle::new(self.perl(), &self.interpreter.handle_keys, handle).has_on_read(self.hook);
        handle == self.handle || !self.has_stock_handle() && is_hooked()
    }

    /// Whether the handle's methods are AnyEvent::Handle's own, so that its insides may be used.
    pub fn has_stock_handle(&self) -> bool {
        self.interpreter.handle_methods.are_stock(self.perl(), self.handle)
    }

    /// How outgoing bytes leave just now.
    pub fn route(&self) -> Route {
        Route::of(self.handle(), self.has_stock_handle())
    }

    /// Whether a frame that is sent now may wait for those to the messages behind.
    pub fn may_batch(&self) -> bool {
        // SAFETY: the interpreter is running the XSUB that sends.
        self.turn.may_wait() && unsafe { ffi::ws_is_last_act(self.perl(), self.running.stack) }
    }
}

/// Frees what hung on a Perl value. If that was an object, returns a value of which its reference count is to be given up.
///
/// # Safety
/// `state` hung on a value, and is not used again.
pub unsafe fn free(state: State) -> *mut SV {
    // SAFETY: promised by the caller; the kind says whose pointer it is.
    unsafe {
        if state.is(Kind::Interpreter) {
            drop(Rc::from_raw(state.state.cast::<Interpreter>()));
            return null_mut();
        }
        let shared = Rc::from_raw(state.state.cast::<Shared>());
        if state.is(Kind::Object) { shared.borrow_mut().lose_object() } else { null_mut() }
    }
}

/// What this interpreter's connections share; it hangs on the XSUB `sub`. `send` is the XSUB of that name.
pub fn interpreter(perl: Perl, sub: *mut SV, send: &'static Xsub) -> Rc<Interpreter> {
    // SAFETY: `sub` is live, and the kind says whose pointer it is.
    unsafe {
        let found = magic::on(perl, sub);
        if found.get::<Interpreter>(Kind::Interpreter).is_some() {
            Rc::increment_strong_count(found.state.cast::<Interpreter>());
            return Rc::from_raw(found.state.cast());
        }
        let interpreter = Rc::new(Interpreter::new(perl, send));
        magic::attach(perl, sub, State::new(Kind::Interpreter, &interpreter), null_mut());
        interpreter
    }
}

/// The connection of an object that has one.
///
/// # Safety
/// The object outlives the result.
pub unsafe fn of_object<'a>(perl: Perl, object: *mut SV) -> Option<&'a Shared> {
    // SAFETY: promised by the caller; an object has a connection.
    unsafe { magic::on(perl, object).get(Kind::Object) }
}

/// What a Perl value says about its connection.
pub enum Found<'a> {
    /// Here it is.
    Connection(&'a Shared),
    /// It has gone, or belongs to another thread: nothing is to be done.
    Inert,
    /// It never had one.
    NotOurs,
}

/// Finds the connection that hangs on a value's magic.
///
/// # Safety
/// The value outlives the result.
pub unsafe fn find<'a>(perl: Perl, value: *mut SV) -> Found<'a> {
    // SAFETY: promised by the caller; an object and its sub have a connection.
    unsafe {
        let found = magic::on(perl, value);
        if !found.is(Kind::Object) && !found.is(Kind::Sub) {
            return Found::NotOurs;
        }
        match found.state.cast::<Shared>().as_ref() {
            Some(shared) if !shared.borrow().object.is_null() => Found::Connection(shared),
            _ => Found::Inert,
        }
    }
}
