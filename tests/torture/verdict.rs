//! What came out of a torture.

use std::collections::BTreeMap;
use std::fmt;

use super::history::{Act, Record, Told};
use super::lifetimes::Lifetimes;
use super::nemesis::Fault;

/// Counts, and what was checked.
#[derive(Default)]
pub struct Verdict {
    pub seed: u64,
    pub operations: usize,
    pub reads: usize,
    pub acknowledged: usize,
    pub refused: usize,
    pub unanswered: usize,
    pub expired: usize,
    pub faults: BTreeMap<Fault, usize>,
    pub checks: Vec<(String, Result<(), String>)>,
}

impl Verdict {
    /// Counts the records.
    pub fn count(&mut self, records: &[Record]) {
        self.operations = records.len();
        for record in records {
            match (record.act, record.told) {
                (_, None) => self.unanswered += 1,
                (Act::Get, Some(_)) => self.reads += 1,
                (_, Some(Told::Done { .. })) => self.acknowledged += 1,
                (_, Some(_)) => self.refused += 1,
            }
        }
    }

    pub fn check(&mut self, what: impl Into<String>, result: Result<(), String>) {
        self.checks.push((what.into(), result));
    }

    /// The checks of the lifetimes.
    pub fn lifetimes(&mut self, lifetimes: &Lifetimes) {
        self.expired = lifetimes.expired;
        let all_well = |bad: &[String]| if bad.is_empty() { Ok(()) } else { Err(bad.join("\n")) };
        self.check("no lifetime ends early", all_well(&lifetimes.early));
        let late = format!("every lifetime ends (the last {:.1} s late)", lifetimes.latest.as_secs_f64());
        self.check(late, all_well(&lifetimes.left));
    }

    pub fn passed(&self) -> bool {
        self.checks.iter().all(|(_, result)| result.is_ok())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "operations           {}", self.operations)?;
        writeln!(f, "  reads              {}", self.reads)?;
        writeln!(f, "  acknowledged       {}", self.acknowledged)?;
        writeln!(f, "  refused            {}", self.refused)?;
        writeln!(f, "  unknown outcome    {}", self.unanswered)?;
        writeln!(f, "lifetimes run out    {}", self.expired)?;
        writeln!(f, "faults               {}", self.faults.values().sum::<usize>())?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {:<18} {count}", format!("{fault:?}"))?;
        }
        for (what, result) in &self.checks {
            match result {
                Ok(()) => writeln!(f, "passed  {what}")?,
                Err(why) => writeln!(f, "FAILED  {what}\n{why}")?,
            }
        }
        write!(f, "verdict of seed {}: {}", self.seed, if self.passed() { "passed" } else { "FAILED" })
    }
}
