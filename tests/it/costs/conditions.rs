//! What counting needs, and what its numbers depend on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::real::missing;
use crate::harness::run_to_end;

/// The program as it is counted; the debug build is another one.
pub(super) fn counted_build() -> Option<PathBuf> {
    let debug = Path::new(env!("CARGO_BIN_EXE_vestibule"));
    let program = debug.parent()?.parent()?.join("cost/vestibule");
    if !program.is_file() {
        missing("the build of `cargo build --profile cost`");
        return None;
    }
    Some(program)
}

#[cfg(target_arch = "x86_64")]
pub(super) fn has_the_numbers_cpu() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn has_the_numbers_cpu() -> bool {
    false
}

pub(super) fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = run_to_end(Command::new(rustc).arg("-V"), "").1;
    version.trim().to_owned()
}
