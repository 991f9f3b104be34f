//! The keyspace beside a naive model of it, under random commands: a map of nodes and a list of changes, without an order of
//! its own for anything, without indexes and without sharing. It is written from the rules of etcd's v2 store, not from
//! the code beside which it is held.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::clock::NANOS;

/// A wall clock reading in 2026, in nanoseconds.
const WALL: i64 = 1_790_000_000 * NANOS;

/// How many changes the keyspace remembers: few, so that some are forgotten.
const REMEMBERED: u64 = 12;

/// A path by its components; the root has none. In a map of these a directory stands before what is below it.
type Path = Vec<&'static str>;

/// What is at a path.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    /// `None` for a directory.
    value: Option<String>,
    created: u64,
    modified: u64,
    /// On the cluster clock, in nanoseconds.
    deadline: Option<i64>,
}

/// A change as callers and watchers are told of it.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    action: &'static str,
    index: u64,
    path: Path,
    /// The node afterwards; one that was removed has no value.
    node: Item,
    /// What the node had left, in whole seconds.
    ttl: i64,
    prev: Option<(Item, i64)>,
    removes_directory: bool,
    silent: bool,
    /// What went along with a directory.
    removed: Vec<Path>,
}

/// A refusal: etcd's number and what it is about.
type No = (u16, String);

/// One random request.
#[derive(Clone, Debug)]
enum Ask {
    Set { path: Path, dir: bool, with: With },
    Create { path: Path, dir: bool, with: With },
    InOrder { path: Path, dir: bool, with: With },
    Update { path: Path, with: With },
    Swap { path: Path, like: Like, with: With },
    Delete { path: Path, dir: bool, recursive: bool },
    CompareAndDelete { path: Path, like: Like },
    Expire,
}

/// What a write brings.
#[derive(Clone, Debug)]
struct With {
    value: &'static str,
    /// In seconds.
    ttl: Option<u64>,
    refresh: bool,
}

/// What a node must be like.
#[derive(Clone, Debug)]
struct Like {
    value: Option<&'static str>,
    index: Option<u64>,
}

/// The naive model.
#[derive(Debug, Default)]
struct Naive {
    items: BTreeMap<Path, Item>,
    told: Vec<Told>,
    index: u64,
    /// The cluster clock, in nanoseconds.
    now: i64,
}

fn written(path: &[&str]) -> String {
    path.iter().map(|part| format!("/{part}")).collect()
}

fn shown(path: &[&str]) -> String {
    if path.is_empty() { "/".into() } else { written(path) }
}

impl Naive {
    /// What is at a path, or why there is nothing.
    fn find(&self, path: &Path) -> Result<Item, No> {
        for length in 1..=path.len() {
            match self.items.get(&path[..length]) {
                None => return Err((100, written(&path[..length]))),
                Some(item) if item.value.is_some() && length < path.len() => {
                    return Err((104, written(&path[..length])));
                }
                Some(_) => {}
            }
        }
        Ok(self.items[path].clone())
    }

    fn left(&self, item: &Item) -> i64 {
        item.deadline.map_or(0, |deadline| (deadline - self.now + NANOS - 1).div_euclid(NANOS))
    }

    fn deadline(&self, with: &With) -> Option<i64> {
        with.ttl.map(|seconds| self.now + seconds.cast_signed() * NANOS)
    }

    fn change(&mut self, action: &'static str, path: &Path, node: Item, prev: Option<Item>, silent: bool) {
        self.index += 1;
        let prev = prev.map(|prev| (prev.clone(), self.left(&prev)));
        let ttl = self.left(&node);
        let (path, removes_directory, removed) = (path.clone(), false, Vec::new());
        let index = self.index;
        self.told.push(Told { action, index, path, node, ttl, prev, removes_directory, silent, removed });
    }

    /// Puts a file or directory in, with the directories above it.
    fn put(&mut self, path: &Path, item: Item) {
        for length in 1..path.len() {
            let (created, modified) = (self.index + 1, self.index + 1);
            let directory = Item { value: None, created, modified, deadline: None };
            self.items.entry(path[..length].to_vec()).or_insert(directory);
        }
        self.items.insert(path.clone(), item);
    }

    /// A new node at the next index.
    fn fresh(&self, dir: bool, value: &str, with: &With) -> Item {
        let (created, modified) = (self.index + 1, self.index + 1);
        let value = (!dir).then(|| value.to_string());
        Item { value, created, modified, deadline: self.deadline(with) }
    }

    fn remove(&mut self, action: &'static str, path: &Path) {
        let old = self.items.remove(path).expect("it was found");
        let removed: Vec<Path> = self.items.keys().filter(|other| other.starts_with(path)).cloned().collect();
        for below in &removed {
            self.items.remove(below);
        }
        let node = Item { value: None, created: old.created, modified: self.index + 1, deadline: None };
        let removes_directory = old.value.is_none();
        self.change(action, path, node, Some(old), false);
        let told = self.told.last_mut().expect("it was just told");
        (told.removes_directory, told.removed) = (removes_directory, removed);
    }

    /// Moves the clock and lets run out what is due: the earliest first, of those of one time the first in the tree.
    fn pass(&mut self, nanos: i64) {
        self.now += nanos;
        loop {
            let due = self.items.iter().filter_map(|(path, item)| Some((item.deadline?, path.clone())));
            let Some((_, path)) = due.filter(|(deadline, _)| *deadline <= self.now).min() else { return };
            self.remove("expire", &path);
        }
    }

    fn set(&mut self, path: &Path, dir: bool, with: &With) -> Result<(), No> {
        let old = match self.find(path) {
            Ok(item) => Some(item),
            Err((100, _)) if !with.refresh => None,
            Err(no) => return Err(no),
        };
        if old.as_ref().is_some_and(|old| old.value.is_none()) {
            return Err((102, written(path)));
        }
        let kept = old.as_ref().and_then(|old| old.value.clone()).filter(|_| with.refresh);
        let item = self.fresh(dir, &kept.unwrap_or_else(|| with.value.into()), with);
        self.put(path, item.clone());
        self.change("set", path, item, old, with.refresh);
        Ok(())
    }

    fn create(&mut self, path: &Path, dir: bool, with: &With) -> Result<(), No> {
        match self.find(path) {
            Ok(_) => return Err((105, written(path))),
            Err((100, _)) => {}
            Err(no) => return Err(no),
        }
        let item = self.fresh(dir, with.value, with);
        self.put(path, item.clone());
        self.change("create", path, item, None, false);
        Ok(())
    }

    /// A file gets a value and a lifetime, and keeps the index it was created at.
    fn rewrite(&mut self, action: &'static str, path: &Path, old: Item, with: &With) {
        let value = if with.refresh { old.value.clone() } else { Some(with.value.to_string()) };
        let modified = self.index + 1;
        let item = Item { value, created: old.created, modified, deadline: self.deadline(with) };
        self.items.insert(path.clone(), item.clone());
        self.change(action, path, item, Some(old), with.refresh);
    }

    fn update(&mut self, path: &Path, with: &With) -> Result<(), No> {
        let old = self.find(path)?;
        if old.value.is_some() {
            self.rewrite("update", path, old, with);
            return Ok(());
        }
        if !with.value.is_empty() {
            return Err((102, written(path)));
        }
        // Told with a new index, which the directory itself does not get.
        let item = Item { deadline: self.deadline(with), ..old.clone() };
        self.items.insert(path.clone(), item.clone());
        let node = Item { modified: self.index + 1, ..item };
        self.change("update", path, node, Some(old), with.refresh);
        Ok(())
    }

    fn compare(&self, path: &Path, like: &Like) -> Result<Item, No> {
        let old = self.find(path)?;
        let Some(value) = old.value.clone() else { return Err((102, written(path))) };
        let mut wrong = Vec::new();
        if like.value.is_some_and(|wanted| wanted != value) {
            wrong.push(format!("[{} != {value}]", like.value.unwrap_or_default()));
        }
        if like.index.is_some_and(|wanted| wanted != old.modified) {
            wrong.push(format!("[{} != {}]", like.index.unwrap_or_default(), old.modified));
        }
        if wrong.is_empty() { Ok(old) } else { Err((101, wrong.join(" "))) }
    }

    fn delete(&mut self, path: &Path, dir: bool, recursive: bool) -> Result<(), No> {
        let is_directory = self.find(path)?.value.is_none();
        if is_directory && !(dir || recursive) {
            return Err((102, written(path)));
        }
        let is_empty = !self.items.keys().any(|other| other.len() > path.len() && other.starts_with(path));
        if is_directory && !recursive && !is_empty {
            return Err((108, written(path)));
        }
        self.remove("delete", path);
        Ok(())
    }

    fn take(&mut self, ask: &Ask) -> Result<(), No> {
        let at_root = |path: &Path| if path.is_empty() { Err((107, "/".to_string())) } else { Ok(()) };
        match ask {
            Ask::Set { path, dir, with } => at_root(path).and_then(|()| self.set(path, *dir, with)),
            Ask::Create { path, dir, with } => at_root(path).and_then(|()| self.create(path, *dir, with)),
            Ask::InOrder { path, dir, with } => {
                let name: &'static str = Box::leak(format!("{:020}", self.index + 1).into_boxed_str());
                self.create(&path.iter().copied().chain([name]).collect(), *dir, with)
            }
            Ask::Update { path, with } => at_root(path).and_then(|()| self.update(path, with)),
            Ask::Swap { path, like, with } => {
                at_root(path)?;
                let old = self.compare(path, like)?;
                self.rewrite("compareAndSwap", path, old, with);
                Ok(())
            }
            Ask::Delete { path, dir, recursive } => {
                at_root(path).and_then(|()| self.delete(path, *dir, *recursive))
            }
            Ask::CompareAndDelete { path, .. } if path.is_empty() => Err((102, String::new())),
            Ask::CompareAndDelete { path, like } => {
                self.compare(path, like)?;
                self.remove("compareAndDelete", path);
                Ok(())
            }
            Ask::Expire => Ok(()),
        }
    }

    // ---- what readers see

    fn members(&self, path: &Path, item: &Item, ttl: i64, children: &str) -> String {
        let mut text = format!("\"key\":\"{}\"", written(path));
        match &item.value {
            Some(value) => text += &format!(",\"value\":\"{value}\""),
            None => text += ",\"dir\":true",
        }
        if let Some(deadline) = item.deadline {
            text += &format!(",\"expiration\":\"{}\"", timestamp(WALL + deadline));
            text += &if ttl == 0 { String::new() } else { format!(",\"ttl\":{ttl}") };
        }
        text + children + &format!(",\"modifiedIndex\":{},\"createdIndex\":{}", item.modified, item.created)
    }

    /// The children of a directory that are not hidden, `depth` levels of them.
    fn children(&self, path: &Path, depth: usize) -> String {
        let is_child = |other: &Path| {
            other.len() == path.len() + 1 && other.starts_with(path) && !other[path.len()].starts_with('_')
        };
        let children =
            self.items.iter().filter(|(other, _)| depth > 0 && is_child(other)).map(|(path, item)| {
                let below = self.children(path, depth - 1);
                format!("{{{}}}", self.members(path, item, self.left(item), &below))
            });
        let children: Vec<String> = children.collect();
        if children.is_empty() { String::new() } else { format!(",\"nodes\":[{}]", children.join(",")) }
    }

    fn listing(&self, path: &Path, recursive: bool) -> Result<String, No> {
        let depth = if recursive { usize::MAX } else { 1 };
        let node = if path.is_empty() {
            format!("\"dir\":true{}", self.children(path, depth))
        } else {
            let item = self.find(path)?;
            let below = if item.value.is_none() { self.children(path, depth) } else { String::new() };
            self.members(path, &item, self.left(&item), &below)
        };
        Ok(format!("{{\"action\":\"get\",\"node\":{{{node}}}}}\n"))
    }

    /// The first change since `since` that a watcher of `path` hears of.
    fn scan(&self, path: &Path, recursive: bool, since: u64) -> Result<Option<&Told>, No> {
        let oldest = (self.index + 1).saturating_sub(REMEMBERED);
        if since < oldest.max(1) {
            return Err((401, format!("the requested history has been cleared [{}/{since}]", oldest.max(1))));
        }
        let hears = |told: &&Told| {
            let hidden = || told.path[path.len()..].iter().any(|part| part.starts_with('_'));
            let below = recursive && told.path.starts_with(path) && told.path.len() > path.len();
            let above = told.removes_directory && path.starts_with(&told.path);
            !told.silent && (told.path == *path || above || below && !hidden())
        };
        Ok(self.told.iter().filter(|told| told.index >= since).find(hears))
    }

    fn told_as_json(&self, told: &Told) -> String {
        // What was removed is shown without a value, and a removed file not even as what it was.
        let node = if told.action.contains("elete") || told.action == "expire" {
            let dir = if told.removes_directory { ",\"dir\":true" } else { "" };
            let (modified, created) = (told.node.modified, told.node.created);
            let path = written(&told.path);
            format!("\"key\":\"{path}\"{dir},\"modifiedIndex\":{modified},\"createdIndex\":{created}")
        } else {
            self.members(&told.path, &told.node, told.ttl, "")
        };
        let prev = told.prev.as_ref().map(|(prev, ttl)| self.members(&told.path, prev, *ttl, ""));
        let prev = prev.map_or(String::new(), |prev| format!(",\"prevNode\":{{{prev}}}"));
        format!("{{\"action\":\"{}\",\"node\":{{{node}}}{prev}}}\n", told.action)
    }
}

// ---- the keyspace, asked the same

fn key(path: &[&str]) -> Key {
    Key::parse(written(path).as_bytes()).expect("a path of names is a key")
}

fn content(with: &With) -> Content {
    Content { value: with.value.into(), ttl: with.ttl.map(Ttl::from_secs), refresh: with.refresh }
}

fn compare(like: &Like) -> Compare {
    Compare { value: like.value.map(Into::into), index: like.index }
}

fn command(ask: &Ask) -> Command {
    match ask {
        Ask::Set { path, dir, with } => Command::Set { key: key(path), dir: *dir, content: content(with) },
        Ask::Create { path, dir, with } => {
            Command::Create { key: key(path), dir: *dir, content: content(with) }
        }
        Ask::InOrder { path, dir, with } => {
            Command::CreateInOrder { dir_key: key(path), dir: *dir, content: content(with) }
        }
        Ask::Update { path, with } => Command::Update { key: key(path), content: content(with) },
        Ask::Swap { path, like, with } => {
            Command::CompareAndSwap { key: key(path), compare: compare(like), content: content(with) }
        }
        Ask::Delete { path, dir, recursive } => {
            Command::Delete { key: key(path), dir: *dir || *recursive, recursive: *recursive }
        }
        Ask::CompareAndDelete { path, like } => {
            Command::CompareAndDelete { key: key(path), compare: compare(like) }
        }
        Ask::Expire => Command::Expire,
    }
}

fn listing(keyspace: &Keyspace, path: &Path, recursive: bool, clock: i64) -> Result<String, No> {
    let listing = keyspace.listing(&key(path), recursive, clock);
    let json = listing.map(|mut listing| listing.next_piece(usize::MAX));
    json.map(|json| String::from_utf8(json).expect("JSON")).map_err(|refusal| no(&refusal.error))
}

fn no(error: &KeyError) -> No {
    (error.code(), String::from_utf8(error.cause()).expect("the words are text"))
}

fn words(event: &Event) -> String {
    String::from_utf8(event.encoded()).expect("JSON")
}

// ---- random requests

fn path() -> impl Strategy<Value = Path> {
    // Names that sort on either side of the slash, one that hides, and few of each so that requests meet.
    vec(prop::sample::select(vec!["a", "b", "a!", "a0", "_h"]), 0..4)
}

fn with() -> impl Strategy<Value = With> {
    let value = prop::sample::select(vec!["", "x", "y"]);
    let ttl = prop_oneof![3 => Just(None), 2 => (0u64..4).prop_map(Some)];
    (value, ttl, prop::bool::weighted(0.2)).prop_map(|(value, ttl, refresh)| With { value, ttl, refresh })
}

fn like() -> impl Strategy<Value = Like> {
    let value = prop::option::of(prop::sample::select(vec!["", "x", "y"]));
    (value, prop::option::weighted(0.3, 1u64..20)).prop_map(|(value, index)| Like { value, index })
}

fn ask() -> impl Strategy<Value = Ask> {
    let flag = any::<bool>;
    prop_oneof![
        6 => (path(), prop::bool::weighted(0.2), with()).prop_map(|(path, dir, with)| Ask::Set { path, dir, with }),
        3 => (path(), flag(), with()).prop_map(|(path, dir, with)| Ask::Create { path, dir, with }),
        2 => (path(), flag(), with()).prop_map(|(path, dir, with)| Ask::InOrder { path, dir, with }),
        3 => (path(), with()).prop_map(|(path, with)| Ask::Update { path, with }),
        3 => (path(), like(), with()).prop_map(|(path, like, with)| Ask::Swap { path, like, with }),
        3 => (path(), flag(), flag()).prop_map(|(path, dir, recursive)| Ask::Delete { path, dir, recursive }),
        2 => (path(), like()).prop_map(|(path, like)| Ask::CompareAndDelete { path, like }),
        1 => Just(Ask::Expire),
    ]
}

/// A request, how long after the one before it comes (in quarters of a second), and what is looked at afterwards.
type Step = (Ask, i64, (Path, bool, u64));

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![5 => Just(0i64), 3 => 1i64..6];
    vec((ask(), pause, (path(), any::<bool>(), 0u64..40)), 1..60)
}

/// Lets both do one step and compares all that either says.
fn step(naive: &mut Naive, keyspace: &mut Keyspace, (ask, pause, look): &Step) -> Result<(), TestCaseError> {
    let known = naive.told.len();
    naive.pass(pause * NANOS / 4);
    let expected = naive.take(ask);
    let mut changes = Vec::new();
    let stamp = Stamp { clock: naive.now, wall: WALL + naive.now };
    let result = keyspace.apply(&command(ask), stamp, &mut changes);

    // The answer.
    match (&expected, &result) {
        (Ok(()), Ok(applied)) => {
            prop_assert_eq!(applied.index, naive.index);
            let told = if matches!(ask, Ask::Expire) { None } else { naive.told.last() };
            let told = told.map(|told| naive.told_as_json(told));
            prop_assert_eq!(applied.event.as_deref().map(words), told);
        }
        (Err(expected), Err(refusal)) => {
            prop_assert_eq!(&no(&refusal.error), expected);
            prop_assert_eq!(refusal.index, naive.index);
        }
        _ => prop_assert!(false, "{:?}: {:?} instead of {:?}", ask, result, expected),
    }
    // What watchers hear: what ran out first, and then the change.
    let told = &naive.told[known..];
    prop_assert_eq!(changes.len(), told.len());
    for (change, told) in changes.iter().zip(told) {
        prop_assert_eq!(words(&change.event), naive.told_as_json(told));
        prop_assert_eq!((change.event.index, change.event.silent), (told.index, told.silent));
        let removed: Vec<Key> = told.removed.iter().map(|path| key(path)).collect();
        prop_assert_eq!(&change.removed, &removed);
    }
    // What is there.
    let (path, recursive, back) = look;
    let read = |path: &Path, recursive| {
        (listing(keyspace, path, recursive, naive.now), naive.listing(path, recursive))
    };
    let (found, expected) = read(path, *recursive);
    prop_assert_eq!(found, expected, "{}", shown(path));
    let (found, expected) = read(&Path::new(), true);
    prop_assert_eq!(found, expected);
    prop_assert_eq!(keyspace.len(), naive.items.len());
    prop_assert_eq!(keyspace.is_empty(), naive.items.is_empty());
    let directories = naive.items.values().filter(|item| item.value.is_none()).count();
    let bytes =
        |(path, item): (&Path, &Item)| written(path).len() + item.value.as_ref().map_or(0, String::len);
    let bytes = naive.items.iter().map(bytes).sum::<usize>() as u64;
    prop_assert_eq!(keyspace.extent(), Extent { directories, bytes });
    let deadlines: Vec<i64> = naive.items.values().filter_map(|item| item.deadline).collect();
    prop_assert_eq!(keyspace.mortal(), deadlines.len());
    prop_assert_eq!(keyspace.next_expiry(), deadlines.iter().min().copied());
    // What happened.
    let since = (naive.index + 2).saturating_sub(*back);
    let scanned = keyspace.history().scan(key(path).as_bytes(), *recursive, since, keyspace.index());
    let scanned = scanned.map(|event| event.as_deref().map(words)).map_err(|error| no(&error));
    let expected = naive.scan(path, *recursive, since).map(|told| told.map(|told| naive.told_as_json(told)));
    prop_assert_eq!(scanned, expected, "{} since {}", shown(path), since);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_do_what_a_map_and_a_list_would(steps in steps()) {
        let (mut naive, mut keyspace) = (Naive::default(), Keyspace::new(REMEMBERED));
        for one in &steps {
            step(&mut naive, &mut keyspace, one)?;
        }
    }

    #[test]
    fn the_same_commands_with_the_same_stamps_give_the_same_everywhere(steps in steps()) {
        let mut naive = Naive::default();
        let mut replicas = [Keyspace::new(REMEMBERED), Keyspace::new(REMEMBERED)];
        for one in &steps {
            // The second has been restarted from a snapshot after every step.
            let mut copy = Keyspace::new(REMEMBERED);
            for record in replicas[1].freeze().records() {
                let bytes = postcard::to_allocvec(&record).expect("a record");
                copy.restore(postcard::from_bytes(&bytes).expect("the record again")).expect("a restored record");
            }
            replicas[1] = copy;
            naive.pass(one.1 * NANOS / 4);
            let stamp = Stamp { clock: naive.now, wall: WALL + naive.now };
            let (mut one_changes, mut other_changes) = (Vec::new(), Vec::new());
            let first = replicas[0].apply(&command(&one.0), stamp, &mut one_changes);
            let second = replicas[1].apply(&command(&one.0), stamp, &mut other_changes);
            prop_assert_eq!(first, second);
            prop_assert_eq!(one_changes, other_changes);
        }
        let [first, second] = replicas.map(|replica| replica.freeze().records().collect::<Vec<_>>());
        prop_assert_eq!(first, second);
    }
}
