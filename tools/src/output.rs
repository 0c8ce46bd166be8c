//! How the program prints: lines for readers who may go away, and tables with a line under the header and air.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

/// Cells are folded to fit the terminal, unless it is too narrow for folded cells to be read.
const FOLDED_COLUMNS_MIN: u16 = 80;

/// Prints a line. A pipe that nobody reads any more (`| head`) is no error.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// An empty table. The columns in `numbers`, counted from zero, are flush right.
pub(crate) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(RULE).bottom_border(RULE)).set_header(header);
    if table.width().is_some_and(|columns| columns >= FOLDED_COLUMNS_MIN) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for &number in numbers {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
