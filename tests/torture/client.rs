//! Clients: each asks one thing at a time of any node, and writes down what came of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::chance::Chance;
use super::history::{Act, Cell, History, Record, Told};
use crate::common::http::{Answer, Connection};

/// How long a client waits for an answer; afterwards it does not know what became of its request. Some wait longer than
/// the store lets them, and so hear its own word that it does not know or that it has not begun.
const PATIENCE: [Duration; 2] = [Duration::from_millis(2500), Duration::from_millis(8500)];

/// Keys that are in use at a time.
const KEYS: usize = 5;

/// Operations on a key before a fresh one takes its place: the tester tries orders one after the other.
const KEY_OPERATIONS: u32 = 48;

/// Unanswered operations on a key before a fresh one takes its place.
const KEY_UNANSWERED: u32 = 4;

/// The folder of the keys.
pub const FOLDER: &str = "/v2/keys/t";

/// What clients share: which keys are in use, and what was last seen there.
pub struct Field {
    keys: Mutex<Keys>,
    values: AtomicU64,
}

struct Keys {
    next: u64,
    current: Vec<InUse>,
}

struct InUse {
    key: u64,
    operations: u32,
    unanswered: u32,
    seen: Option<Cell>,
}

impl Default for Field {
    fn default() -> Self {
        let mut keys = Keys { next: 0, current: Vec::new() };
        (0..KEYS).for_each(|_| keys.add());
        Self { keys: Mutex::new(keys), values: AtomicU64::new(1) }
    }
}

impl Keys {
    fn add(&mut self) {
        self.current.push(InUse { key: self.next, operations: 0, unanswered: 0, seen: None });
        self.next += 1;
    }
}

impl Field {
    /// What to do next.
    fn draw(&self, chance: &mut Chance) -> (u64, Act) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let at = chance.below(keys.current.len());
        let slot = &mut keys.current[at];
        slot.operations += 1;
        let (key, seen) = (slot.key, slot.seen);
        if slot.operations >= KEY_OPERATIONS || slot.unanswered >= KEY_UNANSWERED {
            keys.current.remove(at);
            keys.add();
        }
        drop(keys);
        let fresh = || self.values.fetch_add(1, Ordering::Relaxed);
        let act = match (chance.below(100), seen) {
            (0..35, _) => Act::Get,
            (35..58, _) => Act::Set(fresh()),
            (58..73, Some(cell)) => Act::Swap { from: cell.value, to: fresh() },
            (73..86, Some(cell)) => Act::SwapAt { at: cell.index, to: fresh() },
            (86..93, _) => Act::Delete,
            _ => Act::Create(fresh()),
        };
        (key, act)
    }

    fn learn(&self, record: &Record) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = keys.current.iter_mut().find(|slot| slot.key == record.key) else { return };
        match (record.act, record.told) {
            (_, None) => slot.unanswered += 1,
            (_, Some(Told::Found(cell))) => slot.seen = Some(cell),
            (
                Act::Set(to) | Act::Create(to) | Act::Swap { to, .. } | Act::SwapAt { to, .. },
                Some(Told::Done { index, .. }),
            ) => {
                slot.seen = Some(Cell { value: to, index });
            }
            (_, Some(_)) => {}
        }
    }
}

/// One client, until told to stop.
pub struct Client<'a> {
    pub number: usize,
    /// The nodes' URLs; a client asks any of them.
    pub urls: &'a [String],
    pub field: &'a Field,
    pub history: &'a History,
    pub stop: &'a AtomicBool,
}

impl Client<'_> {
    /// # Panics
    /// The store says what no store may say.
    pub fn run(&self, mut chance: Chance) {
        let mut connections: BTreeMap<usize, Connection> = BTreeMap::new();
        let patience = PATIENCE[self.number % PATIENCE.len()];
        while !self.stop.load(Ordering::Relaxed) {
            let node = chance.below(self.urls.len());
            let connection = match connections.remove(&node) {
                Some(connection) => Ok(connection),
                None => Connection::open_within(&self.urls[node], patience),
            };
            let Ok(mut connection) = connection else {
                // Nothing was sent, so nothing can have happened.
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let (key, act) = self.field.draw(&mut chance);
            let began = self.history.now();
            let answer = ask(&mut connection, key, act);
            let ended = self.history.now();
            let told = answer.as_ref().ok().and_then(|answer| read(act, answer));
            let says_index = told.is_some_and(|told| told != Told::Untouched);
            let index = answer.as_ref().ok().filter(|_| says_index).map(Answer::index);
            let ended = told.map(|_| ended);
            let record = Record { client: self.number, node, key, act, began, ended, told, index };
            self.field.learn(&record);
            self.history.add(record);
            if answer.is_ok() {
                connections.insert(node, connection);
            }
            std::thread::sleep(Duration::from_millis(chance.below(6) as u64));
        }
    }
}

fn ask(connection: &mut Connection, key: u64, act: Act) -> io::Result<Answer> {
    let target = format!("{FOLDER}/{key}");
    let put = |connection: &mut Connection, condition: String, value: u64| {
        connection.request("PUT", &format!("{target}{condition}"), Some(&format!("value={value}")))
    };
    match act {
        Act::Get => connection.request("GET", &format!("{target}?quorum=true"), None),
        Act::Set(to) => put(connection, String::new(), to),
        Act::Create(to) => put(connection, "?prevExist=false".into(), to),
        Act::Swap { from, to } => put(connection, format!("?prevValue={from}"), to),
        Act::SwapAt { at, to } => put(connection, format!("?prevIndex={at}"), to),
        Act::Delete => connection.request("DELETE", &target, None),
    }
}

/// What an answer says; `None` when it leaves the outcome open.
///
/// # Panics
/// It makes no sense.
fn read(act: Act, answer: &Answer) -> Option<Told> {
    let body = answer.json();
    if answer.status >= 500 {
        // The store's word for it: clients ask again after that.
        let untouched = body["cause"].as_str().is_some_and(|cause| cause.ends_with("no leader"));
        return (untouched && act != Act::Get).then_some(Told::Untouched);
    }
    if answer.status < 300 {
        let node = &body["node"];
        if act == Act::Get {
            return Some(Told::Found(cell(node).unwrap_or_else(|| panic!("no value: {body}"))));
        }
        let index = node["modifiedIndex"].as_u64().unwrap_or_else(|| panic!("no index: {body}"));
        return Some(Told::Done { index, before: cell(&body["prevNode"]) });
    }
    match body["errorCode"].as_u64() {
        Some(100) => Some(Told::Absent),
        Some(101) => Some(Told::Differs),
        Some(105) => Some(Told::Exists),
        _ => panic!("an unexpected answer to {act:?}: {} {body}", answer.status),
    }
}

/// Value and index of a node of an answer.
pub fn cell(node: &Value) -> Option<Cell> {
    let value = node["value"].as_str()?.parse().expect("a value that a client wrote");
    Some(Cell { value, index: node["modifiedIndex"].as_u64()? })
}
