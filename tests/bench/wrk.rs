//! Load by wrk: many connections that each ask, wait for the answer and ask again, on one thread that costs little beside
//! the servers.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one measurement lasts.
pub const LOAD: Duration = Duration::from_secs(3);

/// One request.
pub struct Request {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: String,
}

impl Request {
    /// A GET.
    pub fn get(path: String) -> Self {
        Self { method: "GET", path, kind: "", body: String::new() }
    }

    /// A PUT of a form.
    pub fn put(path: String, form: &str) -> Self {
        Self { method: "PUT", path, kind: "application/x-www-form-urlencoded", body: form.to_string() }
    }

    /// A POST of JSON.
    pub fn post(path: String, json: &str) -> Self {
        Self { method: "POST", path, kind: "application/json", body: json.to_string() }
    }

    /// As a line of the script's table.
    fn line(&self) -> String {
        let Self { method, path, kind, body } = self;
        format!("{method}\t{path}\t{kind}\t{body}")
    }
}

/// Requests are made before it begins; the last line tells what came of them.
const SCRIPT: &str = r#"
local requests, n = {}, 0
function init(args)
  for method, path, kind, body in lines:gmatch("([^\t\n]+)\t([^\t\n]+)\t([^\t\n]*)\t([^\n]*)\n") do
    local headers = {}
    if kind ~= "" then headers["Content-Type"] = kind end
    requests[#requests + 1] = wrk.format(method, path, headers, body ~= "" and body or nil)
  end
  assert(#requests == wanted)
end
function request()
  n = n % #requests + 1
  return requests[n]
end
function done(summary)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("\nresult %f %d\n", summary.requests * 1e6 / summary.duration, failed))
end
"#;

/// Puts `requests`, again and again, to the server at `port` by `connections` at a time. Gives answers a second.
///
/// wrk's latencies are not asked for: it adds some that it holds to be missing.
pub fn rate(port: u16, connections: usize, requests: impl Iterator<Item = Request>) -> f64 {
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile().expect("a file for wrk's script");
    let lines: Vec<String> = requests.map(|request| request.line()).collect();
    let (wanted, lines) = (lines.len(), lines.join("\n"));
    write!(script, "local wanted, lines = {wanted}, [[\n{lines}\n]]\n{SCRIPT}").expect("it is written");
    let output = Command::new("wrk")
        .args([
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{}s", LOAD.as_secs()),
            "--timeout",
            "30s",
            "-s",
        ])
        .arg(script.path())
        .arg(format!("http://127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .output()
        .expect("wrk: apt-get install wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.lines().find_map(|line| line.strip_prefix("result "));
    let words: Vec<f64> =
        result.map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect()).unwrap_or_default();
    let [rate, failed] = words[..] else {
        panic!("wrk did not measure: {text}{}", String::from_utf8_lossy(&output.stderr))
    };
    assert!(failed == 0.0, "{failed} requests were refused or broke off");
    assert!(rate > 0.0, "nothing was answered");
    rate
}
