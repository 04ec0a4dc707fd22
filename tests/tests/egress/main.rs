//! The zone egress, end to end: clients of the mesh on one side, other zones and the world outside on the other, our binary
//! between them, and real Envoy beside it with the same configuration.

mod closed;
mod demos;
mod endpoints;
mod logs;
mod mesh;
mod origin;
mod passthrough;
mod program;
mod refused;
mod secrets;
mod sessions;
mod support;
mod terminated;
mod wire;
