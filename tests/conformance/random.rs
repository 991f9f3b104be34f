//! A long mix of requests over a few keys: whatever the tables forgot.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Pair;

/// Requests in one mix.
const REQUESTS: usize = 600;

/// A xorshift generator: the same seed gives the same requests.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.roll(from.len() as u64)).expect("a small number")]
    }
}

const KEYS: [&str; 14] =
    ["", "/", "/a", "/a/", "/b", "/d", "/d/a", "/d/b", "/d/e", "/d/e/f", "/d/_h", "/d/_h/x", "/a/x", "/_r"];

const VALUES: [&str; 6] = ["", "1", "2", "%3C%FF", "3", "1"];

/// A write or read with up to four parameters, in the query or the body.
fn request(dice: &mut Dice) -> String {
    let method = dice.pick(&["PUT", "PUT", "PUT", "PUT", "POST", "DELETE", "DELETE", "GET", "GET", "HEAD"]);
    let mut query = Vec::new();
    let mut body = Vec::new();
    for _ in 0..dice.roll(5) {
        let parameter = match dice.roll(12) {
            0 => format!("dir={}", dice.pick(&["true", "true", "false"])),
            1 => format!("recursive={}", dice.pick(&["true", "true", "false"])),
            2 => format!("ttl={}", dice.pick(&["1000", "2000", "", "x"])),
            3 | 4 => format!("prevExist={}", dice.pick(&["true", "false"])),
            5 => format!("prevValue={}", dice.pick(&VALUES)),
            6 => format!("prevIndex={}", dice.pick(&["{i}", "{i}", "{i-1}", "{i-2}", "0", "1"])),
            7 => "refresh=true&ttl=1000".into(),
            8 => "noValueOnSuccess=true".into(),
            9 => "quorum=true".into(),
            _ => format!("value={}", dice.pick(&VALUES)),
        };
        if dice.roll(2) == 0 { query.push(parameter) } else { body.push(parameter) }
    }
    if matches!(method, "GET" | "HEAD") {
        query.push("sorted=true".into());
    }
    let mark = if query.is_empty() { "" } else { "?" };
    let form = if body.is_empty() { String::new() } else { format!(" {}", body.join("&")) };
    format!("{method} ~{}{mark}{}{form}", dice.pick(&KEYS), query.join("&"))
}

#[test]
fn a_mix_of_requests_gets_the_same_answers() {
    let given = std::env::var("MUSTER_TEST_SEED").ok().map(|text| text.parse().expect("a seed is a number"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let seed = given.unwrap_or(u64::try_from(now).expect("before 2554")) | 1;
    println!("seed: MUSTER_TEST_SEED={seed}");
    let Some(mut pair) = Pair::start() else { return };
    let mut dice = Dice(seed);
    let first = pair.index + 1;
    for count in 1..=REQUESTS {
        pair.ask(&request(&mut dice));
        if count % 20 == 0 {
            pair.ask("GET ~/?recursive=true&sorted=true");
        }
    }
    watch_the_past(&mut pair, &mut dice, first);
    pair.finish();
}

/// The first change of random keys since random indexes. What is hidden is left out: history shows it on etcd only.
fn watch_the_past(pair: &mut Pair, dice: &mut Dice, first: u64) {
    for _ in 0..100 {
        let since = first + dice.roll(pair.index + 1 - first);
        let key = dice.pick(&["/a", "/b", "/d/a", "/d/b", "/d/e", "/d/e/f", "/a/x"]);
        let recursive = dice.roll(2) == 0;
        let watch = pair.watch(&format!("{key}?wait=true&recursive={recursive}&waitIndex={since}"));
        // In case nothing has happened there since.
        pair.run(&["DELETE ~/a?recursive=true", "DELETE ~/b?recursive=true", "DELETE ~/d?recursive=true"]);
        pair.ask(&format!("PUT ~{key} value=end"));
        pair.hear_last(watch);
    }
}
