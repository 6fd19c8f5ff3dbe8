//! The XSUBs: the subs that Perl calls. Each file has a table of those for one subject, whose macro is in [`table`];
//! [`exports`] has the list of the tables, and what else the C half calls.

mod arguments;
mod codec;
mod connection;
mod exports;
mod handshake;
mod table;
