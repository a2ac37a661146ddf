//! System calls of one request or connection, in what strace has written of each thread.

use std::fs;
use std::path::Path;

use super::client::Work;

/// Those of each work, which were done one after the other, so many times after a warm-up. They have
/// one mark. `None` until the trace is whole.
///
/// Between one mark and the next there is one request, and now and then a tick or the wake-up of the
/// log's writer, which come by the clock and are not its own: the lower quartile has none of them.
pub(super) fn calls_of_each(
    folder: &Path,
    works: &[Work],
    warm_up: usize,
    times: usize,
) -> Option<Vec<u64>> {
    let mark = works.first()?.mark();
    assert!(works.iter().all(|work| work.mark() == mark));
    let threads = fs::read_dir(folder).unwrap();
    let traces = threads.map(|file| fs::read(file.unwrap().path()).unwrap());
    let traces = traces.map(|trace| String::from_utf8_lossy(&trace).into_owned());
    let marked: Vec<_> = traces.filter(|trace| trace.contains(mark)).collect();
    let [trace] = marked.as_slice() else {
        assert!(
            marked.is_empty(),
            "more than one thread has served requests"
        );
        return None;
    };
    let counts = calls_between(trace, mark);
    let each = warm_up + times;
    let calls = (0..works.len()).map(|work| {
        let counted = work * each + warm_up..(work + 1) * each - 1;
        let mut counts = counts.get(counted)?.to_vec();
        counts.sort_unstable();
        Some(counts[counts.len() / 4])
    });
    calls.collect()
}

/// How many calls there are from each one that has the mark to the next.
fn calls_between(trace: &str, mark: &str) -> Vec<u64> {
    let mut counts = Vec::new();
    let mut count = None;
    for line in trace.lines().filter(|line| is_call(line)) {
        if line.contains(mark) {
            counts.extend(count);
            count = Some(0);
        }
        if let Some(count) = &mut count {
            *count += 1;
        }
    }
    counts
}

/// A signal or the end of a thread is none, and neither is the rest of a call that began before.
fn is_call(line: &str) -> bool {
    line.starts_with(|first: char| first.is_ascii_alphabetic())
}

#[test]
fn calls_are_counted_from_mark_to_mark() {
    let trace = "epoll_wait(3, [], 1024, 5) = 0\n\
        writev(9, [{iov_base=\"GET /counted HTTP/1.1\"...}], 1) = 200\n\
        --- SIGHUP {si_signo=SIGHUP} ---\n\
        recvfrom(9, \"HTTP/1.1\", 8192, 0, NULL, NULL) = 1024\n\
        writev(9, [{iov_base=\"GET /counted HTTP/1.1\"...}], 1) = 200\n\
        <... futex resumed>) = 0\n\
        futex(0x1, FUTEX_WAKE_PRIVATE, 1) = 1\n\
        futex(0x1, FUTEX_WAKE_PRIVATE, 1) = 1\n\
        writev(9, [{iov_base=\"GET /counted HTTP/1.1\"...}], 1) = 200\n\
        +++ exited with 0 +++\n";
    assert_eq!(calls_between(trace, " /counted HTTP/1.1"), [2, 3]);
}
