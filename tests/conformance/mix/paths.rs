//! Paths that are odd: escapes, doubled and missing slashes, dots, bytes that are no text.

use super::dice::Dice;
use super::request::Request;

const PREFIXES: &str = "/v2/keys /v2/keys /v2/keys /v2/keys /v2/keys /v2/keys /v2/keys /v2/keys //v2/keys /v2//keys /v2/keys/ \
                        /v2%2Fkeys /v2/%6Beys /v2/./keys /v2/x/../keys /V2/keys /v2/Keys /v2/keys. /v2/key /v2 /v1/keys /v2/keysX";

const PARTS: &str = "\
    k k k k a a b x _h _ __ %5Fh a%20b a+b %00 %0A %0D%0A %7F %FF%FE %FE%FF %C3%A4 ä \u{1f600} %ED%A0%80 %E2%80%A8 \
    %EF%BF%BD %25 %2525 %3F %23 %26 %3C%3E %22 %5C a;b a=b&c a:b@c ' !*() ~ | ^ [x] {x} %5B%5D ... .a a. %2E%2E%2E . \
    .. %2e %2E%2e a%2Fb %2F %2F%2F a%2F..%2Fb %41 %61%62 %c3%a4 a,b $ 0 %zz %2 % * <a> a\"b ` # a#b < %3C<";

/// The next few requests.
pub fn more(dice: &mut Dice) -> Vec<Request> {
    if dice.one_in(40) {
        return vec![
            Request::new("DELETE", "~/k?recursive=true"),
            Request::new("DELETE", "~/a?recursive=true"),
        ];
    }
    let mut path = if dice.one_in(5) { dice.word(PREFIXES) } else { "/v2/keys" }.to_string();
    let depth = if dice.one_in(50) { 100 } else { 1 + dice.roll(4) };
    for _ in 0..depth {
        path += if dice.one_in(12) { dice.word("// %2F /./") } else { "/" };
        path += if depth > 4 { "k" } else { dice.word(PARTS) };
    }
    if dice.one_in(60) {
        path += &"l".repeat(200 + dice.roll(2500));
    }
    path += if dice.one_in(6) { dice.word("/ // /. %2F") } else { "" };
    let query = dice.pick(&[
        "",
        "",
        "",
        "?",
        "?value=1",
        "?recursive=true",
        "?recursive=true&x=%C3%A4'[b]",
        "?x=/../y",
        "#a?value=1",
        "?a?b",
    ]);
    let method = dice.word(
        "PUT PUT PUT PUT PUT PUT PUT PUT POST GET GET GET HEAD DELETE POST PATCH OPTIONS TRACE FOO put",
    );
    let request = Request::new(method, &format!("{path}{query}"));
    vec![if matches!(method, "PUT" | "POST") && dice.one_in(2) { request.form("value=2") } else { request }]
}
