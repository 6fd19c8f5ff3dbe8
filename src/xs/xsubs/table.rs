//! The macro that makes a table of XSUBs: the name of each Perl sub, what it takes and returns, and its body.

use super::arguments::Arguments;
use crate::xs::codec;
use crate::xs::conn::connection::{self, Lookup, Shared};
use crate::xs::perl::ffi::After;
use crate::xs::perl::sv;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs an XSUB's body. A panic is a bug in this library: the program gets an exception, and the connection, if there is
/// one, is abandoned.
pub fn run(call: &Arguments<'_>, after: &mut After, body: impl FnOnce(&mut After)) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(after))) else { return };
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    *after = After::default();
    after.croaking(call.located(&format!("internal error: {text}")));
    let value = call.arg(0).and_then(sv::referent).unwrap_or(call.sub.cast());
    for value in [value, call.sub.cast()] {
        // SAFETY: perl keeps an XSUB and its arguments while no Perl code runs.
        if let Lookup::Connection(shared) = unsafe { connection::find(call.perl, value) } {
            abandon(shared);
        }
        // SAFETY: as above.
        if let Some(Ok(mut codec)) = unsafe { codec::find(call.perl, value) }.map(|shared| shared.try_borrow_mut()) {
            codec.abandon();
        }
    }
}

/// Gives up a connection after a panic.
pub fn abandon(shared: &Shared) {
    if let Ok(mut connection) = shared.try_borrow_mut() {
        connection.engine.abandon();
    }
}

/// Makes a table of XSUBs: `TABLE`, which ends with a row without a name, and the body of each row. `without a name` adds
/// some more, for subs that no package has.
macro_rules! xsubs {
    (
        $(package $package:literal {
            $($(#[$doc:meta])* $name:ident = |$call:ident, $after:ident| $body:expr;)*
        })*
        $(without a name {
            $($(#[$doc_of_unnamed:meta])* $row:ident: $unnamed:ident = |$its_call:ident, $its_after:ident| $its_body:expr;)*
        })?
    ) => {
        /// The bodies that the trampoline calls.
        #[allow(unused_imports)]
        mod bodies {
            use super::*;
            $($(xsubs!(body $(#[$doc])* $name, $call, $after, $body);)*)*
            $($(xsubs!(body $(#[$doc_of_unnamed])* $unnamed, $its_call, $its_after, $its_body);)*)?
        }

        /// The rows of the table.
        #[allow(non_camel_case_types, dead_code)]
        enum Row { $($($name,)*)* Count }

        /// This file's XSUBs.
        pub static TABLE: [Xsub; Row::Count as usize + 1] = [
            $($(Xsub {
                body: Some(bodies::$name),
                name: concat!($package, "::", stringify!($name), "\0").as_ptr().cast(),
            },)*)*
            Xsub { body: None, name: std::ptr::null() },
        ];

        $($(static $row: Xsub = Xsub { body: Some(bodies::$unnamed), name: std::ptr::null() };)*)?
    };
    (body $(#[$doc:meta])* $name:ident, $call:ident, $after:ident, $body:expr) => {
        $(#[$doc])*
        pub(super) extern "C" fn $name(perl: Perl, sub: *mut CV, args: *mut *mut SV, items: i32, after: *mut After) {
            // SAFETY: the trampoline passes its own struct, and the stack from the first argument on.
            let (args, after) = unsafe { (std::slice::from_raw_parts(args, items as usize), &mut *after) };
            let call = Arguments { perl, sub, args };
            run(&call, after, |$after| { let $call = &call; $body });
        }
    };
}
pub(super) use xsubs;
