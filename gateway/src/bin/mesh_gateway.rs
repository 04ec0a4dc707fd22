//! The `mesh-gateway` program; it also answers to the name `kuma-dp`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// See `.cargo/config.toml` for its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    proxy::app::main(&gateway::GATEWAY, std::env::args_os(), &proxy::app::Env::of_process())
}
