//! The table of ratios.

use crate::load::quantile;

/// What a ratio is to be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// At least so many times etcd's.
    AtLeast(f64),
    /// At most so many times etcd's.
    AtMost(f64),
    /// Muster's own value, itself a ratio, is to be at most this.
    OwnAtMost(f64),
    /// Only shown.
    None,
}

/// A figure's name, unit and target.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub unit: &'static str,
    pub target: Target,
}

/// A row with one value a run of each server.
#[derive(Clone, Debug)]
pub struct Result {
    pub row: Row,
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

impl Result {
    /// The median of the ratios of the pairs, Muster : etcd.
    fn ratio(&self) -> f64 {
        quantile(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect(), 0.5)
    }

    fn verdict(&self) -> &'static str {
        let own = quantile(self.ours.clone(), 0.5);
        let reached = match self.row.target {
            Target::AtLeast(wanted) => self.ratio() >= wanted,
            Target::AtMost(wanted) => self.ratio() <= wanted,
            Target::OwnAtMost(wanted) => own <= wanted,
            Target::None => return "",
        };
        if reached { "reached" } else { "SHORT" }
    }
}

/// Prints all rows: medians of both, the median ratio, and the target.
pub fn print(results: &[Result]) {
    println!("{:<44} {:>12} {:>12} {:>8}  {:<10} ", "figure", "Muster", "etcd", "ratio", "target");
    for result in results {
        let median = |values: &[f64]| quantile(values.to_vec(), 0.5);
        let show = |value: f64| match value {
            value if value.is_nan() => "-".to_string(),
            value if value >= 1000.0 => format!("{value:.0}"),
            value => format!("{value:.2}"),
        };
        let target = match result.row.target {
            Target::AtLeast(wanted) => format!(">= {wanted} x"),
            Target::AtMost(wanted) => format!("<= {wanted} x"),
            Target::OwnAtMost(wanted) => format!("<= {wanted}"),
            Target::None => String::new(),
        };
        let name = format!("{} [{}]", result.row.name, result.row.unit);
        println!(
            "{name:<44} {:>12} {:>12} {:>8}  {target:<10} {}",
            show(median(&result.ours)),
            show(median(&result.theirs)),
            show(result.ratio()),
            result.verdict()
        );
    }
}
