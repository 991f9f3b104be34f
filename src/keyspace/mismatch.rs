//! A condition on a file that did not hold.

use std::sync::Arc;

use super::{Blob, Compare, Key, Node};

/// What was given and what is. It shares the values with the command and the node: to be refused costs no copy of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The value given, where it is another.
    value: Option<Blob>,
    /// The index given, where it is another.
    index: Option<u64>,
    node: Arc<Node>,
}

/// A part of the words.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Brackets, numbers and what stands between.
    Text(String),
    /// A value.
    Value(&'a Blob),
}

impl Mismatch {
    /// What of the condition does not hold for a file; `None` when all of it does.
    pub(super) fn of(compare: &Compare, node: &Arc<Node>) -> Option<Self> {
        let value = compare.value.as_ref().filter(|value| Some(*value) != node.blob()).cloned();
        let index = compare.index.filter(|index| *index != node.modified);
        (value.is_some() || index.is_some()).then(|| Self { value, index, node: node.clone() })
    }

    /// Where the file is.
    pub fn key(&self) -> &Key {
        &self.node.key
    }

    /// The words of etcd: value first, then index. Values are any bytes.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let text = |text: &str| Part::Text(text.into());
        let values = self.value.iter().flat_map(move |given| {
            let is = self.node.blob().map(Part::Value);
            let begin = [text("["), Part::Value(given), text(" != ")];
            begin.into_iter().chain(is).chain([text("]")])
        });
        let between = if self.value.is_some() { " " } else { "" };
        let indexes = self.index.map(|given| format!("{between}[{given} != {}]", self.node.modified));
        values.chain(indexes.map(Part::Text))
    }

    /// All of them.
    pub fn words(&self) -> Vec<u8> {
        let mut words = Vec::new();
        for part in self.parts() {
            match part {
                Part::Text(text) => words.extend_from_slice(text.as_bytes()),
                Part::Value(value) => words.extend_from_slice(value),
            }
        }
        words
    }
}
