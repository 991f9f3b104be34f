//! What is not a key: every page with every method, and pages that do not exist.

use super::dice::Dice;
use super::request::{Body, Request};

const PAGES: &str = "\
    /v2/members /v2/members/ /v2/members/leader /v2/members/leader/ /v2/members/{member} /v2/members/x \
    /v2/members/1/2 /v2/membersX /v2/machines /v2/machines/ /v2/stats/self /v2/stats/self/ /v2/stats/leader /v2/stats/leader /v2/stats /v2/stats/x \
    /version /version/ /versionX /health /health/ / /v2 /v2/ /v2/leader /v2/peers /v2/keysX /favicon.ico /v1/keys/a \
    /metrics /metrics /metrics/ /metricsX /debug/vars /debug/vars /debug/vars/ /debug /debug/ /debug/var \
    /config/local/log /config/local/log /config/local/log /config/local/log/ /config /config/local /config/local/ \
    //version /./health /v2/../version /%76ersion /version%2F /VERSION *";

/// The next few requests.
pub fn more(dice: &mut Dice) -> Vec<Request> {
    let page = dice.word(PAGES);
    let query = dice.pick(&["", "", "", "?", "?x=y", "?%zz", "?a;b", "?recursive=x"]);
    let writes = page.starts_with("/v2/members");
    // Members are changed by a mix of their own.
    let method = if writes { dice.word("GET GET GET OPTIONS") } else { METHODS[dice.roll(METHODS.len())] };
    let page = if page == "*" && method != "OPTIONS" { "/" } else { page };
    let mut request = Request::new(method, &if page == "*" { page.into() } else { format!("{page}{query}") });
    if dice.one_in(5) {
        request = request.header("Origin", "http://elsewhere").header("Access-Control-Request-Method", "PUT");
    }
    if page == "/config/local/log" && dice.one_in(2) {
        return vec![level(dice, query)];
    }
    match dice.roll(8) {
        0 => request = request.form("value=1"),
        1 => request = request.json("{}"),
        2 => request = request.typed("text/plain", Body::Chunked(b"some text".to_vec(), 4)),
        _ => {}
    }
    vec![request]
}

/// Sets the level of the log, or nearly.
fn level(dice: &mut Dice, query: &str) -> Request {
    let method = dice.word("PUT PUT PUT PUT POST GET");
    let body = dice.pick(LEVELS);
    let request = Request::new(method, &format!("/config/local/log{query}"));
    match dice.roll(4) {
        0 => request.form(body),
        1 => request.typed("text/plain", Body::Chunked(body.into(), 3)),
        2 => request.typed("application/json", Body::Announced(body.into())),
        _ => request.json(body),
    }
}

const LEVELS: &[&str] = &[
    r#"{"Level":"INFO"}"#,
    r#"{"Level":"INFO"}"#,
    r#"{"level":"WARNING"}"#,
    r#"{"LEVEL":"N"}"#,
    r#"{"Level":"ERROR"} {"#,
    r#"{"Level":"info"}"#,
    r#"{"Level":"LOUD"}"#,
    r#"{"Level":" INFO"}"#,
    r#"{"Level":""}"#,
    r#"{"Level":null,"x":{"y":[]}}"#,
    r#"{"Level":1}"#,
    r#"{"Level":["INFO"]}"#,
    r#"{"Level":"INFO""#,
    r#"["INFO"]"#,
    r#""INFO""#,
    "",
    "x",
    "{}",
];

const METHODS: [&str; 12] =
    ["GET", "GET", "GET", "GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"];
