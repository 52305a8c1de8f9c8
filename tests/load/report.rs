//! The table of ratios, as markdown.

use std::sync::OnceLock;
use std::time::Instant;

use crate::table::median;

/// Tells the person at the terminal where the run is; the table itself goes to standard output.
pub(crate) fn progress(text: &str) {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    let elapsed_s = STARTED.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[{:>2}:{:02}] {text}", elapsed_s / 60, elapsed_s % 60);
}

/// A demand on a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    Below(f64),
    None,
}

impl Goal {
    /// The demand and whether `value` meets it, as two cells.
    fn cells(self, value: f64, unit: &str) -> (String, &'static str) {
        let met = |is: bool| if is { "met" } else { "**missed**" };
        match self {
            _ if value.is_nan() => (self.text(unit), "not measured"),
            Self::AtMost(most) => (self.text(unit), met(value <= most)),
            Self::Below(most) => (self.text(unit), met(value < most)),
            Self::None => (String::new(), ""),
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}{unit}"),
            Self::Below(most) => format!("< {most}{unit}"),
            Self::None => String::new(),
        }
    }
}

/// Rows under one head.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<[String; 7]>,
}

impl Report {
    /// Two sides taken in turn: the median of the pairs' ratios counts.
    pub(crate) fn pairs(&mut self, what: &str, calls: u32, pairs: &[(f64, f64)], goal: Goal) {
        let pairs: Vec<(f64, f64)> =
            pairs.iter().copied().filter(|(a, b)| a.is_finite() && b.is_finite() && *b > 0.0).collect();
        let ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
        let side = |pick: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(pick).collect::<Vec<_>>());
        let value = if ratios.is_empty() { f64::NAN } else { median(&ratios) };
        let (goal, met) = goal.cells(value, "x");
        let spread = ratios.iter().copied().fold((f64::INFINITY, 0.0), |(l, h), r| (r.min(l), r.max(h)));
        let shown = match ratios.len() {
            0 => "–".to_owned(),
            1 => format!("{value:.2}x"),
            n => format!("{value:.2}x ({:.2}–{:.2}, {n} pairs)", spread.0, spread.1),
        };
        let number = |v: f64| if ratios.is_empty() { "–".to_owned() } else { format!("{v:.1}") };
        self.push([
            what.into(),
            calls.to_string(),
            number(side(|p| p.0)),
            number(side(|p| p.1)),
            shown,
            goal,
            met.into(),
        ]);
    }

    /// A figure of the gateway alone, to so many decimals; `beside` says what else was seen.
    pub(crate) fn value(&mut self, what: &str, calls: u32, (value, unit): (f64, &str), beside: String, goal: Goal) {
        let (goal, met) = goal.cells(value, unit);
        let digits = if unit == " %" { 3 } else { usize::from(value.fract() != 0.0) };
        let shown = if value.is_nan() { "–".to_owned() } else { format!("{value:.digits$}{unit}") };
        self.push([what.into(), calls.to_string(), shown, String::new(), beside, goal, met.into()]);
    }

    fn push(&mut self, row: [String; 7]) {
        progress(&row[..5].iter().filter(|cell| !cell.is_empty()).cloned().collect::<Vec<_>>().join(" | "));
        self.rows.push(row);
    }

    /// Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text =
            "| | calls | gateway | beside it | ratio, or what else was seen | goal | |\n|---|---|---|---|---|---|---|\n"
                .to_owned();
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_pairs_ratios_is_judged() {
        let mut report = Report::default();
        report.pairs("a : b", 100, &[(30.0, 20.0), (20.0, 20.0), (40.0, 20.0)], Goal::AtMost(1.5));
        report.pairs("a : c", 100, &[(30.0, f64::NAN)], Goal::AtMost(0.7));
        report.value("late", 600, (0.1, " %"), "gap 50 ms".into(), Goal::Below(0.1));
        let table = report.table();
        assert!(table.contains("| a : b | 100 | 30.0 | 20.0 | 1.50x (1.00–2.00, 3 pairs) | ≤ 1.5x | met |"), "{table}");
        assert!(table.contains("| a : c | 100 | – | – | – | ≤ 0.7x | not measured |"), "{table}");
        assert!(table.contains("| late | 600 | 0.100 % |  | gap 50 ms | < 0.1 % | **missed** |"), "{table}");
    }
}
