//! A table for people whose rows are all known: each column is as wide as its longest cell.

use std::fmt::Write;

pub(super) fn of<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let header = header.map(str::to_owned);
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  "); // writing to a String cannot fail
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}
