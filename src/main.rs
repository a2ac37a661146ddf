//! The `vestibule` program; everything is in the library.

use std::process::ExitCode;

/// A request is mostly small allocations, made on one thread and freed on another.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vestibule::cli::run()
}
