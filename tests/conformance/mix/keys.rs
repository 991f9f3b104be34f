//! Reads and writes over a few keys, so that each meets what others left there; about half of them succeed.

use super::dice::Dice;
use super::request::Request;

const KEYS: &str = "/a /a /a/ /b /b /d /d /d/a /d/a /d/b /d/b /d/e /d/e/f /d/e/f/g /d/_h /d/_h/x /a/x /_r /q /q /q/{o} \
                    /q/{o-1} /q/{o-2} /.a /a%20b / /d%2Fa";

const VALUES: &str = "1 1 1 2 2 3 %3C%FF a+b %E2%80%A8";

/// The next few requests.
pub fn more(dice: &mut Dice) -> Vec<Request> {
    let key = dice.word(KEYS);
    match dice.roll(24) {
        0..=5 => vec![write(dice, key, &[])],
        6 => vec![write(dice, key, &["ttl=1000"])],
        7 => vec![write(dice, key, &["prevExist=false"])],
        8 => vec![write(dice, key, &["prevExist=true"])],
        9 => directory(dice, key),
        10 | 11 => swap(dice, key),
        12 => refresh(dice, key),
        13 => vec![ask(dice, "POST", key, &["value=1"])],
        14 => vec![ask(dice, "POST", "/q", &["value=2", "ttl=2000"])],
        15 | 16 => vec![delete(dice, key)],
        17 => vec![Request::new("DELETE", &format!("~{}?recursive=true", dice.word("/a /d /q /b /d/e")))],
        18 | 19 => vec![read(dice, key)],
        _ => vec![anything(dice, key)],
    }
}

/// A request whose parameters go into the query or the form, as it comes.
fn ask(dice: &mut Dice, method: &str, key: &str, parameters: &[&str]) -> Request {
    let (mut query, mut form) = (Vec::new(), Vec::new());
    for parameter in parameters {
        if !matches!(method, "PUT" | "POST") || dice.one_in(2) { &mut query } else { &mut form }
            .push(*parameter);
    }
    let mark = if query.is_empty() { "" } else { "?" };
    let request = Request::new(method, &format!("~{key}{mark}{}", query.join("&")));
    if form.is_empty() { request } else { request.form(&form.join("&")) }
}

fn write(dice: &mut Dice, key: &str, more: &[&str]) -> Request {
    let value = format!("value={}", dice.word(VALUES));
    let mut parameters = vec![value.as_str()];
    parameters.extend(more);
    if dice.one_in(8) {
        parameters.push("noValueOnSuccess=true");
    }
    ask(dice, "PUT", key, &parameters)
}

fn directory(dice: &mut Dice, key: &str) -> Vec<Request> {
    let more = dice.pick(&["prevExist=false", "ttl=3000", "prevExist=true", "x=y"]);
    vec![ask(dice, "PUT", key, &["dir=true", more])]
}

/// A write and a swap or removal that knows, or nearly knows, what it wrote.
fn swap(dice: &mut Dice, key: &str) -> Vec<Request> {
    let value = dice.word(VALUES);
    let first = ask(dice, "PUT", key, &[&format!("value={value}")]);
    let by_value = format!("prevValue={}", if dice.one_in(4) { "other" } else { value });
    let by_index = format!("prevIndex={}", dice.word("{i} {i} {i} {i} {i-1} {i+1} 1"));
    let method = dice.pick(&["PUT", "PUT", "DELETE"]);
    let new = format!("value={}", dice.word(VALUES));
    let mut parameters = if method == "PUT" { vec![new.as_str()] } else { Vec::new() };
    match dice.roll(3) {
        0 => parameters.push(&by_value),
        1 => parameters.push(&by_index),
        _ => parameters.extend([by_value.as_str(), by_index.as_str()]),
    }
    match dice.roll(6) {
        0 => parameters.push("prevExist=true"),
        1 => parameters.push("ttl=1000"),
        2 => parameters.push("noValueOnSuccess=true"),
        _ => {}
    }
    vec![first, ask(dice, method, key, &parameters)]
}

fn refresh(dice: &mut Dice, key: &str) -> Vec<Request> {
    let first = write(dice, key, &["ttl=1000"]);
    let condition =
        dice.pick(&["x=y", "prevExist=true", "prevExist=false", "prevIndex={i}", "prevValue=1", "dir=true"]);
    let second = ask(dice, "PUT", key, &["refresh=true", "ttl=2000", condition]);
    vec![first, second, Request::new("GET", &format!("~{key}"))]
}

fn delete(dice: &mut Dice, key: &str) -> Request {
    let how = dice.pick(&["", "?dir=true", "?recursive=true", "?prevValue=1", "?prevIndex={i}"]);
    Request::new("DELETE", &format!("~{key}{how}"))
}

fn read(dice: &mut Dice, key: &str) -> Request {
    let method = dice.word("GET GET GET HEAD");
    let how = dice.word(
        "? ?sorted=true ?recursive=true ?recursive=true&sorted=true ?quorum=true ?quorum=false ?stream=true",
    );
    Request::new(method, &format!("~{key}{how}"))
}

/// Any method with any parameters, most of them good in themselves.
fn anything(dice: &mut Dice, key: &str) -> Request {
    let method = dice.word("PUT PUT PUT PUT POST DELETE DELETE GET GET HEAD");
    let mut parameters = Vec::new();
    for _ in 0..dice.roll(5) {
        parameters.push(match dice.roll(12) {
            0 => format!("dir={}", dice.word("true true false")),
            1 => format!("recursive={}", dice.word("true true false")),
            2 => format!("ttl={}", dice.pick(&["1000", "2000", "", "x"])),
            3 | 4 => format!("prevExist={}", dice.word("true false")),
            5 => format!("prevValue={}", dice.pick(&["1", "2", "3", ""])),
            6 => format!("prevIndex={}", dice.word("{i} {i} {i-1} {i-2} 0 1")),
            7 => "refresh=true&ttl=1000".into(),
            8 => "noValueOnSuccess=true".into(),
            9 => "quorum=true".into(),
            10 => format!("waitIndex={}", dice.word("0 1 {i} {i+1}")),
            _ => format!("value={}", dice.word(VALUES)),
        });
    }
    let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
    ask(dice, method, key, &parameters)
}
