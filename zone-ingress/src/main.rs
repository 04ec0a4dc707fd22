//! The `zone-ingress` program; it also answers to the name `kuma-dp`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// See `.cargo/config.toml` for its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    zone_ingress::cli::main(std::env::args_os(), &zone_ingress::env::Env::of_process())
}
