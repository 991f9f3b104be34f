//! Values of any bytes, as JSON shows them.

use super::Pair;

#[test]
fn every_byte_and_every_pair_of_a_broken_sequence_is_escaped_as_in_go() {
    let Some(mut pair) = Pair::start() else { return };
    for high in 0..16 {
        let bytes: String = (0..16).map(|low| format!("x%{high:x}{low:x}")).collect();
        pair.ask(&format!("PUT ~/bytes value={bytes}"));
    }
    let sequences = [
        "%C3%A4",
        "%C3",
        "%C3%28",
        "%E2%82%AC",
        "%E2%82",
        "%E2",
        "%E2%28%A1",
        "%E2%82%28",
        "%F0%9F%98%80",
        "%F0%9F%98",
        "%F0%9F",
        "%F0",
        "%F0%28%8C%BC",
        "%F0%90%28%BC",
        "%F0%28%8C%28",
        "%ED%A0%80%ED%B0%80",
        "%C0%80",
        "%C1%BF",
        "%E0%80%80",
        "%F0%80%80%80",
        "%F4%8F%BF%BF",
        "%F4%90%80%80",
        "%F8%88%80%80%80",
        "%FC",
        "%FE",
        "%FF",
        "%EF%BF%BD",
        "%EF%BB%BF",
        "%EF%BF%BE",
        "%E2%80%A8",
        "%E2%80%A9",
        "%E2%80%AA",
        "%E2%80%28",
        "%E2%80%A8%E2%80",
        "%C2%85",
        "%3C%2Fscript%3E",
        "%26amp;",
        "%26",
        "%22%5C%2F",
        "%5Cu0041",
        "%00",
        "%0A%0D%09%08%0C%0B%1B",
        "%7F",
        "%22expiration%22%3A%22x%22",
        "%22ttl%22%3A5",
    ];
    for bytes in sequences {
        pair.ask(&format!("PUT ~/value value={bytes}"));
        pair.ask(&format!("PUT ~/value?prevValue=no{bytes} value=x"));
        pair.ask("GET ~/value");
        pair.ask(&format!("GET ~/none{bytes}"));
    }
    pair.finish();
}

#[test]
fn sizes_around_the_buffers_of_either_server() {
    let Some(mut pair) = Pair::start() else { return };
    for size in [1000, 1900, 2000, 2048, 2100, 4000, 4096, 5000, 8192, 16_384, 65_536, 1 << 20] {
        pair.ask(&format!("PUT ~/size value={}", "x".repeat(size)));
        pair.ask("GET ~/size");
    }
    pair.ask("DELETE ~/size");
    pair.finish();
}
