//! Aligned tables for terminals.

use std::fmt::Write;

/// A table: a title line and rows of the same width.
#[derive(Debug)]
pub struct Table<'a> {
    titles: Vec<&'a str>,
    rows: Vec<Vec<String>>,
}

impl<'a> Table<'a> {
    /// A table without rows. A title that begins with `>` makes a column of numbers, aligned at its right.
    pub fn new(titles: &[&'a str]) -> Table<'a> {
        Table { titles: titles.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: one cell for each title; missing ones stay empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().take(self.titles.len()).map(|c| printable(&c)).collect();
        row.resize(self.titles.len(), String::new());
        self.rows.push(row);
    }

    /// The table as text, columns two blanks apart, no blanks at the ends of lines.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.titles[column].trim_start_matches('>').len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.titles.len()).map(width).collect();
        let titles: Vec<&str> = self.titles.iter().map(|t| t.trim_start_matches('>')).collect();
        let mut text = self.line(&titles, &widths);
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            text.push_str(&self.line(&cells, &widths));
        }
        text
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), title) in cells.iter().zip(widths).zip(&self.titles) {
            let _ = if title.starts_with('>') {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// Names come from the network: what could steer a terminal is shown as a question mark.
fn printable(cell: &str) -> String {
    let bidi =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    cell.chars().map(|c| if c.is_control() || bidi(c) { '?' } else { c }).collect()
}

/// Seconds as `42s`, `3m07s`, `2h05m`, `4d03h`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Octets as `512`, `1.5k`, `3.2M`, `1.0G` (powers of 1024).
pub fn octets(octets: u64) -> String {
    let mut value = octets as f64;
    for unit in ["", "k", "M", "G"] {
        if value < 1024.0 || unit == "G" {
            return if unit.is_empty() { octets.to_string() } else { format!("{value:.1}{unit}") };
        }
        value /= 1024.0;
    }
    octets.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let mut table = Table::new(&["NAME", ">OCTETS", "STATE"]);
        table.row(["phone", "7", "up"].map(str::to_owned));
        table.row(["tablet at home", "12345", ""].map(str::to_owned));
        assert_eq!(
            table.text(),
            "NAME            OCTETS  STATE\nphone                7  up\ntablet at home   12345\n"
        );
    }

    #[test]
    fn names_from_the_network_cannot_steer_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(["\u{1b}[2Jphone\n\u{202e}".to_owned()]);
        assert_eq!(table.text(), "NAME\n?[2Jphone??\n");
    }

    #[test]
    fn durations_and_octets_are_short() {
        let durations = [0, 59, 60, 3599, 3600, 86_400].map(duration);
        assert_eq!(durations, ["0s", "59s", "1m00s", "59m59s", "1h00m", "1d00h"]);
        assert_eq!(
            [0, 1023, 1024, 1536, 3 << 20, 5 << 40].map(octets),
            ["0", "1023", "1.0k", "1.5k", "3.0M", "5120.0G"]
        );
    }
}
