//! Turns measurements into Markdown tables and SVG plots, and publishes both in the documentation.

mod bars;
mod floods;
mod plot;
mod scale;
mod statistics;
mod table;

use std::fs;
use std::io;
use std::path::Path;

use crate::record::Records;
use crate::sheet::{self, Kind, Sheet};
use crate::work::Work;

/// What is shown of a file of measurements.
struct Shown {
    /// Its name in the sources, and between the marks of the page.
    name: &'static str,
    is_a_trial: bool,
    table: String,
    plots: Vec<(&'static str, String)>,
}

/// Where the published measurements are, in the sources.
const PUBLISHED: &str = "bench";
const PAGE: &str = "docs/performance.md";
const IMAGES: &str = "docs/images";

impl Shown {
    fn of(text: &str) -> io::Result<Self> {
        Ok(match sheet::kind(text) {
            None => {
                let records = Records::parse(text)?;
                if records.are_only_of(Work::Questions) {
                    return Ok(Self {
                        name: "answers",
                        is_a_trial: records.are_a_trial(),
                        table: table::all(&records),
                        plots: Vec::new(),
                    });
                }
                Self {
                    name: "measurements",
                    is_a_trial: records.are_a_trial(),
                    table: table::all(&records),
                    plots: plot::all(&records),
                }
            }
            Some(Kind::Scale) => {
                let sheet = Sheet::parse(text)?;
                Self {
                    name: "scale",
                    is_a_trial: sheet.header.is_a_trial(),
                    table: scale::table(&sheet),
                    plots: scale::plots(&sheet),
                }
            }
            Some(Kind::Floods) => {
                let sheet = Sheet::parse(text)?;
                Self {
                    name: "floods",
                    is_a_trial: sheet.header.is_a_trial(),
                    table: floods::table(&sheet),
                    plots: floods::plots(&sheet),
                }
            }
        })
    }

    /// A page with the table in its place.
    fn on(&self, page: &str) -> io::Result<String> {
        let (begin, end) = (self.mark("begin"), self.mark("end"));
        let parts = page.split_once(&begin).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(&end)?;
            Some((before, after))
        });
        let missing = || io::Error::other("the page has no place for it");
        let (before, after) = parts.ok_or_else(missing)?;
        Ok(format!("{before}{begin}\n{}\n{end}{after}", self.table))
    }

    fn mark(&self, which: &str) -> String {
        let name = match self.name {
            "measurements" => "measured",
            other => other,
        };
        format!("<!-- {name}: {which} -->\n")
    }
}

/// Writes the table and the plots beside the file of measurements; gives the table.
pub(crate) fn write(file: &Path) -> io::Result<String> {
    let shown = Shown::of(&read(file)?)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::write(file.with_extension("md"), &shown.table)?;
    for (name, svg) in shown.plots {
        fs::write(folder.join(name), svg)?;
    }
    Ok(shown.table)
}

/// Puts the table and the plots into the documentation below this folder, with their measurements.
pub(crate) fn publish(file: &Path, sources: &Path) -> io::Result<()> {
    let text = read(file)?;
    let shown = Shown::of(&text)?;
    if shown.is_a_trial {
        return Err(io::Error::other("a short trial run says nothing"));
    }
    let page = sources.join(PAGE);
    let replaced = shown.on(&fs::read_to_string(&page)?)?;
    fs::write(page, replaced)?;
    for (name, svg) in &shown.plots {
        fs::write(sources.join(IMAGES).join(name), svg)?;
    }
    let measurements = format!("{}.jsonl", shown.name);
    fs::write(sources.join(PUBLISHED).join(measurements), text)
}

fn read(file: &Path) -> io::Result<String> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    fs::read_to_string(file).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_shows_the_measurements_that_are_published() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for name in ["measurements", "answers", "scale", "floods"] {
            let file = format!("{PUBLISHED}/{name}.jsonl");
            let shown = Shown::of(&read(&sources.join(&file)).unwrap()).unwrap();
            assert_eq!(shown.name, name);
            assert!(!shown.is_a_trial, "{file}");
            let page = fs::read_to_string(sources.join(PAGE)).unwrap();
            let replaced = shown.on(&page).unwrap();
            assert!(page == replaced, "run `vestibule-bench publish {file}`");
            for (name, svg) in shown.plots {
                let drawn = fs::read_to_string(sources.join(IMAGES).join(name)).unwrap();
                assert!(drawn == svg, "{name}: run `vestibule-bench publish {file}`");
                assert!(
                    page.contains(&format!("(images/{name})")),
                    "{name} on the page"
                );
            }
        }
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let mut shown = Shown::of(scale::tests::SAMPLE).unwrap();
        shown.table = "new\n".to_owned();
        let page = "a\n<!-- scale: begin -->\nold\n<!-- scale: end -->\nz\n";
        let replaced = shown.on(page).unwrap();
        let expected = "a\n<!-- scale: begin -->\n\nnew\n\n<!-- scale: end -->\nz\n";
        assert_eq!(replaced, expected);
        assert_eq!(shown.on(&replaced).unwrap(), replaced);
        assert!(shown.on("a\n").is_err());
    }

    #[test]
    fn a_trial_is_not_published() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scale.jsonl");
        fs::write(&file, scale::tests::SAMPLE).unwrap();
        let error = publish(&file, folder.path()).unwrap_err();
        assert!(error.to_string().contains("trial"), "{error}");
    }
}
