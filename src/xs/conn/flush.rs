//! Writing what waits in the outbox.

use super::connection::{Connection, Shared};
use super::outbox::Place;
use super::shim;
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
    /// Writes the frames that wait in the handle's buffer, as far as the kernel takes them; the handle sees to the rest. In
    /// a forked child all else there, and in a TLS session, is its parent's.
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

    /// As [`Self::flush`], but where Perl code would have to go on, it waits for that.
    pub fn flush_natively(&mut self) {
        if self.outbox.may_try() {
            let result = self.write_out(self.route());
            let result = result.map(|written| written != Written::ByHandle).map_err(|WriteError(errno)| errno);
            self.outbox.note_attempt(result, fork::generation());
        }
    }

    /// Writes what is queued on its route, and has the handle go on where Perl code has to.
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
            Route::Native { .. } => after.calling(shim::DRAIN, [handle]),
            Route::Tls { .. } => after.calling(shim::DRAIN_TLS, [handle]),
            Route::PushWrite { frame } if sv::length(frame) == 0 => {
                after.calling(if self.handle().is_tls() { shim::DRAIN_TLS } else { shim::DRAIN }, [handle]);
            }
            Route::PushWrite { frame } => after.calling(shim::PUSH_WRITE, [handle, sv::retain(frame)]),
        }
    }

    /// Tells a program that wants to know what the peer has yet to read.
    pub fn report_backlog(&self, after: &mut After) {
        if self.wants_backlog() {
            after.calling(shim::BACKLOGGED, [self.reference()]);
        }
    }

    /// Has the handle report that writing has failed: that is the end of the connection.
    pub fn fail_writing(&mut self, WriteError(errno): WriteError, after: &mut After) {
        self.outbox.clear();
        let errno = sv::new_number(self.perl(), errno.unsigned_abs().into());
        after.calling(shim::WRITE_ERROR, [self.handle().reference(), errno]);
    }

    /// Writes what is queued, as far as that takes no Perl code.
    fn write_out(&mut self, route: Route) -> Result<Written, WriteError> {
        self.forget_inherited(route);
        if route.is_foreign() {
            self.encrypt_waiting();
        }
        let waited = self.outbox.clear();
        self.turn.note_flush(clock::monotonic);
        // The handle's methods were replaced after these frames were queued, so they are in its own buffer.
        if waited && route.is_foreign() { Ok(Written::ByHandle) } else { route.write_queued(self.handle()) }
    }

    /// Returns where a frame may wait for those behind it, if it may.
    pub fn waiting_place(&self, route: Route) -> Option<Place> {
        match route {
            Route::Native { .. } => Some(Place::WriteBuffer),
            Route::Tls { .. } if self.outbox.may_wait_in(Place::Unencrypted) && self.watch_session() => {
                Some(Place::Unencrypted)
            }
            Route::Tls { .. } | Route::PushWrite { .. } => None,
        }
    }

    /// Has [`Self::encrypt_waiting`] called before Perl code uses the TLS session. Returns `false` if that cannot be done.
    fn watch_session(&self) -> bool {
        let Some(slot) = self.handle().tls_slot() else { return false };
        // SAFETY: live values; the hook has this connection.
        unsafe {
            if ffi::ws_has_watched_reads(slot) {
                return true;
            }
            if sv::plain_integer(slot).is_none() || Session::of(self.handle()).is_none() {
                return false;
            }
            let state = magic::on(self.perl(), self.hook).share::<Shared>(Kind::Sub, Kind::Reader);
            state.map(|state| magic::watch_reads(self.perl(), slot, state)).is_some()
        }
    }

    /// Encrypts the frames that wait for others, to be written with them: Perl code is about to use the TLS session, perhaps
    /// to write something of its own behind them, or to end it.
    pub fn encrypt_waiting(&mut self) {
        if !self.outbox.waits_in(Place::Unencrypted) || self.object.is_null() {
            return;
        }
        if let Some((place, len)) = self.outbox.forget_inherited(fork::generation()) {
            return self.truncate(place, len);
        }
        let mark = self.handle().write_buffer_len();
        if let Some(buffer) = self.handle().plain_buffer() {
            tls::encrypt_queued(self.handle(), buffer);
        }
        self.outbox.note_encrypted(mark);
    }

    /// Takes frames that were waiting when this process was forked off out of the handle's buffer.
    pub fn forget_inherited(&mut self, route: Route) {
        if route.is_foreign() {
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
            Place::Unencrypted => self.handle().plain_buffer(),
        };
        if let Some(buffer) = buffer.filter(is_longer) {
            // SAFETY: a changeable string, made shorter.
            unsafe { ffi::ws_set_length(self.perl(), buffer, len) };
        }
    }
}
