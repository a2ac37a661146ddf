//! The pages in a package: who has only them can follow their links.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Packages, answer};
use crate::harness::real;

const FOLDER: &str = "usr/share/doc/vestibule";

/// All pages below a folder.
fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                return pages_below(&path);
            }
            let is_page = path.extension().is_some_and(|end| end == "md");
            is_page.then_some(path).into_iter().collect()
        })
        .collect()
}

/// The files that a page names in links and pictures, but for those on the web.
fn linked(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let prose: String = text.split("```").step_by(2).collect();
    let links = prose.split("](").skip(1).map(|rest| rest.split(')').next());
    let pictures = prose.split(" src=\"").skip(1);
    let pictures = pictures.map(|rest| rest.split('"').next());
    let targets = links.chain(pictures).map(|target| target.unwrap());
    let files = targets.filter(|target| !target.starts_with("https://"));
    let files = files.map(|target| target.split('#').next().unwrap());
    files
        .filter(|file| !file.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Each link of each page that was installed below this root.
pub(super) fn lead_somewhere(root: &Path) {
    let folder = root.join(FOLDER).canonicalize().unwrap();
    let pages = pages_below(&folder);
    let mut links = 0;
    for page in &pages {
        for target in linked(page) {
            links += 1;
            let file = page.parent().unwrap().join(&target).canonicalize();
            let is_installed = file.is_ok_and(|file| file.starts_with(&folder) && file.is_file());
            assert!(is_installed, "{}: {target}", page.display());
        }
    }
    assert!(pages.len() > 10 && links > 50, "{links} in {pages:?}");
}

#[tokio::test]
async fn each_link_in_a_page_of_the_debian_package_leads_to_a_file_of_it() {
    let Some(dpkg) = real::find("dpkg-deb") else {
        return;
    };
    let Some(packages) = Packages::build("deb", &["1"]).await else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let mut extract = Command::new(dpkg);
    extract.arg("--extract").arg(packages.file("1"));
    answer(extract.arg(root.path()));
    lead_somewhere(root.path());
}
