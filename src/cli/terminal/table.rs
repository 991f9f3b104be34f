//! Aligned columns for people.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_cells_show_a_dash() {
        let rows = vec![vec!["a".into(), String::new()], vec!["longer".into(), "x".into()]];
        assert_eq!(render(&["UNIT", "STATE"], &rows), "UNIT    STATE\na       -\nlonger  x\n");
    }
}
