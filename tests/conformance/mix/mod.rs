//! Long mixes of random requests: whatever the tables forgot. etcd is the model: both get the same, and whole answers
//! are compared.
//!
//! `MUSTER_TEST_SEED` repeats a mix, `MUSTER_TEST_TIMES` makes each so many times as long, `MUSTER_TEST_REQUESTS` says
//! exactly how long. On a difference the test prints
//! both, and the shortest list of requests it can find that leads there.

mod auth;
mod broken;
mod dice;
mod expiry;
mod forms;
mod keys;
mod members;
mod pages;
mod paths;
mod play;
mod pool;
mod request;
mod watches;

use std::time::{SystemTime, UNIX_EPOCH};

use super::Pair;
use dice::Dice;
use play::{Harm, describe, play, shrink};
use request::Request;

/// One thing to do on both servers.
#[derive(Clone, Debug)]
enum Step {
    Ask(Request),
    /// Opens a watch of the key and query given here; it stays open until it has ended or is in the way.
    Watch(String),
}

/// A kind of mix: its test's name, how many steps it has when nobody says, which part of its requests must succeed at
/// least (in percent, so that it does not test refusals alone), and where the next steps come from.
struct Mix {
    name: &'static str,
    steps: usize,
    succeed: usize,
    more: fn(&mut Dice) -> Vec<Step>,
}

impl Mix {
    fn plan(&self, seed: u64, count: usize) -> Vec<Step> {
        let mut dice = Dice::new(seed);
        let mut steps = Vec::new();
        while steps.len() < count {
            steps.extend((self.more)(&mut dice));
        }
        steps.truncate(count);
        steps
    }

    /// Plays it with the seed and the length that the environment says.
    fn run(&self) {
        let seed = seed();
        let count = length(self.steps);
        println!("MUSTER_TEST_SEED={seed} MUSTER_TEST_REQUESTS={count}");
        let steps = self.plan(seed, count);
        let Some(mut pair) = Pair::start() else { return };
        let began = std::time::Instant::now();
        let played = play(&mut pair, &steps, None);
        println!(
            "{} of {count} succeeded, {} watches, {:?}",
            played.succeeded,
            played.watches,
            began.elapsed()
        );
        if let Some(first) = played.differences.first() {
            let all: Vec<String> = played.differences.iter().map(ToString::to_string).collect();
            let last = played.differences.iter().map(|d| d.step).min().unwrap_or(first.step) + 1;
            let short = shrink(&steps[..(last + if played.watches > 0 { 100 } else { 0 }).min(steps.len())]);
            let short: Vec<String> = short.iter().map(|step| describe(step, 0)).collect();
            panic!(
                "{} differences:\n{}\n\nthe shortest way found, with indexes counted from 0:\n  {}\n\nto repeat it:\n  \
                 MUSTER_TEST_SEED={seed} MUSTER_TEST_REQUESTS={last} cargo nextest run --test store_conformance {}\n",
                all.len(),
                all.join("\n"),
                short.join("\n  "),
                self.name,
            );
        }
        if count >= self.steps {
            assert!(
                played.succeeded * 100 >= count * self.succeed,
                "only {} of {count} succeeded",
                played.succeeded
            );
        }
    }
}

/// The seed that the environment says, or a new one.
fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    number("MUSTER_TEST_SEED").unwrap_or_else(now)
}

/// How many requests the environment asks for where `usual` are usual.
fn length(usual: usize) -> usize {
    let times = number("MUSTER_TEST_TIMES").unwrap_or(1) as usize;
    number("MUSTER_TEST_REQUESTS").map_or(usual * times, |count| count as usize)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a number was expected")))
}

fn asked(requests: Vec<Request>) -> Vec<Step> {
    requests.into_iter().map(Step::Ask).collect()
}

#[test]
fn mix_of_reads_and_writes() {
    let more = |dice: &mut Dice| asked(keys::more(dice));
    Mix { name: "mix_of_reads_and_writes", steps: 3000, succeed: 40, more }.run();
}

#[test]
fn mix_of_odd_forms() {
    let more = |dice: &mut Dice| asked(forms::more(dice));
    Mix { name: "mix_of_odd_forms", steps: 1500, succeed: 10, more }.run();
}

#[test]
fn mix_of_odd_paths() {
    let more = |dice: &mut Dice| asked(paths::more(dice));
    Mix { name: "mix_of_odd_paths", steps: 1000, succeed: 20, more }.run();
}

#[test]
fn mix_of_watches() {
    Mix { name: "mix_of_watches", steps: 1500, succeed: 30, more: watches::more }.run();
}

#[test]
fn mix_of_pages() {
    let more = |dice: &mut Dice| asked(pages::more(dice));
    Mix { name: "mix_of_pages", steps: 500, succeed: 5, more }.run();
}

#[test]
fn mix_of_users_and_roles() {
    let more = |dice: &mut Dice| asked(auth::more(dice));
    Mix { name: "mix_of_users_and_roles", steps: 400, succeed: 15, more }.run();
}

#[test]
fn mix_of_members_requests() {
    let more = |dice: &mut Dice| asked(members::more(dice));
    Mix { name: "mix_of_members_requests", steps: 500, succeed: 3, more }.run();
}

#[test]
fn a_damaged_answer_in_a_mix_is_noticed_and_named() {
    let Some(mut pair) = Pair::start() else { return };
    let mut dice = Dice::new(1);
    let write = Step::Ask(Request::new("PUT", "~/damaged?ttl=1000").form("value=1"));
    let damages: [(&str, Harm); 9] = [
        ("another status", &|answer| answer.status += 1),
        ("a header that is gone", &|answer| drop(answer.headers.remove(0))),
        ("a header in other letters", &|answer| answer.headers[0].0.make_ascii_lowercase()),
        ("a header too many", &|answer| answer.headers.push(("X-Other".into(), "1".into()))),
        ("an index that is a step ahead", &|answer| {
            let index = answer.index() + 1;
            let header = answer.headers.iter_mut().find(|(name, _)| name == "X-Etcd-Index");
            header.expect("an index").1 = index.to_string();
        }),
        ("a byte", &|answer| answer.body[3] ^= 1),
        ("a byte that is gone", &|answer| answer.body.truncate(answer.body.len() - 1)),
        ("another lifetime", &|answer| {
            let text = answer.text().replace("\"ttl\":1000", "\"ttl\":1100");
            answer.body = text.into_bytes();
        }),
        ("no body", &|answer| answer.body.clear()),
    ];
    for (what, damage) in damages {
        let mut steps: Vec<Step> = asked((0..5).flat_map(|_| keys::more(&mut dice)).collect());
        steps.push(Step::Ask(Request::new("DELETE", "~/damaged?recursive=true")));
        let at = steps.len();
        steps.push(write.clone());
        steps.extend(asked(keys::more(&mut dice)));
        assert!(play(&mut pair, &steps, None).differences.is_empty());
        let found = play(&mut pair, &steps, Some((at, damage))).differences;
        assert_eq!(
            found.iter().map(|difference| difference.step).collect::<Vec<_>>(),
            [at],
            "{what}: {found:?}"
        );
    }
}
