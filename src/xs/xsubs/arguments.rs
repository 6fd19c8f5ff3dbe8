//! The arguments of an XSUB, and the values that it returns.

use crate::engine::handshake::{DeflateTerms, EndTerms, Limits};
use crate::engine::{CloseCode, Config, DeflateConfig};
use crate::xs::codec;
use crate::xs::conn::connection::{self, Lookup, Shared};
use crate::xs::conn::perl_subs;
use crate::xs::conn::registration::Registration;
use crate::xs::handshake;
use crate::xs::perl::ffi::{self, After, CV, Perl, SV};
use crate::xs::perl::magic::{self, Kind};
use crate::xs::perl::sv;
use std::rc::Rc;

/// The arguments of an XSUB.
pub struct Arguments<'a> {
    pub perl: Perl,
    pub sub: *mut CV,
    pub args: &'a [*mut SV],
}

impl Arguments<'_> {
    pub fn arg(&self, index: usize) -> Option<*mut SV> {
        self.args.get(index).copied()
    }

    pub fn integer(&self, index: usize) -> Option<i64> {
        sv::plain_integer(self.arg(index)?)
    }

    /// Returns a whole number, or `None` if the argument is undef or missing. Anything else is a mistake in the Perl half
    /// and must not become "no limit": the XSUB croaks.
    pub fn number(&self, index: usize, after: &mut After) -> Result<Option<u64>, ()> {
        match self.arg(index).filter(|&value| !sv::is_undef(value)) {
            None => Ok(None),
            Some(value) => match sv::plain_integer(value).and_then(|n| u64::try_from(n).ok()) {
                Some(number) => Ok(Some(number)),
                None => {
                    after.croaking(self.located(&format!("argument {index} must be a whole number")));
                    Err(())
                }
            },
        }
    }

    /// Returns a number from 0 to 255; 0 for undef, and for larger numbers.
    pub fn small_number(&self, index: usize, after: &mut After) -> Result<u8, ()> {
        Ok(self.number(index, after)?.and_then(|number| u8::try_from(number).ok()).unwrap_or_default())
    }

    /// Returns the code of a Close frame, or `None` if the argument is undef.
    pub fn close_code(&self, index: usize, after: &mut After) -> Result<Option<CloseCode>, ()> {
        Ok(self.number(index, after)?.map(|code| CloseCode::new(u16::try_from(code).unwrap_or_default())))
    }

    /// Returns an opcode; one that does not exist if the argument is not an opcode's number.
    pub fn opcode(&self, index: usize) -> u8 {
        self.integer(index).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }

    /// Returns the bytes of a plain string; an empty slice if the argument is something else.
    pub fn octets(&self, index: usize) -> &[u8] {
        self.arg(index).map_or(b"", sv::plain_octets)
    }

    /// Returns the bytes of a plain string; `None` if the argument is undef or missing.
    pub fn optional(&self, index: usize) -> Option<&[u8]> {
        self.arg(index).filter(|&value| !sv::is_undef(value)).map(sv::plain_octets)
    }

    /// Returns the arguments from `index` on as pairs of plain strings.
    pub fn pairs(&self, index: usize) -> Vec<(&[u8], &[u8])> {
        let octets = |&value: &*mut SV| sv::plain_octets(value);
        self.args
            .get(index..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| (octets(&pair[0]), octets(&pair[1])))
            .collect()
    }

    /// Returns the limits of a head.
    pub fn limits(&self, index: usize, after: &mut After) -> Result<Limits, ()> {
        Ok(handshake::limits(self.setting(index, after)?, self.setting(index + 1, after)?))
    }

    pub fn is_true(&self, index: usize) -> bool {
        self.integer(index).is_some_and(|n| n != 0)
    }

    /// Returns the connection of the first argument; croaks if that is not a connection.
    #[inline(always)]
    pub fn connection(&self, after: &mut After) -> Option<&Shared> {
        let object = self.arg(0).and_then(sv::referent);
        // SAFETY: perl keeps an XSUB's arguments while no Perl code runs.
        match object.map_or(Lookup::NotAConnection, |object| unsafe { connection::find(self.perl, object) }) {
            Lookup::Connection(shared) => Some(shared),
            Lookup::Gone => None,
            Lookup::NotAConnection if self.arg(0).is_some_and(|value| !sv::is_plain(value)) => {
                after.fetching();
                None
            }
            Lookup::NotAConnection => {
                after.croaking(self.located(
                    "not an AnyEvent::WebSocket::Connection: call this on what connect or establish has returned",
                ));
                None
            }
        }
    }

    /// Returns the codec of the first argument; croaks if that has none.
    pub fn codec(&self, after: &mut After) -> Option<&codec::Shared> {
        let object = self.arg(0).and_then(sv::referent);
        // SAFETY: perl keeps an XSUB's arguments while no Perl code runs.
        let found = object.and_then(|object| unsafe { codec::find(self.perl, object) });
        if found.is_none() {
            after.croaking(self.located("this connection belongs to another thread"));
        }
        found
    }

    /// Returns what compression is configured with, by the seven arguments of `enable_deflate`.
    pub fn deflate_config(&self, after: &mut After) -> Result<DeflateConfig, ()> {
        let numbers = [1, 3, 5, 6].map(|index| self.small_number(index, after));
        let [Ok(window_bits), Ok(peer_window_bits), Ok(level), Ok(mem_level)] = numbers else { return Err(()) };
        Ok(DeflateConfig {
            window_bits,
            no_context_takeover: self.is_true(2),
            peer_window_bits,
            peer_no_context_takeover: self.is_true(4),
            level,
            mem_level,
            threshold: self.number(7, after)?.and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
        })
    }

    /// Returns the connection that the handle callback belongs to.
    pub fn bound_connection(&self) -> Option<&Shared> {
        // SAFETY: perl keeps the sub that it calls.
        match unsafe { connection::find(self.perl, self.sub.cast()) } {
            Lookup::Connection(shared) => Some(shared),
            _ => None,
        }
    }

    /// Returns what a sub unregisters that an each_message callback got: the connection, and the address of the callback.
    pub fn registration(&self) -> Option<(Rc<Shared>, usize)> {
        // SAFETY: perl keeps the sub that it calls, and state of this kind is a `Registration`.
        unsafe { magic::on(self.perl, self.sub.cast()).get::<Registration>(Kind::Registration) }?.get()
    }

    /// Handles a call of a handle callback whose connection was freed: a handle that still exists reads for itself, and
    /// bytes it has read are discarded.
    pub fn call_without_connection(&self, argument: Option<*mut SV>, after: &mut After) {
        // SAFETY: perl keeps the sub that it calls.
        let left = unsafe { ffi::ws_orphaned_handle(self.perl, self.sub.cast()) };
        match argument {
            Some(handle) if left.is_null() || handle == left.cast() => {
                after.calling(perl_subs::DISCARD, [sv::new_reference(self.perl, handle)]);
            }
            _ if left.is_null() => {}
            _ => after.calling(perl_subs::READ_BY_HANDLE, [sv::new_reference(self.perl, left.cast())]),
        }
    }

    /// Returns the value of a setting, a whole number.
    pub fn setting(&self, index: usize, after: &mut After) -> Result<u64, ()> {
        self.number(index, after)?.ok_or_else(|| after.croaking(self.located("a setting must have a value")))
    }

    /// Returns the terms that an end wants, from four arguments: the server's and the client's `no_context_takeover`, and
    /// their `max_window_bits`.
    pub fn deflate_terms(&self, index: usize, after: &mut After) -> Result<DeflateTerms, ()> {
        let mut end = |index| {
            let max_window_bits = self.small_number(index + 2, after)?;
            Ok(EndTerms { no_context_takeover: self.is_true(index), max_window_bits })
        };
        Ok(DeflateTerms { server: end(index)?, client: end(index + 1)? })
    }

    /// Creates the four values that [`Self::deflate_terms`] reads.
    pub fn deflate_values(&self, terms: DeflateTerms) -> [*mut SV; 4] {
        let DeflateTerms { server, client } = terms;
        let values = [server.no_context_takeover.into(), client.no_context_takeover.into()];
        [values[0], values[1], server.max_window_bits, client.max_window_bits]
            .map(|value| sv::new_number(self.perl, value.into()))
    }

    pub fn located(&self, text: &str) -> *mut SV {
        // SAFETY: a pointer and its length.
        unsafe { ffi::ws_located(self.perl, text.as_ptr().cast(), text.len()) }
    }

    pub fn boolean(&self, value: bool) -> *mut SV {
        sv::new_number(self.perl, value.into())
    }
}

/// Settings passed by name.
pub struct Settings {
    pub config: Config,
    pub is_traced: bool,
}

impl Settings {
    /// Reads pairs of a name and a value, starting at argument `index`. Croaks if there is a mistake.
    pub fn of(call: &Arguments<'_>, index: usize, after: &mut After) -> Result<Self, ()> {
        let mut settings = Self { config: Config::DEFAULT, is_traced: false };
        for index in (index..call.args.len()).step_by(2) {
            let value = call.setting(index + 1, after)?;
            match sv::plain_octets(call.args[index]) {
                b"is_traced" => settings.is_traced = value != 0,
                name if settings.config.set(name, value) => {}
                _ => {
                    after.croaking(call.located("there is no such setting"));
                    return Err(());
                }
            }
        }
        Ok(settings)
    }
}
