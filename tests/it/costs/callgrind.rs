//! What callgrind has counted of a part of the program's run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Service, run_to_end};

/// What Rust code and C code allocate with. Calls between these functions are one allocation.
const ALLOCATORS: [&str; 7] = [
    "__rust_alloc",
    "__rust_alloc_zeroed",
    "__rust_realloc",
    "calloc",
    "malloc",
    "posix_memalign",
    "realloc",
];

/// Callgrind with a program under it, which dumps what it has counted when it is told to.
pub(super) struct Callgrind {
    output: PathBuf,
    dumps: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) instructions: f64,
    pub(super) allocations: f64,
}

impl Callgrind {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            output: folder.join("counts"),
            dumps: 0,
        }
    }

    pub(super) fn command(&self, program: &Path) -> Command {
        let mut valgrind = Command::new("valgrind");
        valgrind
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", self.output.display()))
            .arg(program);
        valgrind
    }

    /// What was counted since it was asked last.
    pub(super) fn dump(&mut self, service: &Service) -> Counts {
        command(service, "dump");
        self.dumps += 1;
        let dump = format!("{}.{}", self.output.display(), self.dumps);
        let profile = fs::read_to_string(&dump).unwrap();
        fs::remove_file(dump).unwrap();
        Counts::parse(&profile)
    }
}

/// Forgets what was counted.
pub(super) fn zero(service: &Service) {
    command(service, "zero");
}

/// By way of valgrind's own debugging server, which `callgrind_control` uses, too.
fn command(service: &Service, command: &str) {
    let mut vgdb = Command::new("vgdb");
    vgdb.arg(format!("--pid={}", service.program.id()));
    let ran = run_to_end(vgdb.arg(command), "");
    assert_eq!(ran.0, Some(0), "{ran:?}");
}

impl Counts {
    /// The profile format of valgrind's manual. A function is named where it comes first, and later
    /// by its number; a call stands in the block of the function that calls.
    fn parse(profile: &str) -> Self {
        let mut counts = Self {
            instructions: 0.0,
            allocations: 0.0,
        };
        let mut names = HashMap::new();
        let (mut within, mut allocation) = (false, false);
        for line in profile.lines() {
            let Some((key, value)) = line.split_once(['=', ':']) else {
                continue;
            };
            match key {
                "fn" => within = allocates(&mut names, value),
                "cfn" => allocation = allocates(&mut names, value),
                "calls" if allocation && !within => {
                    counts.allocations += number(value);
                }
                "totals" => counts.instructions = number(value),
                _ => {}
            }
        }
        assert!(counts.instructions > 0.0, "no totals in the profile");
        counts
    }
}

/// Of `(number) name` or `(number)`.
fn allocates<'p>(names: &mut HashMap<&'p str, bool>, function: &'p str) -> bool {
    let (id, name) = function.split_once(' ').unwrap_or((function, ""));
    if !name.is_empty() {
        // `'2` marks a recursion; the paths of Rust's own are of the compiler's making.
        let name = name.split('\'').next().unwrap_or(name);
        let name = name.rsplit("::").next().unwrap_or(name);
        names.insert(id, ALLOCATORS.contains(&name));
    }
    names.get(id).copied().unwrap_or(false)
}

fn number(text: &str) -> f64 {
    let digits = text.split_whitespace().next().unwrap_or_default();
    digits.parse::<f64>().unwrap()
}

#[test]
fn allocations_are_calls_from_elsewhere() {
    let profile = "events: Ir\n\
        fn=(1) main\n16 400\n\
        cfn=(2) __rustc::__rust_alloc\ncalls=3 0\n16 400\n\
        cfn=(3) free\ncalls=9 0\n16 400\n\
        fn=(2)\n\
        cfn=(4) malloc\ncalls=3 0\n16 400\n\
        fn=(5) c_code\n\
        cfn=(4)\ncalls=2 0\n16 400\n\
        totals: 1234\n";
    let expected = Counts {
        instructions: 1234.0,
        allocations: 5.0,
    };
    assert_eq!(Counts::parse(profile), expected);
}
