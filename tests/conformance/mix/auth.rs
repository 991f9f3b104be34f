//! Users, roles and the switch, and requests for keys by people who may and may not.

use super::dice::Dice;
use super::request::Request;

const USERS: &str = "root u u v v w nobody";
const ROLES: &str = "root guest r r s s none";
const PATTERNS: &str = "/* /x /x/* /x* /y /y/* /x/a / * x";
const KEYS: &str = "/x /x/ /x/a /x/b /y /y/a /z / /xy /_h";

/// Who asks: root mostly, others, nobody, and what is no name at all.
const WHO: [Option<&str>; 14] = [
    Some("Basic cm9vdDpw"), // root:p
    Some("Basic cm9vdDpw"),
    Some("Basic cm9vdDpw"),
    Some("Basic cm9vdDpw"),
    Some("Basic cm9vdDpw"),
    Some("Basic dTpw"),         // u:p
    Some("Basic dTpx"),         // u:q
    Some("Basic djpw"),         // v:p
    Some("Basic bm9ib2R5OnA="), // nobody:p
    Some("Basic !!!"),
    Some("Bearer x"),
    Some("Basic cm9vdDp3cm9uZw=="), // root:wrong
    None,
    None,
];

/// The next few requests. Hashing a password takes either server a while, so there are not many.
pub fn more(dice: &mut Dice) -> Vec<Request> {
    let root = |request: Request| request.header("Authorization", WHO[0].expect("root"));
    match dice.roll(40) {
        // Set up enough for the rest to mean something.
        0 | 1 => vec![
            Request::new("PUT", "/v2/auth/users/root").json(r#"{"user":"root","password":"p"}"#),
            Request::new("PUT", "/v2/auth/roles/r")
                .json(r#"{"role":"r","permissions":{"kv":{"read":["/x/*"],"write":["/x/*","/y"]}}}"#),
            Request::new("PUT", "/v2/auth/users/u").json(r#"{"user":"u","password":"p","roles":["r"]}"#),
        ],
        2 | 3 => vec![Request::new("PUT", "/v2/auth/enable")],
        4 => vec![root(Request::new("DELETE", "/v2/auth/enable"))],
        5 => vec![root(Request::new("PUT", "/v2/auth/roles/guest").json(&role(dice, "guest")))],
        6..=11 => vec![asked_by(dice, user)],
        12..=17 => vec![asked_by(dice, role_request)],
        18..=23 => vec![asked_by(dice, read)],
        24 => vec![asked_by(dice, odd)],
        _ => vec![asked_by(dice, keys)],
    }
}

fn asked_by(dice: &mut Dice, what: fn(&mut Dice) -> Request) -> Request {
    let request = what(dice);
    match WHO[dice.roll(WHO.len())] {
        Some(who) => request.header("Authorization", who),
        None => request,
    }
}

fn user(dice: &mut Dice) -> Request {
    let name = dice.word(USERS);
    let target = format!("/v2/auth/users/{name}");
    if dice.one_in(6) {
        return Request::new("DELETE", &target);
    }
    let inside = if dice.one_in(12) { dice.word(USERS) } else { name };
    let mut fields = vec![format!("\"user\":\"{inside}\"")];
    if dice.one_in(2) {
        fields.push(format!("\"password\":\"{}\"", dice.word("p p p q")));
    }
    for list in ["roles", "grant", "revoke"] {
        if dice.one_in(3) {
            fields.push(format!("\"{list}\":{}", names(dice, ROLES)));
        }
    }
    Request::new("PUT", &target).json(&format!("{{{}}}", fields.join(",")))
}

fn role_request(dice: &mut Dice) -> Request {
    let name = dice.word(ROLES);
    let target = format!("/v2/auth/roles/{name}");
    if dice.one_in(6) {
        Request::new("DELETE", &target)
    } else {
        Request::new("PUT", &target).json(&role(dice, name))
    }
}

fn role(dice: &mut Dice, name: &str) -> String {
    let inside = if dice.one_in(12) { dice.word(ROLES) } else { name };
    let mut fields = vec![format!("\"role\":\"{inside}\"")];
    for list in ["permissions", "grant", "revoke"] {
        if dice.one_in(2) {
            let (read, write) = (names(dice, PATTERNS), names(dice, PATTERNS));
            let kv = match dice.roll(4) {
                0 => format!("\"read\":{read}"),
                1 => format!("\"write\":{write}"),
                _ => format!("\"read\":{read},\"write\":{write}"),
            };
            fields.push(format!("\"{list}\":{{\"kv\":{{{kv}}}}}"));
        }
    }
    format!("{{{}}}", fields.join(","))
}

fn names(dice: &mut Dice, from: &str) -> String {
    let list: Vec<String> = (0..dice.roll(3)).map(|_| format!("\"{}\"", dice.word(from))).collect();
    if dice.one_in(20) { "null".into() } else { format!("[{}]", list.join(",")) }
}

fn read(dice: &mut Dice) -> Request {
    let page = dice.word("users users/ users/{n} users/{n} users/{n}/x roles roles/ roles/{n} roles/{n}/x enable enable enable/ x");
    let name = if page.starts_with("users") { dice.word(USERS) } else { dice.word(ROLES) };
    Request::new("GET", &format!("/v2/auth/{}", page.replace("{n}", name)))
}

/// Bodies and methods that these pages do not know.
fn odd(dice: &mut Dice) -> Request {
    let page =
        dice.word("users/u users/ users roles/r roles enable users/u/v roles/r/s users/%20 roles/a%2Fb");
    let method = dice.word("PUT PUT PUT POST HEAD PATCH DELETE OPTIONS");
    let request = Request::new(method, &format!("/v2/auth/{page}"));
    match dice.roll(4) {
        0 => request,
        1 => request.form("value=1"),
        _ => request.json(dice.pick(&[
            "",
            "{",
            "x",
            "[]",
            "{}",
            "null",
            "1",
            r#"{"user":1}"#,
            r#"{"user":"u"} x"#,
            r#"{"role":"r"}"#,
        ])),
    }
}

fn keys(dice: &mut Dice) -> Request {
    let key = dice.word(KEYS);
    let query = dice.pick(&["", "", "", "?recursive=true", "?sorted=true", "?ttl=x"]);
    match dice.roll(6) {
        0 | 1 => Request::new("PUT", &format!("~{key}{query}")).form("value=1"),
        2 => Request::new("DELETE", &format!("~{key}{query}")),
        3 => Request::new("POST", &format!("~{key}{query}")).form("value=1"),
        _ => Request::new("GET", &format!("~{key}{query}")),
    }
}
