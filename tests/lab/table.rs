//! Tables on a terminal.

/// Rows under a head, columns as wide as their widest cell; numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or_default()
        })
        .collect();
    // Columns of numbers stand to the right; `-` is a number that is not there.
    let right: Vec<bool> = (0..head.len())
        .map(|column| {
            let mut cells = rows.iter().filter_map(|row| row.get(column)).peekable();
            cells.peek().is_some() && cells.all(|cell| cell == "-" || cell.parse::<f64>().is_ok())
        })
        .collect();
    let head: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for row in [&head, &rule].into_iter().chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths.iter().zip(&right))
            .map(
                |(cell, (width, right))| {
                    if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows =
            vec![vec!["a".into(), "10".into(), "9 of 9".into()], vec!["bcd".into(), "7".into(), "-".into()]];
        let text = super::table(&["name", "count", "note"], &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "name  count  note");
        assert_eq!(lines[2..], ["a        10  9 of 9", "bcd       7  -"]);
    }
}
