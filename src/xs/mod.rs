//! The binding to perl.
