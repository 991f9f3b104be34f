//! Users and roles beside two maps, under random commands, and every right beside what its pattern says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::keyspace::{Blob, Counters, Tally};

/// Users with their passwords and their roles, roles with what may be read and written.
#[derive(Debug, Default)]
struct Naive {
    users: BTreeMap<String, (&'static str, Option<Vec<String>>)>,
    roles: BTreeMap<String, [Vec<String>; 2]>,
    enabled: bool,
    index: u64,
    used: bool,
}

const NAMES: [&str; 5] = ["root", "guest", "a", "b", "_x"];
const PATTERNS: [&str; 5] = ["/*", "/a", "/a*", "/a/*", "/b/c"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES.to_vec()).prop_map(String::from)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 0..3)
}

fn patterns() -> impl Strategy<Value = Option<Vec<String>>> {
    let pattern = prop::sample::select(PATTERNS.to_vec()).prop_map(String::from);
    prop::option::weighted(0.7, vec(pattern, 0..3))
}

fn permissions() -> impl Strategy<Value = Permissions> {
    (patterns(), patterns()).prop_map(|(read, write)| Permissions { read, write })
}

fn hash() -> impl Strategy<Value = Option<PasswordHash>> {
    let hash = prop::sample::select(vec!["one", "two"]).prop_map(PasswordHash::new);
    prop::option::weighted(0.8, hash)
}

fn command() -> impl Strategy<Value = AuthCommand> {
    let role = permissions().prop_map(|permissions| Role { permissions, grant: None, revoke: None });
    prop_oneof![
        3 => (name(), hash(), vec(name(), 1..3))
            .prop_map(|(name, hash, roles)| AuthCommand::CreateUser { name, hash, roles }),
        3 => (name(), hash()).prop_map(|(name, hash)| AuthCommand::PutUser { name, hash, roles: None }),
        4 => (name(), hash(), names(), names())
            .prop_map(|(name, hash, grant, revoke)| AuthCommand::UpdateUser { name, hash, grant, revoke }),
        2 => name().prop_map(|name| AuthCommand::DeleteUser { name: Blob::from(name.as_bytes()) }),
        3 => (name(), role).prop_map(|(name, role)| AuthCommand::CreateRole { name, role }),
        4 => (name(), prop::option::of(permissions()), prop::option::of(permissions()))
            .prop_map(|(name, grant, revoke)| AuthCommand::UpdateRole { name, grant, revoke }),
        2 => name().prop_map(|name| AuthCommand::DeleteRole { name: Blob::from(name.as_bytes()) }),
        2 => Just(AuthCommand::Enable),
        1 => Just(AuthCommand::Disable),
    ]
}

/// Adds some to others, of which none may be there, and takes some away.
fn changed(old: &[String], add: &[String], take: &[String], all_there: bool) -> Option<Vec<String>> {
    let mut set: BTreeSet<String> = old.iter().cloned().collect();
    let added = add.iter().all(|one| set.insert(one.clone()));
    let missing = take.iter().filter(|one| !set.remove(*one)).count();
    (added && (missing == 0 || !all_there)).then(|| set.into_iter().collect())
}

impl Naive {
    fn with_root(name: &str, roles: Option<&Vec<String>>) -> Vec<String> {
        let mut roles = roles.cloned().unwrap_or_default();
        if name == ROOT && !roles.iter().any(|role| role == ROOT) {
            roles.push(ROOT.into());
        }
        roles
    }

    /// Whether the command is carried out.
    fn take(&mut self, command: &AuthCommand) -> bool {
        let password = |hash: &Option<PasswordHash>| match hash.as_ref().map(PasswordHash::as_str) {
            Some("one") => Some("one"),
            Some(_) => Some("two"),
            None => None,
        };
        let prepared = match command {
            // These are looked at before anything is written.
            AuthCommand::CreateUser { hash: None, .. } => false,
            AuthCommand::CreateRole { name, .. } | AuthCommand::UpdateRole { name, .. } if name == ROOT => {
                false
            }
            AuthCommand::DeleteRole { name } if **name == *ROOT.as_bytes() => false,
            AuthCommand::DeleteUser { name } => !(self.enabled && **name == *ROOT.as_bytes()),
            AuthCommand::PutUser { name, hash, .. } => self.users.contains_key(name) || hash.is_some(),
            AuthCommand::CreateUser { .. }
            | AuthCommand::CreateRole { .. }
            | AuthCommand::DeleteRole { .. } => true,
            AuthCommand::UpdateUser { .. } | AuthCommand::UpdateRole { .. } => true,
            AuthCommand::Enable | AuthCommand::Disable => true,
        };
        if !prepared {
            return false;
        }
        let done = match command {
            AuthCommand::CreateUser { name, hash, roles } => {
                let is_new = !self.users.contains_key(name);
                if let (true, Some(password)) = (is_new, password(hash)) {
                    let roles = Some(Self::with_root(name, Some(roles)));
                    self.users.insert(name.clone(), (password, roles));
                }
                self.writes();
                is_new
            }
            AuthCommand::PutUser { name, hash, .. } if self.users.contains_key(name) => {
                let (name, hash) = (name.clone(), hash.clone());
                let (grant, revoke) = (Vec::new(), Vec::new());
                return self.take(&AuthCommand::UpdateUser { name, hash, grant, revoke });
            }
            AuthCommand::PutUser { name, hash, .. } => {
                let roles = (name == ROOT).then(|| vec![ROOT.to_string()]);
                self.users.insert(name.clone(), (password(hash).unwrap_or_default(), roles));
                true
            }
            AuthCommand::UpdateUser { name, hash, grant, revoke } => {
                let Some(user) = self.users.get_mut(name) else { return false };
                let before = Self::with_root(name, user.1.as_ref());
                let Some(roles) = changed(&before, grant, revoke, true) else { return false };
                let is_same = roles == before && (user.1.is_some() || !before.is_empty());
                if hash.is_none() && is_same {
                    return false;
                }
                *user = (password(hash).unwrap_or(user.0), Some(roles));
                true
            }
            AuthCommand::DeleteUser { name } => {
                let removed = self.users.remove(std::str::from_utf8(name).expect("a name")).is_some();
                self.writes();
                removed
            }
            AuthCommand::CreateRole { name, role } => {
                let is_new = !self.roles.contains_key(name);
                if is_new {
                    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
                    let rights = [list(&role.permissions.read), list(&role.permissions.write)];
                    self.roles.insert(name.clone(), rights);
                }
                self.writes();
                is_new
            }
            AuthCommand::UpdateRole { .. } => return self.update_role(command),
            AuthCommand::DeleteRole { name } => {
                let removed = self.roles.remove(std::str::from_utf8(name).expect("a name")).is_some();
                self.writes();
                removed
            }
            AuthCommand::Enable => {
                let possible = !self.enabled && self.users.contains_key(ROOT);
                if possible && !self.roles.contains_key(GUEST) {
                    self.writes();
                    self.index += 1;
                    self.roles.insert(GUEST.into(), [vec!["/*".into()], vec!["/*".into()]]);
                }
                self.enabled |= possible;
                possible
            }
            AuthCommand::Disable => std::mem::take(&mut self.enabled),
        };
        if done {
            self.writes();
            self.index += 1;
        }
        done
    }

    /// A role keeps no pattern twice; whether that is a change is said by the keyspace alone, which knows the order in
    /// which patterns were given.
    fn update_role(&mut self, command: &AuthCommand) -> bool {
        let AuthCommand::UpdateRole { name, grant, revoke } = command else { return false };
        let Some(old) = self.roles.get(name).cloned() else { return false };
        let part = |permissions: &Option<Permissions>, write: bool| {
            let list =
                permissions.as_ref().and_then(|p| if write { p.write.clone() } else { p.read.clone() });
            list.unwrap_or_default()
        };
        let new =
            |write: bool| changed(&old[usize::from(write)], &part(grant, write), &part(revoke, write), false);
        let (Some(read), Some(write)) = (new(false), new(true)) else { return false };
        self.roles.insert(name.clone(), [read, write]);
        true
    }

    /// The first write makes four more.
    fn writes(&mut self) {
        if !std::mem::replace(&mut self.used, true) {
            self.index += FIRST_STEPS;
        }
    }

    /// Whether somebody may do something, by reading the patterns as a person would.
    fn allows(&self, who: Option<&str>, path: &str, recursive: bool, write: bool) -> bool {
        let roles = match who {
            None => vec![GUEST.to_string()],
            Some(name) => match self.users.get(name) {
                Some((_, roles)) => Self::with_root(name, roles.as_ref()),
                None => return false,
            },
        };
        // A guest may list what he may read.
        let recursive = recursive && who.is_some();
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => !recursive && pattern == path,
        };
        let allows = |role: &String| {
            role == ROOT
                || self.roles.get(role).is_some_and(|rights| rights[usize::from(write)].iter().any(fits))
        };
        roles.iter().any(allows)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_do_what_two_maps_would(commands in vec(command(), 1..40)) {
        let (mut naive, mut auth, mut counters, mut index) = (Naive::default(), Auth::default(), Counters::default(), 0);
        for command in &commands {
            let known = auth.clone();
            let outcome = auth.apply(command, &mut counters);
            index += outcome.steps;
            if let (AuthCommand::UpdateRole { .. }, Err(AuthError::RoleUnchanged)) = (command, &outcome.result) {
                prop_assert_eq!(&auth, &known);
                continue;
            }
            let done = naive.take(command);
            if let AuthCommand::UpdateRole { .. } = command {
                naive.index = index;
                naive.used = auth.is_used();
            }
            prop_assert_eq!(outcome.result.is_ok(), done, "{:?}: {:?}", command, outcome.result);
            prop_assert_eq!(index, naive.index, "{:?}", command);
            prop_assert_eq!((auth.is_enabled(), auth.is_used()), (naive.enabled, naive.used));
            for name in NAMES {
                let user = auth.user(name.as_bytes()).map(|(_, user)| user);
                prop_assert_eq!(user.map(|user| user.hash.as_str()), naive.users.get(name).map(|user| user.0));
                let roles: Option<Vec<String>> = user.map(|user| user.roles(name).map(String::from).collect());
                let expected = naive.users.get(name).map(|user| Naive::with_root(name, user.1.as_ref()));
                prop_assert_eq!(roles, expected, "{} after {:?}", name, command);
            }
            let visible: Vec<&str> = naive.users.keys().map(String::as_str).filter(|name| *name != "_x").collect();
            prop_assert_eq!(auth.users().map(|(name, _)| name).collect::<Vec<_>>(), visible);
        }
        for who in [None, Some("root"), Some("a"), Some("b"), Some("nobody")] {
            for path in ["/", "/a", "/a/", "/a/b", "/ab", "/b/c", "/b"] {
                for (recursive, write) in [(false, false), (false, true), (true, false), (true, true)] {
                    let access = Access { path: path.as_bytes(), recursive, write };
                    let asks = who.map_or(Who::Guest, Who::User);
                    let allowed = auth.allows(asks, access, &mut Tally::default());
                    prop_assert_eq!(allowed, naive.allows(who, path, recursive, write), "{:?}: {:?}", who, access);
                }
            }
        }
    }

    #[test]
    fn users_and_roles_come_back_from_a_snapshot_as_they_were(commands in vec(command(), 1..20)) {
        let (mut auth, mut counters) = (Auth::default(), Counters::default());
        for command in &commands {
            auth.apply(command, &mut counters);
            let bytes = postcard::to_allocvec(command).expect("a command");
            prop_assert_eq!(&postcard::from_bytes::<AuthCommand>(&bytes).expect("the command again"), command);
            prop_assert!(command.weight() >= bytes.len() / 2, "{} for {} bytes", command.weight(), bytes.len());
        }
        let bytes = postcard::to_allocvec(&auth).expect("users and roles");
        prop_assert_eq!(postcard::from_bytes::<Auth>(&bytes).expect("the same again"), auth);
    }

    #[test]
    fn a_refused_command_changes_nothing_but_the_places_for_the_records(commands in vec(command(), 1..30)) {
        let (mut auth, mut counters) = (Auth::default(), Counters::default());
        for command in &commands {
            let (before, outcome) = (auth.clone(), auth.apply(command, &mut counters));
            if outcome.result.is_err() {
                let steps = if before.is_used() { 0 } else { outcome.steps };
                prop_assert!(outcome.steps == steps && [0, FIRST_STEPS].contains(&steps), "{:?}", command);
                prop_assert_eq!(Auth { used: before.used, ..auth.clone() }, before);
            }
        }
    }
}

#[test]
fn a_password_is_shown_to_nobody_who_debugs() {
    let command = AuthCommand::CreateUser {
        name: "a".into(),
        hash: Some(PasswordHash::new("$2b$10$secret")),
        roles: vec!["r".into()],
    };
    let shown = format!("{command:?}");
    assert!(shown.contains("\"a\"") && !shown.contains("secret"), "{shown}");
}
