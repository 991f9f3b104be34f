//! Which source files use which, and the circles among them.
//!
//! A file uses another when it names something that is defined there: a path that begins with `crate`, `super`, `self` or a
//! module of its own is followed, through `use` in the modules on its way, to the file that it ends in. What is only handed
//! on (`pub use`) is no use. A folder's `mod.rs` is its door: it names what lies behind it, and what lies behind it may name
//! what the door itself defines. Doors are therefore part of no circle.

use std::collections::{BTreeMap, BTreeSet};

/// A module by its path: `["raft", "node"]`.
type Module = Vec<String>;

/// Every file as a module, with its code: comments and strings are gone, and tests.
pub struct Sources(BTreeMap<Module, File>);

struct File {
    path: String,
    /// Names that `use` brings in, with what they stand for.
    names: BTreeMap<String, Vec<String>>,
    /// Paths that the file uses itself.
    paths: BTreeSet<Vec<String>>,
}

impl Sources {
    /// Reads `(path below src, code)`.
    pub fn read<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources = BTreeMap::new();
        for (path, code) in files {
            let mut module: Module = path
                .trim_end_matches(".rs")
                .split('/')
                .map(String::from)
                .filter(|part| part != "mod")
                .collect();
            if module == ["lib"] {
                module.clear();
            }
            let mut file = File { path: path.into(), names: BTreeMap::new(), paths: BTreeSet::new() };
            file.take_in(code);
            sources.insert(module, file);
        }
        Self(sources)
    }

    /// Groups of files that use each other all the way round.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let uses: BTreeMap<&Module, BTreeSet<&Module>> = self
            .0
            .iter()
            .filter(|(_, file)| !file.is_door())
            .map(|(module, file)| (module, self.used_by(module, file)))
            .collect();
        let reach = |from: &Module| {
            let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(module) = open.pop() {
                for next in uses.get(module).into_iter().flatten().copied() {
                    if reached.insert(next) {
                        open.push(next);
                    }
                }
            }
            reached
        };
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            uses.keys().map(|module| (*module, reach(module))).collect();
        let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
        for (module, others) in &reached {
            if others.contains(module) {
                let circle = others
                    .iter()
                    .filter(|other| reached.get(**other).is_some_and(|back| back.contains(module)));
                circles.insert(circle.map(|other| self.0[*other].path.as_str()).collect());
            }
        }
        circles.into_iter().collect()
    }

    /// The files that `module` uses, doors left out.
    fn used_by(&self, module: &Module, file: &File) -> BTreeSet<&Module> {
        let ends = file.paths.iter().filter_map(|path| self.end_of(module, path, 0));
        ends.filter(|end| *end != module && !self.0[*end].is_door()).collect()
    }

    /// The file in which `path`, as `module` has it, ends; `None` for what is not of this crate.
    fn end_of(&self, module: &Module, path: &[String], depth: usize) -> Option<&Module> {
        // Names that stand for each other cannot be followed for ever.
        if depth > 10 {
            return None;
        }
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Module::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {}
            first if self.0.contains_key(&child(module, first)) => {}
            _ => return None,
        }
        while rest.first().is_some_and(|part| part == "super") {
            at.pop()?;
            rest = &rest[1..];
        }
        while let Some(below) =
            rest.first().map(|part| child(&at, part)).filter(|below| self.0.contains_key(below))
        {
            (at, rest) = (below, &rest[1..]);
        }
        let (found, file) = self.0.get_key_value(&at)?;
        if let Some(meant) = rest.first().and_then(|name| file.names.get(name)) {
            let whole: Vec<String> = meant.iter().chain(&rest[1..]).cloned().collect();
            return self.end_of(found, &whole, depth + 1);
        }
        Some(found)
    }
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().map(String::as_str).chain([name]).map(String::from).collect()
}

impl File {
    fn is_door(&self) -> bool {
        matches!(self.path.as_str(), "lib.rs" | "main.rs") || self.path.ends_with("mod.rs")
    }

    fn take_in(&mut self, code: &str) {
        let mut rest = code;
        while let Some((before, statement, after)) = next_use(rest) {
            self.take_paths(before);
            let hands_on = before.rsplit(['\n', ';', '}']).next().is_some_and(|line| line.contains("pub"));
            for (path, name) in leaves(statement) {
                self.names.insert(name, path.clone());
                if !hands_on {
                    self.paths.insert(path);
                }
            }
            rest = after;
        }
        self.take_paths(rest);
    }

    /// Paths in expressions, types and macros: words joined by `::`.
    fn take_paths(&mut self, code: &str) {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in code.split(|c: char| !is_part(c)).filter(|word| word.contains("::")) {
            let word = word.trim_start_matches("::").trim_end_matches(':');
            self.paths.insert(word.split("::").map(|part| part.trim_matches(':').into()).collect());
        }
    }
}

/// The next `use` in `code`: what is before it, its tree, what is behind it.
fn next_use(code: &str) -> Option<(&str, &str, &str)> {
    let begins = |at: usize| code[..at].chars().next_back().is_none_or(char::is_whitespace);
    let (at, _) = code.match_indices("use ").find(|(at, _)| begins(*at))?;
    let end = at + code[at..].find(';')?;
    Some((&code[..at], &code[at + 4..end], &code[end + 1..]))
}

/// Every path in a tree such as `a::{b, c::{self, d as e}}`, with the name that it gets.
fn leaves(tree: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    branch(tree, &[], &mut found);
    found
}

fn branch(tree: &str, before: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let parts = |text: &str| {
        let parts = text.split("::").map(str::trim).filter(|part| !part.is_empty()).map(String::from);
        before.iter().cloned().chain(parts).collect::<Vec<String>>()
    };
    if let Some((stem, rest)) = tree.split_once('{') {
        let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
        for twig in twigs(inside) {
            branch(twig, &parts(stem), found);
        }
        return;
    }
    let (path, other_name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let mut path = parts(path);
    if path.last().is_some_and(|last| last == "self" || last == "*") {
        path.pop();
    }
    let Some(last) = path.last().cloned() else { return };
    found.push((path, other_name.map_or(last, |name| name.trim().into())));
}

/// What stands between the commas that are in no braces.
fn twigs(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[begin..]);
    found.into_iter().filter(|twig| !twig.trim().is_empty()).collect()
}

#[test]
fn a_circle_is_found_through_whatever_names_a_file_has() {
    let circles = |files: &[(&str, &str)]| -> Vec<Vec<String>> {
        let sources = Sources::read(files.iter().copied());
        sources.circles().iter().map(|circle| circle.iter().map(|path| path.to_string()).collect()).collect()
    };
    let door = ("a/mod.rs", "mod b;\nmod c;\npub use b::{B, deep as Deep};\npub use c::C;\nstruct Door(B);");
    let b = ("a/b.rs", "use super::{C, Door};\nfn deep() {}");
    let found = [["a/b.rs", "a/c.rs"]];
    for way in [
        "use super::B;",
        "use crate::a::{self, B as Other};",
        "use crate::{a::{b::{self}}};",
        "fn f() -> super::Deep {}",
        "fn f() { crate::a::b::deep() }",
        "use crate::a;\nuse super::b::*;",
    ] {
        assert_eq!(circles(&[door, b, ("a/c.rs", way)]), found, "{way}");
    }
    // The door's own is no circle, nor is handing on, nor what only looks alike.
    for way in ["use super::Door;", "pub use super::b::B;", "use other::a::b::B;", "mod b {}"] {
        assert_eq!(circles(&[door, b, ("a/c.rs", way)]), Vec::<Vec<String>>::new(), "{way}");
    }
    let three = [
        ("x.rs", "use crate::y::Y;"),
        ("y.rs", "use super::z;"),
        ("z.rs", "use crate::x::X;"),
        ("w.rs", "use crate::x::X;"),
    ];
    assert_eq!(circles(&three), [["x.rs", "y.rs", "z.rs"]]);
}
