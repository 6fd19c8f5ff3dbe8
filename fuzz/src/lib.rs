//! Code shared by the fuzz targets.

pub mod compressed;
pub mod heads;
pub mod inflater;
pub mod input;
pub mod reference;
pub mod session;
#[path = "../../tests/support/mod.rs"]
pub mod support;
