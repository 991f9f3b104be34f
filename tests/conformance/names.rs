//! What belongs to one server and shows in its answers: ids, names, addresses, when it started.

use std::time::Duration;

use crate::common::http::{self, Answer};
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

/// One server's own.
#[derive(Clone, Debug)]
pub struct Names {
    /// Placeholder and text.
    own: Vec<(&'static str, String)>,
}

/// Members of `/v2/stats/self` that say when something was.
const MOMENTS: [&[u8]; 2] = [b"\"startTime\":\"", b"\"uptime\":\""];

impl Names {
    /// Asks a server that has one member, once that has said its name and its version is known.
    pub fn ask(url: &str) -> Self {
        let ask = |page| http::request(url, "GET", page, None).expect("an answer");
        wait_for("a member with a name and a version", LIMIT, || {
            ask("/v2/machines").text().contains("http") && !ask("/version").text().contains("not_decided")
        });
        let page = ask("/v2/members").json();
        let member = &page["members"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
        let own = vec![
            ("{member}", text(&member["id"])),
            ("{peer}", text(&member["peerURLs"][0])),
            ("{client}", text(&member["clientURLs"][0])),
            ("\"name\":\"{name}\"", format!("\"name\":{}", member["name"])),
        ];
        Self { own }
    }

    /// Puts its own in for placeholders.
    pub fn fill(&self, text: &str) -> String {
        let put = |text: String, (place, own): &(&str, String)| text.replace(place, own);
        self.own.iter().fold(text.to_string(), put)
    }

    /// The answer with placeholders for its own.
    pub fn hide(&self, answer: &Answer) -> Answer {
        let mut answer = answer.clone();
        for (place, own) in &self.own {
            answer.body = replace(&answer.body, own.as_bytes(), place.as_bytes());
        }
        for moment in MOMENTS {
            answer.body = without_text_after(&answer.body, moment);
        }
        answer
    }
}

fn replace(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        if !from.is_empty() && rest.starts_with(from) {
            out.extend_from_slice(to);
            rest = &rest[from.len()..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

/// Leaves out what stands between `mark` and the next quote.
fn without_text_after(body: &[u8], mark: &[u8]) -> Vec<u8> {
    let Some(at) = body.windows(mark.len()).position(|part| part == mark) else { return body.to_vec() };
    let (before, after) = body.split_at(at + mark.len());
    let end = after.iter().position(|byte| *byte == b'"').unwrap_or_default();
    [before, &without_text_after(&after[end..], mark)].concat()
}
