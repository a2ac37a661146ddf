//! Turns measurements into Markdown tables and SVG plots, and publishes both in the documentation.

mod plot;
mod statistics;
mod table;

use std::fs;
use std::io;
use std::path::Path;

use crate::record::Records;

const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

/// Where the published measurements are, in the sources.
const PUBLISHED: &str = "bench/measurements.jsonl";
const PAGE: &str = "docs/performance.md";
const IMAGES: &str = "docs/images";

/// Writes the table and the plots beside the file of measurements; gives the table.
pub(crate) fn write(file: &Path) -> io::Result<String> {
    let records = Records::read(file)?;
    let table = table::all(&records);
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::write(folder.join("table.md"), &table)?;
    for (name, svg) in plot::all(&records) {
        fs::write(folder.join(name), svg)?;
    }
    Ok(table)
}

/// Puts the table and the plots into the documentation below this folder, with their measurements.
pub(crate) fn publish(file: &Path, sources: &Path) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let records = Records::parse(&text)?;
    let page = sources.join(PAGE);
    let replaced = replace(&fs::read_to_string(&page)?, &table::all(&records))?;
    fs::write(page, replaced)?;
    for (name, svg) in plot::all(&records) {
        fs::write(sources.join(IMAGES).join(name), svg)?;
    }
    fs::write(sources.join(PUBLISHED), text)
}

fn replace(page: &str, table: &str) -> io::Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| io::Error::other("the page has no place for it"))?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_shows_the_measurements_that_are_published() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let records = Records::read(&sources.join(PUBLISHED)).unwrap();
        assert!(!records.are_a_trial());
        let page = fs::read_to_string(sources.join(PAGE)).unwrap();
        let replaced = replace(&page, &table::all(&records)).unwrap();
        assert!(
            page == replaced,
            "run `vestibule-bench publish {PUBLISHED}`"
        );
        for (name, svg) in plot::all(&records) {
            let shown = fs::read_to_string(sources.join(IMAGES).join(name)).unwrap();
            assert!(
                shown == svg,
                "{name}: run `vestibule-bench publish {PUBLISHED}`"
            );
            assert!(
                page.contains(&format!("(images/{name})")),
                "{name} on the page"
            );
        }
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}old\n{END}z\n");
        let replaced = replace(&page, "new\n").unwrap();
        assert_eq!(replaced, format!("a\n{BEGIN}\nnew\n\n{END}z\n"));
        assert_eq!(replace(&replaced, "new\n").unwrap(), replaced);
        assert!(replace("a\n", "new\n").is_err());
    }
}
