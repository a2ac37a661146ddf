//! What an identity token costs: `cargo bench --bench identity_token`.

#![expect(
    clippy::print_stdout,
    reason = "figures for people, from a program that stops where it cannot go on"
)]

use std::hint::black_box;

use tokio::time::Instant;

use vestibule::benchmark::Tokens;

/// As in the program.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKENS: u32 = 100_000;

fn main() {
    let tokens = Tokens::new();
    let length = tokens.make("/page");
    let paths: Vec<_> = (0..TOKENS).map(|n| format!("/page/{n}")).collect();
    for round in 1..=3 {
        let started = Instant::now();
        for path in &paths {
            black_box(tokens.make(path));
        }
        let signed = started.elapsed() / TOKENS;
        let started = Instant::now();
        for _ in 0..TOKENS {
            black_box(tokens.make("/page"));
        }
        let kept = started.elapsed() / TOKENS;
        println!(
            "{round}: a token of {length} bytes takes {signed:?}, one of this second again {kept:?}"
        );
    }
}
