//! Tables whose columns are as wide as what stands in them.

use std::fmt::Write;

/// `rows` as lines, two spaces in and two between columns.
pub fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| console::measure_text_width(&row[column]));
        cells.max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [["A", "LONG", "C"], ["one", "2", "three"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "  A    LONG  C\n  one  2     three\n");
        assert_eq!(table::<3>(&[]), "");
    }
}
