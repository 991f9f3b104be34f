//! Paths that are not as they should be, and keys of any bytes.

use super::Pair;

#[test]
fn paths_that_are_not_clean_are_redirected() {
    let Some(mut pair) = Pair::start() else { return };
    let paths = [
        "/v2/keys//a",
        "/v2/keys/a//b",
        "/v2/keys/a/",
        "/v2/keys/a//",
        "/v2/keys//",
        "//v2/keys/a",
        "/v2//keys/a",
        "/v2/keys/./a",
        "/v2/keys/a/.",
        "/v2/keys/a/..",
        "/v2/keys/a/../b",
        "/v2/keys/../../..",
        "/v2/keys/%2e%2e/x",
        "/v2/keys/a%2F%2Fb",
        "/v2/keys/a%2Fb",
        "/v2/keys%2Fa",
        "/v2%2Fkeys/a",
        "/v2/keys/%2e",
        "/v2/keys/a%2F..%2Fb",
        "/v2/keys/...",
        "/v2/keys/.a/b.",
        "/v2/keys//a%20b%25%3F%23%22%3C%3E%26'%5C%7C%5E%60%7B%7D%5B%5D;=,:@!$*()+~",
        "/v2/keys//%ff%00%0a",
        "/v2/keys//%C3%A4",
        "/v2/keys//ä",
        "/v2/keys//a!$&'()*+,;=:@-._~",
        "/v2/keys//a|b^c{e}f\"g\\j[k]",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
            pair.exchange(method, path, &[], None);
        }
        pair.exchange("GET", &format!("{path}?recursive=false&a=[b]&c='d'"), &[], None);
        pair.exchange("GET", &format!("{path}?"), &[], None);
    }
    pair.finish();
}

#[test]
fn keys_may_hold_any_bytes() {
    let Some(mut pair) = Pair::start() else { return };
    let names = [
        "a%20b",
        "a+b",
        "%3F",
        "%23",
        "%25",
        "%00",
        "%0A",
        "%0D",
        "%09",
        "%08",
        "%1F",
        "%7F",
        "%22",
        "%5C",
        "%3C%3E%26",
        "%FF%FE",
        "%FE%FF",
        "%C3%A4",
        "%F0%9F%98%80",
        "%ED%A0%80",
        "%C0%80",
        "%E2%80%A8",
        "%E2%80%A9",
        "%EF%BF%BD",
        "%E2%80",
        "%F4%90%80%80",
        "a;b",
        "a=b&c",
        "a:b@c",
        "'",
        "!*()",
        "~",
        "|",
        "%5B%5D",
        "...",
        "a.b",
        ".a",
        "a%2Fb",
        "%41",
        "%61%62",
        "%c3%a4",
        "ä",
        "\u{1f600}",
        "[x]",
        "{x}",
        "a\"b",
        "a\\b",
        "a^b",
        "_hidden",
        "%5Fhidden",
    ];
    for name in names {
        pair.ask(&format!("PUT ~/k/{name} value=1"));
        pair.ask(&format!("GET ~/k/{name}"));
        pair.ask(&format!("GET ~/k/{name}/below"));
        pair.ask(&format!("GET ~/none/{name}"));
    }
    pair.ask("GET ~/k?recursive=true&sorted=true");
    for name in names {
        pair.ask(&format!("DELETE ~/k/{name}?recursive=true"));
    }
    pair.ask("GET ~/k");
    pair.finish();
}

#[test]
fn deep_and_long_keys() {
    let Some(mut pair) = Pair::start() else { return };
    let deep = "/d".repeat(500);
    let long = "l".repeat(3000);
    pair.ask(&format!("PUT ~{deep} value=1"));
    pair.ask(&format!("GET ~{deep}"));
    pair.ask("GET ~/d?recursive=true");
    pair.ask("DELETE ~/d?recursive=true");
    pair.ask(&format!("PUT ~/{long} value=1"));
    pair.ask(&format!("GET ~/{long}"));
    pair.ask(&format!("GET ~/{long}/x"));
    pair.finish();
}
