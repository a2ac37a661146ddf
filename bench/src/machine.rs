//! The machine: what it is, and how much of it somebody else uses.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::process::{self, Cpu};

/// What figures depend on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) system: String,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpu = first("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = first("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let system = first("/etc/os-release", "PRETTY_NAME").unwrap_or_default();
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kib + (1 << 19)) >> 20,
            system: system.trim_matches('"').to_owned(),
            // Without what its builder has added.
            kernel: version_in(&kernel).unwrap_or_default(),
        }
    }
}

fn first(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| {
        let (field, value) = line.split_once([':', '='])?;
        (field.trim() == name).then(|| value.trim().to_owned())
    })?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What the machine has done so far, to compare with a later moment.
pub(crate) struct Moment {
    /// Ticks of all processes.
    busy: u64,
    /// Ticks that the hypervisor gave to somebody else.
    stolen: u64,
    /// All ticks, of all cores.
    all: u64,
    /// Seconds of this process and of everything it has started.
    own: Cpu,
}

/// Between two moments, in parts of the whole machine.
#[derive(Clone, Copy)]
pub(crate) struct Foreign {
    /// CPU time of unrelated processes.
    pub(crate) others: f64,
    pub(crate) stolen: f64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .flat_map(str::parse)
            .collect();
        let tick = |field: usize| ticks.get(field).copied().unwrap_or(0);
        Self {
            // user, nice and system; not the time of interrupts, which is no process's
            busy: tick(0) + tick(1) + tick(2),
            stolen: tick(7),
            all: ticks.iter().take(8).sum(),
            own: Cpu::of(std::process::id()),
        }
    }

    pub(crate) fn until(&self, later: &Self) -> Foreign {
        let all = process::seconds(later.all - self.all).max(process::TICK);
        let busy = process::seconds(later.busy.saturating_sub(self.busy));
        let stolen = process::seconds(later.stolen.saturating_sub(self.stolen));
        let others = busy - later.own.since(self.own);
        Foreign {
            others: (others / all).max(0.0),
            stolen: stolen / all,
        }
    }
}

/// Processes that wanted to run, on average over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// What a program says its version is, and its library for TLS.
pub(crate) fn version(program: &Path, option: &str) -> String {
    let said = Command::new(program).arg(option).output();
    let said = said
        .map(|said| [said.stdout, said.stderr].concat())
        .unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let version = version_in(&said).unwrap_or_else(|| "unknown".to_owned());
    match tls_library(&said) {
        Some(library) => format!("{version} ({library})"),
        None => version,
    }
}

/// The library that it runs with is named last, after that which it was built with.
fn tls_library(said: &str) -> Option<String> {
    if said.contains("BoringSSL") {
        return Some("BoringSSL".to_owned());
    }
    let named = said.rmatch_indices("OpenSSL ");
    let words = named.filter_map(|(at, name)| {
        let rest = &said[at + name.len()..];
        rest.split(|c: char| c.is_whitespace() || c == ')').next()
    });
    let mut versions = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Some(format!("OpenSSL {}", versions.next()?))
}

/// The first word that begins like a number.
fn version_in(said: &str) -> Option<String> {
    let mut words = said.split(|c: char| c.is_whitespace() || c == '/');
    let word = words.find_map(|word| {
        let word = word.trim_start_matches('v');
        (word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')).then_some(word)
    })?;
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.');
    Some(word[..end.unwrap_or(word.len())].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let cases = [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n",
                "2.6.12",
            ),
            (
                "v2.11.2 h1:iOlpsSiSKqEW+SIXrcZsZ/NO74SzB/ycqqvAIEfIm64=\n",
                "2.11.2",
            ),
            (
                "Server version: Apache/2.4.71 (Debian)\nServer built: 2026-11-12\n",
                "2.4.71",
            ),
            ("h2o version 2.2.5\nOpenSSL: OpenSSL 3.0.22\n", "2.2.5"),
            (
                "/usr/bin/envoy  version: 0cd2/1.40.0/Clean/RELEASE/BoringSSL\n",
                "1.40.0",
            ),
            ("vestibule 0.1.0\n", "0.1.0"),
        ];
        for (said, version) in cases {
            assert_eq!(version_in(said).as_deref(), Some(version), "{said}");
        }
        assert_eq!(version_in("no number\n"), None);
    }

    #[test]
    fn the_library_for_tls_is_the_one_that_is_running() {
        let nginx =
            "built with OpenSSL 3.0.9 30 May 2023 (running with OpenSSL 3.0.22 25 Aug 2026)\n";
        assert_eq!(tls_library(nginx).as_deref(), Some("OpenSSL 3.0.22"));
        let haproxy = "Built with OpenSSL version : OpenSSL 3.0.18 1 Sep 2025\n\
                       Running on OpenSSL version : OpenSSL 3.0.22 25 Aug 2026\n\
                       OpenSSL library supports TLS extensions : yes\n";
        assert_eq!(tls_library(haproxy).as_deref(), Some("OpenSSL 3.0.22"));
        assert_eq!(
            tls_library("1.40.0/Clean/BoringSSL").as_deref(),
            Some("BoringSSL")
        );
        assert_eq!(tls_library("2.6.2\n"), None);
    }
}
