//! Writes the frames that wait in the outbox.

use super::connection::{Connection, Shared};
use super::outbox::Place;
use super::perl_subs;
use crate::xs::io::clock;
use crate::xs::io::descriptor::WriteError;
use crate::xs::io::handle::Written;
use crate::xs::io::tls::{self, Session};
use crate::xs::io::transport::Route;
use crate::xs::perl::ffi::{self, After, SV};
use crate::xs::perl::fork;
use crate::xs::perl::magic::{self, Kind};
use crate::xs::perl::sv;

impl Connection {
    /// Writes the frames that wait in the handle's buffer, as far as the kernel takes them; the handle writes the rest. In
    /// a forked child, removes the parent's frames first and writes only what the child has sent.
    pub fn flush(&mut self, after: &mut After) {
        if self.outbox.is_empty() {
            return;
        }
        let route = self.route();
        self.forget_inherited(route);
        if !self.outbox.is_empty() {
            self.flush_route(route, after);
        }
    }

    /// Like [`Self::flush`], but never needs Perl code: what the handle must continue is left until the end of the
    /// dispatch.
    pub fn flush_natively(&mut self) {
        if self.outbox.may_try() {
            let result = self.write_out(self.route());
            let result = result.map(|written| written != Written::ByHandle).map_err(|WriteError(errno)| errno);
            self.outbox.note_attempt(result, fork::generation());
        }
    }

    /// Writes what is queued on `route`; the handle continues if Perl code is needed.
    pub fn flush_route(&mut self, route: Route, after: &mut After) {
        let result = match self.outbox.error() {
            Some(errno) => Err(WriteError(errno)),
            None => self.write_out(route),
        };
        match result {
            Ok(Written::All) => return,
            Ok(Written::Later) => {}
            Ok(Written::ByHandle) => self.write_by_handle(route, after),
            Err(error) => return self.fail_writing(error, after),
        }
        self.report_backlog(after);
    }

    fn write_by_handle(&self, route: Route, after: &mut After) {
        let handle = self.handle().reference();
        match route {
            Route::Native { .. } => after.calling(perl_subs::DRAIN, [handle]),
            Route::Tls { .. } => after.calling(perl_subs::DRAIN_TLS, [handle]),
            Route::PushWrite { frame } if sv::length(frame) == 0 => {
                after.calling(if self.handle().is_tls() { perl_subs::DRAIN_TLS } else { perl_subs::DRAIN }, [handle]);
            }
            Route::PushWrite { frame } => after.calling(perl_subs::PUSH_WRITE, [handle, sv::retain(frame)]),
        }
    }

    /// Reports the backlog to a program that wants to know it.
    pub fn report_backlog(&self, after: &mut After) {
        if self.wants_backlog() {
            after.calling(perl_subs::BACKLOGGED, [self.reference()]);
        }
    }

    /// Reports the error through the handle, which ends the connection.
    pub fn fail_writing(&mut self, WriteError(errno): WriteError, after: &mut After) {
        self.outbox.clear();
        let errno = sv::new_number(self.perl(), errno.unsigned_abs().into());
        after.calling(perl_subs::WRITE_ERROR, [self.handle().reference(), errno]);
    }

    /// Writes what is queued, as far as possible without Perl code.
    fn write_out(&mut self, route: Route) -> Result<Written, WriteError> {
        self.forget_inherited(route);
        if route.is_push_write() {
            self.encrypt_waiting();
        }
        let waited = self.outbox.clear();
        self.turn.note_flush(clock::monotonic);
        // The handle's methods were replaced after these frames were queued, so they are in its own buffer.
        if waited && route.is_push_write() {
            return Ok(Written::ByHandle);
        }
        route.write_queued(self.handle(), &self.interpreter.encrypted_scratch)
    }

    /// Returns where a frame may wait for later ones, and starts watching the TLS session if it waits there.
    pub fn prepare_waiting_place(&self, route: Route) -> Option<Place> {
        match route {
            _ if self.handle().discards_unwritten() => None,
            Route::Native { .. } => Some(Place::WriteBuffer),
            Route::Tls { .. } if self.outbox.may_wait_in(Place::Unencrypted) && self.watch_session() => {
                Some(Place::Unencrypted)
            }
            Route::Tls { .. } | Route::PushWrite { .. } => None,
        }
    }

    /// Arranges that [`Self::encrypt_waiting`] runs before Perl code uses the TLS session. Returns `false` if that is
    /// impossible.
    fn watch_session(&self) -> bool {
        let Some(slot) = self.handle().tls_slot() else { return false };
        // SAFETY: slot and callback are live, and the callback's state is a `Shared`.
        unsafe {
            let state = magic::on(self.perl(), self.handle_callback);
            if ffi::ws_watcher(self.perl(), slot) == state.state {
                return true;
            }
            if sv::watched_integer(slot).is_none() || Session::of(self.handle()).is_none() {
                return false;
            }
            let state = state.share::<Shared>(Kind::HandleCallback, Kind::WatchedSlot);
            state.map(|state| magic::watch_reads(self.perl(), slot, state)).is_some()
        }
    }

    /// Encrypts the waiting frames, because Perl code is about to use the TLS session: it may write after them, or end
    /// it.
    pub fn encrypt_waiting(&mut self) {
        if !self.outbox.waits_in(Place::Unencrypted) || self.object.is_null() {
            return;
        }
        if let Some((place, len)) = self.outbox.forget_inherited(fork::generation()) {
            return self.truncate(place, len);
        }
        let mark = self.handle().write_buffer_len();
        if self.encrypt_queued() {
            self.outbox.note_encrypted(mark);
        }
    }

    /// Encrypts what waits to be encrypted, into the handle's write buffer. Returns `true` if everything was encrypted.
    pub fn encrypt_queued(&self) -> bool {
        let handle = self.handle();
        let (Some(cleartext), Some(buffer)) = (handle.unencrypted_buffer(), handle.changeable_write_buffer()) else {
            return false;
        };
        self.interpreter.encrypted_scratch.lend(|encrypted| {
            let is_all = tls::encrypt_queued(handle, cleartext, encrypted);
            handle.queue(buffer, encrypted);
            is_all
        })
    }

    /// Removes frames of the parent process from the handle's buffer.
    pub fn forget_inherited(&mut self, route: Route) {
        if route.is_push_write() {
            return;
        }
        if let Some((place, len)) = self.outbox.forget_inherited(fork::generation()) {
            self.truncate(place, len);
        }
    }

    #[cold]
    fn truncate(&self, place: Place, len: usize) {
        let is_longer = |&buffer: &*mut SV| len < sv::length(buffer) && sv::make_changeable(self.perl(), buffer);
        let buffer = match place {
            Place::WriteBuffer => self.handle().write_buffer(),
            Place::Unencrypted => self.handle().unencrypted_buffer(),
        };
        if let Some(buffer) = buffer.filter(is_longer) {
            // SAFETY: `is_longer` made it a changeable string longer than `len`.
            unsafe { ffi::ws_set_length(self.perl(), buffer, len) };
        }
    }
}
