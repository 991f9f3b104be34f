//! The output forms of etcdctl for API 2. Pure text: knows no standard output, no client and no flags.
//!
//! `simple` is the value, or the value before for a delete. `extended` puts the key and its numbers before it. `json` is
//! one line, with the members in the order and the escapes of etcdctl (which are not quite those of the API itself).

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

use crate::cli::Format;
use crate::client::{Answer, Event, Node};

/// The action whose value of interest is the one before.
const DELETE: &str = "delete";

/// What there is to show of an answer or an event.
pub(in crate::cli) struct Shown<'a> {
    action: &'a str,
    node: &'a Node,
    prev_node: Option<&'a Node>,
    index: u64,
}

impl<'a> From<&'a Answer> for Shown<'a> {
    fn from(answer: &'a Answer) -> Self {
        let Answer { action, node, prev_node, index, .. } = answer;
        Self { action, node, prev_node: prev_node.as_ref(), index: *index }
    }
}

/// An event's index is that at which the watch was accepted.
impl<'a> From<&'a Event> for Shown<'a> {
    fn from(event: &'a Event) -> Self {
        let Event { action, node, prev_node, index } = event;
        Self { action, node, prev_node: prev_node.as_ref(), index: *index }
    }
}

/// A read, a write or a change.
pub(in crate::cli) fn response(shown: &Shown<'_>, format: Format) -> String {
    let value_before = shown.prev_node.map(value);
    match format {
        Format::Simple if shown.action == DELETE => {
            format!("PrevNode.Value: {}\n", value_before.unwrap_or_default())
        }
        Format::Simple => format!("{}\n", value(shown.node)),
        Format::Extended => {
            let node = shown.node;
            let mut text = format!(
                "Key: {}\nCreated-Index: {}\nModified-Index: {}\n",
                node.key, node.created_index, node.modified_index
            );
            if let Some(before) = value_before {
                text.push_str(&format!("PrevNode.Value: {before}\n"));
            }
            text.push_str(&format!("TTL: {}\nIndex: {}\n", node.ttl.unwrap_or(0), shown.index));
            if shown.action != DELETE {
                text.push_str(&format!("\n{}\n", value(node)));
            }
            text
        }
        Format::Json => json(shown),
    }
}

/// The line before a change of a recursive watch.
pub(in crate::cli) fn heading(event: &Event) -> String {
    format!("[{}] {}\n", event.action, event.node.key)
}

/// The keys below `node`, each directory followed by what is in it; a file's own key.
pub(in crate::cli) fn listing(node: &Node, mark_directories: bool) -> String {
    fn add(node: &Node, mark_directories: bool, to: &mut String) {
        let mark = if node.dir && mark_directories { "/" } else { "" };
        to.push_str(&format!("{}{mark}\n", node.key));
        node.nodes.iter().for_each(|child| add(child, mark_directories, to));
    }
    let mut text = String::new();
    if !node.dir {
        add(node, mark_directories, &mut text);
    }
    node.nodes.iter().for_each(|child| add(child, mark_directories, &mut text));
    text
}

fn value(node: &Node) -> &str {
    node.value.as_deref().unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseForm<'a> {
    action: &'a str,
    node: NodeForm<'a>,
    prev_node: Option<NodeForm<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeForm<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dir: bool,
    value: &'a str,
    nodes: Option<Vec<NodeForm<'a>>>,
    created_index: u64,
    modified_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

impl<'a> From<&'a Node> for NodeForm<'a> {
    fn from(node: &'a Node) -> Self {
        Self {
            key: &node.key,
            dir: node.dir,
            value: value(node),
            nodes: Some(node.nodes.iter().map(NodeForm::from).collect())
                .filter(|nodes: &Vec<_>| !nodes.is_empty()),
            created_index: node.created_index,
            modified_index: node.modified_index,
            expiration: node.expiration.as_deref(),
            ttl: node.ttl.filter(|ttl| *ttl != 0),
        }
    }
}

fn json(shown: &Shown<'_>) -> String {
    let form = ResponseForm {
        action: shown.action,
        node: shown.node.into(),
        prev_node: shown.prev_node.map(NodeForm::from),
    };
    let mut text = Vec::new();
    let written = form.serialize(&mut Serializer::with_formatter(&mut text, GoEscapes));
    assert!(written.is_ok(), "strings and numbers can always be written: {written:?}");
    text.push(b'\n');
    String::from_utf8_lossy(&text).into_owned()
}

/// JSON as Go writes it: `<`, `>`, `&`, the two Unicode line ends, backspace and form feed by number.
struct GoEscapes;

impl Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        let by_number = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        for part in fragment.split_inclusive(by_number) {
            let plain = part.trim_end_matches(by_number);
            to.write_all(plain.as_bytes())?;
            for c in part[plain.len()..].chars() {
                write!(to, "\\u{:04x}", u32::from(c))?;
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, to: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Backspace => to.write_all(b"\\u0008"),
            CharEscape::FormFeed => to.write_all(b"\\u000c"),
            other => CompactFormatter.write_char_escape(to, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        serde_json::from_str(json).expect("a node")
    }

    fn answer(action: &str, index: u64, now: &str, before: Option<&str>) -> Answer {
        Answer {
            action: action.into(),
            node: node(now),
            prev_node: before.map(node),
            index,
            raft_index: 0,
            raft_term: 0,
        }
    }

    fn shown(answer: &Answer, format: Format) -> String {
        response(&Shown::from(answer), format)
    }

    #[test]
    fn a_set_shows_its_value_and_the_numbers_of_its_key() {
        let set = answer(
            "set",
            5,
            r#"{"key":"/a","value":"2","modifiedIndex":5,"createdIndex":5}"#,
            Some(r#"{"key":"/a","value":"1","modifiedIndex":4,"createdIndex":4}"#),
        );
        assert_eq!(shown(&set, Format::Simple), "2\n");
        assert_eq!(
            shown(&set, Format::Extended),
            "Key: /a\nCreated-Index: 5\nModified-Index: 5\nPrevNode.Value: 1\nTTL: 0\nIndex: 5\n\n2\n"
        );
        assert_eq!(
            shown(&set, Format::Json),
            concat!(
                r#"{"action":"set","node":{"key":"/a","value":"2","nodes":null,"createdIndex":5,"modifiedIndex":5},"#,
                r#""prevNode":{"key":"/a","value":"1","nodes":null,"createdIndex":4,"modifiedIndex":4}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_delete_shows_the_value_before_and_no_blank_line() {
        let delete = answer(
            "delete",
            14,
            r#"{"key":"/a","modifiedIndex":14,"createdIndex":6}"#,
            Some(r#"{"key":"/a","value":"3","modifiedIndex":6,"createdIndex":6}"#),
        );
        assert_eq!(shown(&delete, Format::Simple), "PrevNode.Value: 3\n");
        assert_eq!(
            shown(&delete, Format::Extended),
            "Key: /a\nCreated-Index: 6\nModified-Index: 14\nPrevNode.Value: 3\nTTL: 0\nIndex: 14\n"
        );
    }

    #[test]
    fn a_conditional_delete_shows_an_empty_line() {
        let delete = answer(
            "compareAndDelete",
            27,
            r#"{"key":"/m","modifiedIndex":27,"createdIndex":26}"#,
            Some(r#"{"key":"/m","value":"5","modifiedIndex":26,"createdIndex":26}"#),
        );
        assert_eq!(shown(&delete, Format::Simple), "\n");
        assert!(shown(&delete, Format::Extended).ends_with("PrevNode.Value: 5\nTTL: 0\nIndex: 27\n\n\n"));
    }

    #[test]
    fn json_has_etcdctls_members_and_order_for_directories_and_ttls() {
        let list = answer(
            "get",
            13,
            r#"{"key":"/d","dir":true,"modifiedIndex":7,"createdIndex":7,"nodes":[
                {"key":"/d/x","value":"v","expiration":"2030-01-01T00:00:00Z","ttl":100,"modifiedIndex":11,"createdIndex":11}]}"#,
            None,
        );
        assert_eq!(
            shown(&list, Format::Json),
            concat!(
                r#"{"action":"get","node":{"key":"/d","dir":true,"value":"","nodes":["#,
                r#"{"key":"/d/x","value":"v","nodes":null,"createdIndex":11,"modifiedIndex":11,"expiration":"2030-01-01T00:00:00Z","ttl":100}],"#,
                r#""createdIndex":7,"modifiedIndex":7},"prevNode":null}"#,
                "\n"
            )
        );
    }

    #[test]
    fn json_escapes_what_go_escapes() {
        let mut get = answer("get", 1, "{}", None);
        get.node.value = Some("<a>&&\u{2028}\u{2029}\u{8}\u{c}\n\t\r\u{1}\u{7f}\"\\\u{e4}\u{fffd}".into());
        let json = shown(&get, Format::Json);
        assert!(
            json.contains(concat!(
                r#""value":"\u003ca\u003e\u0026\u0026\u2028\u2029\u0008\u000c\n\t\r\u0001"#,
                "\u{7f}",
                r#"\"\\"#,
                "\u{e4}\u{fffd}\""
            )),
            "{json}"
        );
    }

    #[test]
    fn listings_go_into_directories_and_a_file_lists_itself() {
        let tree = node(
            r#"{"key":"/d","dir":true,"nodes":[
                {"key":"/d/sub","dir":true,"nodes":[{"key":"/d/sub/y","value":"1"}]},{"key":"/d/x","value":"v"}]}"#,
        );
        assert_eq!(listing(&tree, false), "/d/sub\n/d/sub/y\n/d/x\n");
        assert_eq!(listing(&tree, true), "/d/sub/\n/d/sub/y\n/d/x\n");
        assert_eq!(listing(&node(r#"{"key":"/m","value":"1"}"#), true), "/m\n");
        assert_eq!(listing(&node(r#"{"dir":true}"#), true), "");
    }
}
