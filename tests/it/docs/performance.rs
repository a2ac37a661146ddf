//! What is said of the comparison with other proxies. The program for it has tests of its own for
//! the figures on the page.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::page::{Page, quoted};

#[test]
fn the_options_and_the_work_of_the_comparison_are_those_of_its_program() {
    let mut page = Page::open("performance.md");
    page.skip("sh", "it takes half an hour; `.ci/run` has a short one");
    page.skip("sh", "each takes minutes; `.ci/run` has short ones");
    page.skip("diff", "it is a change to `h2`");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/src");
    let arguments = fs::read_to_string(sources.join("main.rs")).unwrap();
    let fields = arguments.split("#[arg(long").skip(1);
    let fields = fields.filter_map(|rest| rest.split_once("]\n")?.1.trim_start().split(':').next());
    let options: BTreeSet<_> = fields.map(|field| format!("--{field}")).collect();
    let rows = page.rows("option");
    let told = rows.iter().flat_map(|row| quoted(row[0]));
    let told: BTreeSet<_> = told.map(str::to_owned).collect();
    assert_eq!(told, options);
    let titles = fs::read_to_string(sources.join("work.rs")).unwrap();
    for row in page.rows("work") {
        for work in row[0].split(", 100 MiB") {
            assert!(
                titles.contains(&format!("\"{work}")) || work == " up",
                "{work}"
            );
        }
    }
}
