//! Processes: what a tree of them has used, and the end of it.

use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Of a second, in `/proc`: `USER_HZ`, which is part of the kernel's interface.
pub(crate) const TICK: f64 = 0.01;

const PATIENCE: Duration = Duration::from_millis(10);

/// A program with everything it starts. It is stopped when this is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it in a process group of its own, so that an interrupt from the terminal reaches only
    /// this process, and everything ends in order. What it says goes to a file.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> io::Result<Self> {
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let program = command.get_program().to_string_lossy();
                io::Error::new(error.kind(), format!("{program}: {error}"))
            })?;
        Ok(Self { child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// It has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits until it has ended, as it was told to.
    pub(crate) fn wait(&mut self) {
        let _ = self.child.wait();
    }

    /// The end of what it said, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten()?;
        Some(self.said())
    }

    /// The end of what it said.
    pub(crate) fn said(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let end = &said[said.len().saturating_sub(1000)..];
        String::from_utf8_lossy(end).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        let _ = kill_process(pid, Signal::TERM);
        for _ in 0..300 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(PATIENCE);
        }
        // Whatever of its group is left.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// CPU time of a process and its descendants so far, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// By the scheduler's clock; of threads that are still there.
    exact: f64,
    /// In ticks; of all, those that have ended included.
    whole: f64,
}

impl Cpu {
    pub(crate) fn of(root: u32) -> Self {
        let all = stats();
        let tree = tree(&all, root);
        let nanoseconds: u64 = tree.iter().map(|&pid| scheduled(pid)).sum();
        Self {
            exact: Duration::from_nanos(nanoseconds).as_secs_f64(),
            whole: seconds(tree.iter().map(|pid| all[pid].ticks).sum()),
        }
    }

    /// The exact time, unless threads have ended since then and taken theirs along.
    pub(crate) fn since(self, earlier: Self) -> f64 {
        let (exact, whole) = (self.exact - earlier.exact, self.whole - earlier.whole);
        if whole - exact > 2.0 * TICK + 0.02 * whole {
            whole
        } else {
            exact
        }
    }
}

/// The time of the threads of a process, in nanoseconds: the first field of each `schedstat`.
fn scheduled(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let of = |path: PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.filter_map(|thread| of(thread.path())).sum()
}

/// Memory of the tree in bytes: PSS, so that pages shared by its processes count once.
pub(crate) fn memory(root: u32) -> u64 {
    sum(root, "smaps_rollup", "Pss:") * 1024
}

/// What the tree has had written to disks, in bytes.
pub(crate) fn written(root: u32) -> u64 {
    sum(root, "io", "write_bytes:")
}

pub(crate) fn seconds(ticks: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let ticks = ticks as f64;
    ticks * TICK
}

fn sum(root: u32, file: &str, field: &str) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    tree(&stats(), root).iter().filter_map(of).sum()
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stats() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of = |name: &str| {
        let pid = name.parse().ok()?;
        Some((
            pid,
            parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
        ))
    };
    entries
        .filter_map(|entry| of(entry.file_name().to_str()?))
        .collect()
}

/// A line of `/proc/PID/stat`, `proc_pid_stat(5)`. The name in parentheses may hold anything.
fn parse(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let ticks = (11..=14).map(number).sum::<Option<u64>>()?;
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks,
    })
}

fn tree(all: &HashMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut found: Vec<_> = all
        .contains_key(&root)
        .then_some(root)
        .into_iter()
        .collect();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = all.iter().filter(|(_, stat)| stat.parent == parent);
        found.extend(children.map(|(&pid, _)| pid));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) (b c) S 3 7 7 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 5 6 7";
        let stat = parse(line).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 37));
    }

    #[test]
    fn time_is_exact_until_threads_end() {
        let at = |exact, whole| Cpu { exact, whole };
        let begin = at(1.0, 1.0);
        for (end, since) in [
            (at(1.123, 1.12), 0.123),
            (at(1.123, 1.14), 0.123),
            (at(1.123, 1.3), 0.3),
            (at(1.0, 1.5), 0.5),
        ] {
            assert!((end.since(begin) - since).abs() < 1e-9, "{end:?}");
        }
        let own = Cpu::of(std::process::id());
        while Cpu::of(std::process::id()).since(own) < 0.001 {}
    }

    #[test]
    fn a_program_is_stopped_with_what_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & echo ready; wait"]);
        let running = Running::start(shell, folder.path().join("log")).unwrap();
        while !running.said().contains("ready") {
            thread::yield_now();
        }
        let started = tree(&stats(), running.id());
        assert_eq!(started.len(), 2, "the shell and its child");
        drop(running);
        let left = stats();
        assert!(
            started
                .iter()
                .all(|pid| !left.contains_key(pid) || left[pid].parent == 1)
        );
    }
}
