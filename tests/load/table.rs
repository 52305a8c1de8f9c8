//! Rows of figures and the sums over rounds.

/// Column width in characters; the first column is wider.
const COLUMN: usize = 13;
const FIRST_COLUMN: usize = 26;

/// Prints a headline, the command and the columns' names.
pub(crate) fn head(title: &str, command: &str, columns: &[&str]) {
    println!("\n{title}\n$ {command}");
    let names: Vec<String> = columns.iter().map(ToString::to_string).collect();
    row(&names);
}

/// Prints a row under [`head`].
pub(crate) fn row(cells: &[String]) {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        let width = if index == 0 { FIRST_COLUMN } else { COLUMN };
        let text = if index == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
        line.push_str(&text);
    }
    println!("{}", line.trim_end());
}

/// Prints a remark.
pub(crate) fn note(text: &str) {
    println!("  {text}");
}

/// The middle value; of an even number the mean of the two middle ones. 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// `a` over `b` as text: `3.4x`; a dash when there is nothing to compare with.
pub(crate) fn ratio(a: f64, b: f64) -> String {
    if b > 0.0 { format!("{:.1}x", a / b) } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_of_little_or_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(ratio(3.0, 2.0), "1.5x");
        assert_eq!(ratio(3.0, 0.0), "-");
    }
}
