//! Parameters and bodies that are odd, broken, missing, or there twice.

use super::dice::Dice;
use super::request::{Body, Request};

const KEYS: &str = "/a /b /d /d/x /d/_h /q / /none/x";

const BOOLEANS: &[&str] = &[
    "true", "true", "true", "false", "1", "0", "t", "T", "TRUE", "True", "f", "F", "FALSE", "False", "",
    "tRUE", "yes", "2", "+true", "true+", "%74rue", "%00", "on", "-1",
];

const NUMBERS: &[&str] = &[
    "{i}",
    "{i}",
    "{i-1}",
    "1",
    "0",
    "007",
    "",
    "-1",
    "+1",
    "%2B1",
    "1.5",
    "1e3",
    "0x10",
    "1_000",
    "x",
    "%31",
    "+",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "\u{661}",
    "1%00",
];

/// None that runs out while the mix lasts.
const TTLS: &[&str] = &[
    "1000",
    "2000",
    "1000",
    "01000",
    "7000000000",
    "",
    "x",
    "-1",
    "1.5",
    "5s",
    "+1000",
    "1000+",
    "1e3",
    "0x3e8",
    "18446744073709551616",
    "%31000",
];

const VALUES: &[&str] = &[
    "1",
    "2",
    "",
    "a+b",
    "%3C%3E%26",
    "%00",
    "%FF%FE",
    "%C3%A4",
    "ä",
    "a=b",
    "==",
    "%E2%80%A8",
    "%",
    "%2",
    "%zz",
    "%%",
    "a;b",
    "%3B",
    "%0A%0D%09%08",
    "%F0%9F%98%80",
    "%ED%A0%80",
    "\"x\"",
    "\\",
    "/",
    "%2F..%2F",
    "\u{7f}",
];

/// What a stray separator or an unknown name does.
const STRAYS: &[&str] = &[
    "&",
    "=",
    "=x",
    "&&",
    "x",
    "foo=bar",
    "Value=1",
    "VALUE=2",
    "TTL=5",
    "consistent=true",
    "pretty",
    "%zz=1",
    "%=1",
    "v%61lue=e",
    "a;b=1",
    ";",
    "?",
    "#",
    "value[]=1",
    "value%20=1",
    "+value=1",
    "value+=1",
];

const TYPES: &[&str] = &[
    "application/x-www-form-urlencoded; charset=utf-8",
    "Application/X-WWW-Form-Urlencoded",
    "application/x-www-form-urlencoded;",
    "application/x-www-form-urlencoded; charset",
    "application/x-www-form-urlencoded; a=b; a=c",
    "application/x-www-form-urlencoded, text/plain",
    "application/x-www-form-urlencoded; a*=utf-8''x",
    "application/x-www-form-urlencoded; a*0=x; a*1=y",
    "application/json",
    "text/plain",
    "text",
    "multipart/form-data; boundary=x",
    "",
    ";",
    "a b/c",
    "a/",
    "/b",
    "a/b/c",
    "*/*",
];

/// The next few requests.
pub fn more(dice: &mut Dice) -> Vec<Request> {
    let method = dice.word("PUT PUT PUT PUT POST POST GET GET DELETE DELETE HEAD PATCH");
    let key = dice.word(KEYS);
    let mut query = parameters(dice, method, 3);
    let form = parameters(dice, method, 4);
    let clean_up = dice.one_in(25);
    if dice.one_in(12) {
        query += dice.pick(STRAYS);
    }
    // What cannot stand in a request line is another matter.
    let query = query.replace(['"', '\u{7f}', '#'], "");
    let mark = if query.is_empty() && !dice.one_in(10) { "" } else { "?" };
    let request = Request::new(method, &format!("~{key}{mark}{query}"));
    let request = if dice.one_in(4) { request } else { with_body(dice, request, form) };
    if clean_up { vec![request, Request::new("DELETE", "~/d?recursive=true")] } else { vec![request] }
}

fn with_body(dice: &mut Dice, request: Request, mut form: String) -> Request {
    if dice.one_in(40) {
        form = format!("value={}", "x".repeat(1 << (10 + dice.roll(9))));
    }
    let body = form.into_bytes();
    let body = match dice.roll(8) {
        0 | 1 => Body::Chunked(body, 1 + dice.roll(20_000)),
        2 => Body::Announced(body),
        _ => Body::Sized(body),
    };
    match dice.roll(8) {
        0 => {
            let kind = dice.pick(TYPES);
            request.typed(kind, body)
        }
        1 if dice.one_in(4) => Request { body, ..request },
        _ => request.typed("application/x-www-form-urlencoded", body),
    }
}

fn parameters(dice: &mut Dice, method: &str, most: usize) -> String {
    let mut all = Vec::new();
    for _ in 0..dice.roll(most + 1) {
        let name = dice.word(
            "value value value ttl dir prevExist prevValue prevIndex refresh noValueOnSuccess recursive sorted quorum wait \
             waitIndex stream",
        );
        let value = match name {
            "value" | "prevValue" => dice.pick(VALUES),
            "ttl" => dice.pick(TTLS),
            "prevIndex" | "waitIndex" => dice.pick(NUMBERS),
            // One that waits does not answer: watches are a mix of their own.
            "wait" if method == "GET" => dice.pick(&["false", "0", "x", ""]),
            _ => dice.pick(BOOLEANS),
        };
        all.push(match dice.roll(30) {
            0 => name.to_string(),
            1 => dice.pick(STRAYS).to_string(),
            _ => format!("{name}={value}"),
        });
    }
    all.join(if dice.one_in(30) { "&&" } else { "&" })
}
