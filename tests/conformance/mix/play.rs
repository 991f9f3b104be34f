//! Playing steps on both servers, and the shortest way to a difference.

use std::fmt;
use std::time::{Duration, Instant};

use super::Step;
use super::pool::{Listener, let_things_come};
use crate::common::http::Answer;
use crate::conformance::Pair;
use crate::conformance::pair::{Reply, fill, shorten};
use crate::conformance::statistics::Counted;

/// Watches that may be open at a time; then all are looked at and dropped.
const OPEN_WATCHES: usize = 25;

/// Between two looks at the open watches, in steps.
const LOOK_EVERY: usize = 10;

/// After so many differences the rest is left alone.
const MOST_DIFFERENCES: usize = 10;

/// How long to look for a shorter way.
const SHRINK_LIMIT: Duration = Duration::from_secs(45);

/// Something that was not the same.
#[derive(Debug)]
pub struct Difference {
    /// Which step, from 0.
    pub step: usize,
    what: String,
    why: String,
    ours: String,
    theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, what, why, ours, theirs } = self;
        write!(f, "request {}: {what}\n  {why}\n  ours   {ours}\n  etcd's {theirs}", step + 1)
    }
}

/// What came of playing.
#[derive(Debug, Default)]
pub struct Played {
    pub differences: Vec<Difference>,
    /// How many answers were good ones.
    pub succeeded: usize,
    /// Changes that watches told of.
    pub watches: usize,
}

/// What goes wrong with an answer.
pub type Harm<'a> = &'a dyn Fn(&mut Answer);

/// Damages an answer of ours: which step, and how.
pub type Damage<'a> = Option<(usize, Harm<'a>)>;

/// Plays the steps one after the other.
pub fn play(pair: &mut Pair, steps: &[Step], damage: Damage) -> Played {
    let counted = Counted::now(pair);
    let mut player =
        Player { pair, counted, watched: false, listeners: Vec::new(), played: Played::default() };
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Ask(_) => player.ask(number, step, damage),
            Step::Watch(target) => {
                let listener = Listener::open(player.pair, number, target);
                player.listeners.push(listener);
                player.watched = true;
                player.played.watches += 1;
            }
        }
        if number % LOOK_EVERY == 0 {
            player.look();
            player.count(number);
        }
        if player.listeners.len() > OPEN_WATCHES {
            player.finish_watches();
        }
        if player.played.differences.len() >= MOST_DIFFERENCES {
            break;
        }
    }
    player.finish_watches();
    player.count(steps.len().saturating_sub(1));
    player.played
}

struct Player<'a> {
    pair: &'a mut Pair,
    counted: Counted,
    /// A watch was opened since: when it counts is the server's affair.
    watched: bool,
    listeners: Vec<Listener>,
    played: Played,
}

impl Player<'_> {
    fn ask(&mut self, number: usize, step: &Step, damage: Damage) {
        let Step::Ask(request) = step else { return };
        let index = self.pair.index;
        let wires = self.pair.names().each_ref().map(|names| request.wire(index, names));
        let mut replies = self.pair.trade(&wires);
        if let (Some((at, how)), Ok(ours)) = (damage, &mut replies[0])
            && at == number
        {
            how(ours);
        }
        if replies[1].as_ref().is_ok_and(|answer| answer.status < 300) {
            self.played.succeeded += 1;
        }
        if let Some(why) = self.pair.judge(&replies, asks_for_order(&request.target)) {
            let [ours, theirs] = replies.map(|reply| show(&reply));
            let what = describe(step, index);
            self.played.differences.push(Difference { step: number, what, why, ours, theirs });
            self.pair.level();
            self.counted = Counted::now(self.pair);
        }
    }

    /// Compares what both have counted since the last look.
    fn count(&mut self, step: usize) {
        let before = std::mem::replace(&mut self.counted, Counted::now(self.pair));
        let [ours, theirs] = self.counted.since(&before);
        if !std::mem::take(&mut self.watched) && ours != theirs {
            let what = format!("what /v2/stats/store has counted in the last {LOOK_EVERY} requests");
            let [ours, theirs] = [ours, theirs].map(|steps| format!("{steps:?}"));
            let why = "another count".into();
            self.played.differences.push(Difference { step, what, why, ours, theirs });
        }
    }

    /// Compares what the watches have heard so far, and drops those that are over or differ.
    fn look(&mut self) {
        for mut listener in std::mem::take(&mut self.listeners) {
            match listener.check() {
                Ok(true) => {}
                Ok(false) => self.listeners.push(listener),
                Err((why, ours, theirs)) => {
                    let what = format!("GET {}", listener.target);
                    self.played.differences.push(Difference { step: listener.step, what, why, ours, theirs });
                }
            }
        }
    }

    fn finish_watches(&mut self) {
        if !self.listeners.is_empty() {
            let_things_come();
            self.look();
            self.listeners.clear();
        }
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Ok(answer) => format!("{} {:?}\n         {}", answer.status, answer.headers, shorten(&answer.body)),
        Err(error) => format!("({error})"),
    }
}

/// A step as a line.
pub fn describe(step: &Step, index: u64) -> String {
    match step {
        Step::Ask(request) => {
            let headers: String =
                request.headers.iter().map(|(name, value)| format!(" [{name}: {value}]")).collect();
            let body = match &request.body {
                super::request::Body::None => String::new(),
                body => shorten(format!(" {body}").as_bytes()),
            };
            format!("{} {}{headers}{body}", request.method, fill(&request.target, index))
        }
        Step::Watch(target) => format!("GET /v2/keys{} (watch)", fill(target, index)),
    }
}

/// Whether a listing is to be in order: the first `sorted` counts.
fn asks_for_order(target: &str) -> bool {
    let fields = target.split_once('?').map_or("", |(_, query)| query).split('&');
    let value = fields.filter_map(|field| field.strip_prefix("sorted=")).next();
    value.is_some_and(|value| ["1", "t", "T", "TRUE", "true", "True"].contains(&value))
}

/// A short list of steps that still ends in a difference: first the shortest end of `steps` that does, then without
/// whatever can be left out of that. Each try runs on new servers.
pub fn shrink(steps: &[Step]) -> Vec<Step> {
    let until = Instant::now() + SHRINK_LIMIT;
    let differs = |steps: &[Step]| {
        let mut pair = Pair::start().expect("etcd was there before");
        !play(&mut pair, steps, None).differences.is_empty()
    };
    let mut shortest = steps.to_vec();
    let mut length = 1;
    while length < steps.len() && Instant::now() < until {
        let end = &steps[steps.len() - length..];
        if differs(end) {
            shortest = end.to_vec();
            break;
        }
        length *= 2;
    }
    let mut part = shortest.len().div_ceil(2);
    while part > 0 && shortest.len() > 1 {
        let mut at = 0;
        while at < shortest.len() {
            if Instant::now() > until {
                return shortest;
            }
            let end = (at + part).min(shortest.len());
            let fewer = [&shortest[..at], &shortest[end..]].concat();
            if differs(&fewer) { shortest = fewer } else { at = end }
        }
        part /= 2;
    }
    shortest
}
