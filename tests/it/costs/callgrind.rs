//! What callgrind has counted of one run of the program.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) instructions: u64,
    pub(super) allocations: u64,
}

impl Counts {
    pub(super) fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap())
    }

    /// The profile format of valgrind's manual. A function is named where it comes first, and later
    /// by its number; a call stands in the block of the function that calls.
    fn parse(profile: &str) -> Self {
        let mut counts = Self {
            instructions: 0,
            allocations: 0,
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
        assert_ne!(counts.instructions, 0, "no totals in the profile");
        assert_ne!(counts.allocations, 0, "no allocator in the profile");
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

fn number(text: &str) -> u64 {
    let digits = text.split_whitespace().next().unwrap_or_default();
    digits.parse().unwrap()
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
        instructions: 1234,
        allocations: 5,
    };
    assert_eq!(Counts::parse(profile), expected);
}
