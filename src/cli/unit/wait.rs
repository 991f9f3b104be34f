//! Waiting for what was asked, for all units of a command together.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::progress::{Goal, Progress, progress};
use super::view::Live;
use super::{Wait, summary};
use crate::cli::Failure;
use crate::client::{Client, GetOptions};
use crate::ids::UnitName;
use crate::model::ENGINE_LEASE;

/// How long to wait when nobody says.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until every unit has reached its goal, telling of each as it does.
///
/// # Errors
/// One line for every unit that did not: what stands in its way, or how far it came.
pub(super) async fn wait(client: &Client, goals: BTreeMap<UnitName, Goal>, how: Wait) -> Result<(), Failure> {
    let mut live = Live::open(client);
    let deadline = Instant::now() + how.wait.unwrap_or(PATIENCE);
    let mut open: BTreeMap<UnitName, (Goal, String)> = goals
        .into_iter()
        .map(|(unit, goal)| (unit, (goal, "the store does not answer".to_string())))
        .collect();
    let mut failures = Vec::new();
    let mut line = Line::new();
    while !open.is_empty() {
        tokio::select! {
            () = live.changed() => {}
            () = sleep_until(deadline) => {
                line.clear();
                let hint = hint(client).await;
                let late = open.iter().map(|(unit, (_, at))| Failure::new(format!("{unit}: {at}, and time is up{hint}")));
                failures.extend(late);
                break;
            }
        }
        let Some(view) = live.view() else { continue };
        let mut reached = Vec::new();
        open.retain(|unit, (goal, at)| match progress(&view, unit, *goal) {
            Progress::Reached(word) => {
                reached.push(format!("{unit}: {word}"));
                false
            }
            Progress::Failed(why) => {
                failures.push(Failure::new(format!("{unit}: {why}")));
                false
            }
            Progress::Blocked(why) if how.wait.is_none() => {
                failures.push(Failure::new(format!("{unit} cannot be placed: {why}")));
                false
            }
            Progress::Under(where_it_is) | Progress::Blocked(where_it_is) => {
                *at = where_it_is;
                true
            }
        });
        line.clear();
        for sentence in reached {
            outln!("{sentence}");
        }
        line.show(&open);
    }
    line.clear();
    summary(failures)
}

/// Why nothing may be happening at all.
async fn hint(client: &Client) -> String {
    match client.get(ENGINE_LEASE, &GetOptions::linearizable()).await {
        Err(error) if error.is_not_found() => "; no agent decides where units run: is any running?".into(),
        _ => String::new(),
    }
}

/// The line on a terminal that tells what is being waited for.
struct Line {
    on: bool,
    shown: bool,
}

impl Line {
    fn new() -> Self {
        Self { on: std::io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, open: &BTreeMap<UnitName, (Goal, String)>) {
        let Some((unit, (_, at))) = open.iter().next().filter(|_| self.on) else { return };
        let more = if open.len() > 1 { format!(" (and {} more)", open.len() - 1) } else { String::new() };
        self.clear();
        // A terminal that cannot be written to is no reason to give up.
        let _ = write!(std::io::stderr(), "{unit}: {at}{more} …");
        self.shown = true;
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.shown = false;
        }
    }
}
