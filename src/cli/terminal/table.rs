//! What screens are made of: aligned columns, and lengths of time.

/// Renders `rows` under `header`: columns are as wide as their widest cell and two blanks apart, an empty cell
/// shows as `-`, and no line ends in blanks.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = header.iter().map(|cell| cell.to_string()).collect();
    let shown = |cell: &String| if cell.is_empty() { "-".to_string() } else { cell.clone() };
    let lines: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(shown).collect()).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A length of time in its two largest units, such as `1h5m`.
pub fn span(seconds: u64) -> String {
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let two = parts[first..].iter().take(2);
    let shown = two.filter(|(count, _)| *count > 0 || seconds == 0);
    shown.map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_cells_show_a_dash() {
        let rows = vec![vec!["a".into(), String::new()], vec!["longer".into(), "x".into()]];
        assert_eq!(render(&["UNIT", "STATE"], &rows), "UNIT    STATE\na       -\nlonger  x\n");
    }

    #[test]
    fn the_two_largest_units_are_shown() {
        for (seconds, shown) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (61, "1m1s"), (3600, "1h"), (3661, "1h1m"), (90_000, "1d1h")]
        {
            assert_eq!(span(seconds), shown);
        }
    }
}
