//! The same resources to Envoy and to us, the same requests to both, and what clients and servers saw compared.
//!
//! [`World`]: resources of one control plane at one time, from a file of Kuma's expected outputs or a fixture of our own.
//! [`live`]: its addresses, ports and certificates become ones that are there. [`generate`]: requests for each branch of
//! each match of each route, hit and missed. [`run`]: all of them through a proxy. [`normal`]: what is left when that is
//! taken away which can't be the same twice.

pub mod access;
pub mod generate;
pub mod live;
pub mod normal;
pub mod pattern;
pub mod run;
pub mod world;

pub use access::Access;
pub use generate::Case;
pub use live::Stage;
pub use normal::Story;
pub use world::World;
