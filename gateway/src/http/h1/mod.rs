//! HTTP/1 as it stands on the wire. hyper parses and writes it; what hyper would let through is looked at here before.

mod chunk;
mod gate;
pub(crate) mod head;

pub(crate) use gate::{Gate, STAND_IN, Then};
