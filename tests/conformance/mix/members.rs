//! Requests to change the members that must be refused, or change nothing: the one member stays the one member.

use super::dice::Dice;
use super::request::{Body, Request};

const IDS: &str = "{member} {member} 1 abc 0 0001 xyz 12345678901234567 -1 1g ABC %20 a/b leader";

/// None that would be taken: another member would take the quorum away.
const URLS: &[&str] = &[
    "",
    "x",
    "http://",
    "http://h",
    "http://h:1/path",
    "ftp://h:1",
    "h:1",
    ":1",
    "http://h:x",
    "http://[::1",
    "{peer}",
    "{peer}/",
    "//h:1",
    "http://a b:1",
    "http://%zz:1",
    "https://h",
];

/// What is no list of URLs.
const BODIES: &[&str] = &[
    "",
    "{",
    "}",
    "x",
    "[]",
    "null",
    "1",
    "{}",
    "{\"peerURLs\":null}",
    "{\"peerURLs\":[]}",
    "{\"PeerURLs\":[]}",
    "{\"peerURLs\":[\"\"]}",
    "{\"other\":1}",
    "true",
    "\"x\"",
    " ",
];

/// The next few requests.
pub fn more(dice: &mut Dice) -> Vec<Request> {
    let id = dice.word(IDS);
    let item = format!("/v2/members/{id}");
    let own = id == "{member}";
    vec![match dice.roll(10) {
        0..=2 => {
            let request = Request::new("POST", dice.word("/v2/members /v2/members /v2/members/"));
            with_body(dice, request, "{peer}")
        }
        // A new URL for the member that is there would be taken.
        3..=5 => {
            with_body(dice, Request::new("PUT", &item), if own { "{peer}" } else { "http://127.0.0.1:1" })
        }
        6 | 7 if !own => Request::new("DELETE", &item),
        8 => Request::new(dice.word("PATCH HEAD OPTIONS TRACE"), &item),
        _ => Request::new(
            dice.word("GET GET PUT DELETE HEAD PATCH"),
            dice.word("/v2/members /v2/members/ /v2/members/leader"),
        ),
    }]
}

/// A request with a body that is wrong, or names only `url`.
fn with_body(dice: &mut Dice, request: Request, url: &str) -> Request {
    let body = match dice.roll(4) {
        0 => dice.pick(BODIES).to_string(),
        1 => format!("{{\"peerURLs\":[\"{url}\"]}}"),
        2 => format!("{{\"peerURLs\":[\"{}\"]}}", dice.pick(URLS)),
        _ => format!("{{\"peerURLs\":[\"{url}\",\"{}\"]}}", dice.pick(URLS)),
    };
    let kind = dice.pick(&[
        "application/json",
        "application/json",
        "application/json",
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
    ]);
    if dice.one_in(12) {
        Request { body: Body::Sized(body.into()), ..request }
    } else {
        request.typed(kind, Body::Sized(body.into()))
    }
}
