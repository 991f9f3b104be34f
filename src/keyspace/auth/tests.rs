use super::*;
use crate::clock::Stamp;
use crate::keyspace::{Applied, Command, Keyspace, Tally};

fn hash(text: &str) -> Option<PasswordHash> {
    Some(PasswordHash::new(text))
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| text.to_string()).collect()
}

fn user(name: &str, roles: &[&str]) -> AuthCommand {
    let name = name.to_string();
    if roles.is_empty() {
        AuthCommand::PutUser { name, hash: hash("h"), roles: None }
    } else {
        AuthCommand::CreateUser { name, hash: hash("h"), roles: texts(roles) }
    }
}

fn change(name: &str, grant: &[&str], revoke: &[&str]) -> AuthCommand {
    AuthCommand::UpdateUser { name: name.into(), hash: None, grant: texts(grant), revoke: texts(revoke) }
}

fn may(read: &[&str], write: &[&str]) -> Permissions {
    Permissions { read: Some(texts(read)), write: Some(texts(write)) }
}

fn role(name: &str, read: &[&str], write: &[&str]) -> AuthCommand {
    let role = Role { permissions: may(read, write), ..Role::default() };
    AuthCommand::CreateRole { name: name.into(), role }
}

fn delete_user(name: &str) -> AuthCommand {
    AuthCommand::DeleteUser { name: name.into() }
}

struct Fixture(Keyspace);

impl Fixture {
    fn new() -> Self {
        Self(Keyspace::new(1000))
    }

    fn apply(&mut self, command: AuthCommand) -> Result<Reply, AuthError> {
        let command = Command::Auth(Box::new(command));
        let Applied { event, index, auth } =
            self.0.apply(&command, Stamp::default(), &mut Vec::new()).unwrap();
        assert_eq!((event, index), (None, self.0.index()));
        *auth.expect("an answer")
    }

    /// Applies all, none of which may be refused.
    fn done(&mut self, commands: impl IntoIterator<Item = AuthCommand>) -> &mut Self {
        for command in commands {
            let shown = format!("{command:?}");
            assert!(self.apply(command).is_ok(), "{shown}");
        }
        self
    }

    fn refused(&mut self, command: AuthCommand) -> AuthError {
        self.apply(command).unwrap_err()
    }

    fn roles(&self, name: &str) -> Vec<String> {
        let (name, user) = self.0.auth().user(name.as_bytes()).unwrap();
        user.roles(name).map(str::to_string).collect()
    }

    fn allows(&self, who: Who, path: &str, recursive: bool, write: bool) -> bool {
        let access = Access { path: path.as_bytes(), recursive, write };
        self.0.auth().allows(who, access, &mut Tally::default())
    }
}

#[test]
fn every_change_takes_one_index_and_the_first_write_four_more() {
    let mut f = Fixture::new();
    f.done([user("a", &[])]);
    assert_eq!(f.0.index(), 5);
    f.done([role("r", &[], &[])]);
    assert_eq!(f.0.index(), 6);
    f.refused(user("b", &["x"]).clone_without_password());
    f.refused(delete_user("nobody"));
    assert_eq!(f.0.index(), 6);
    f.done([delete_user("a")]);
    assert_eq!(f.0.index(), 7);
}

#[test]
fn a_refused_removal_may_be_the_first_write() {
    let mut f = Fixture::new();
    let before = f.0.auth().clone();
    assert_eq!(f.refused(delete_user("a")), AuthError::NoUserToRemove { name: "a".into() });
    assert_eq!((f.0.index(), f.0.auth().is_used()), (4, true));
    assert_ne!(*f.0.auth(), before);
    f.refused(delete_user("a"));
    assert_eq!(f.0.index(), 4);
}

#[test]
fn conditions_that_fail_before_the_first_write_take_no_index() {
    let mut f = Fixture::new();
    assert_eq!(f.refused(change("a", &["r"], &[])), AuthError::NoUser { name: "a".into() });
    let grant = Some(may(&["/a"], &[]));
    let update = AuthCommand::UpdateRole { name: "r".into(), grant, revoke: None };
    assert_eq!(f.refused(update), AuthError::NoRole { name: "r".into() });
    assert_eq!(f.refused(AuthCommand::Enable), AuthError::NoRootUser);
    assert_eq!(f.refused(AuthCommand::Disable), AuthError::AlreadyDisabled);
    assert_eq!((f.0.index(), f.0.auth().is_used()), (0, false));
}

#[test]
fn enabling_makes_the_guest_role_when_it_is_missing() {
    let mut f = Fixture::new();
    f.done([user("root", &[]), AuthCommand::Enable]);
    assert_eq!(f.0.index(), 7);
    assert!(f.0.auth().is_enabled());
    assert_eq!(f.0.auth().role_names(), ["guest", "root"]);
    assert!(f.allows(Who::Guest, "/a", false, true));
    assert_eq!(f.refused(AuthCommand::Enable), AuthError::AlreadyEnabled);
    assert_eq!(f.refused(delete_user("root")), AuthError::RootNeeded);
    f.done([AuthCommand::Disable, AuthCommand::Enable]);
    assert_eq!(f.0.index(), 9);
}

#[test]
fn user_root_has_role_root_whatever_is_taken_from_it() {
    let mut f = Fixture::new();
    f.done([user("root", &["a"])]);
    assert_eq!(f.roles("root"), ["a", "root"]);
    f.done([change("root", &[], &["root"]), change("root", &[], &["root"])]);
    assert_eq!(f.roles("root"), ["a", "root"]);
    assert!(matches!(f.refused(change("root", &["root"], &[])), AuthError::RoleGranted { .. }));
    assert!(f.0.auth().is_root("root"));
}

#[test]
fn roles_of_a_user_are_granted_and_revoked_once() {
    let mut f = Fixture::new();
    f.done([user("a", &["y", "x", "x"])]);
    assert_eq!(f.roles("a"), ["y", "x", "x"]);
    f.done([change("a", &["b"], &["y"])]);
    assert_eq!(f.roles("a"), ["b", "x"]);
    let again = f.refused(change("a", &["x"], &[]));
    assert_eq!(again, AuthError::RoleGranted { user: "a".into(), role: "x".into() });
    let never = f.refused(change("a", &[], &["n"]));
    assert_eq!(never, AuthError::RoleNotGranted { user: "a".into(), role: "n".into() });
    assert_eq!(f.refused(change("a", &["n"], &["n"])), AuthError::UserUnchanged);
}

#[test]
fn a_user_without_roles_is_changed_once_by_nothing() {
    let mut f = Fixture::new();
    let nothing = || AuthCommand::PutUser { name: "a".into(), hash: None, roles: None };
    assert_eq!(f.refused(nothing()), AuthError::EmptyPassword { name: "a".into() });
    f.done([user("a", &[]), nothing()]);
    assert_eq!(f.refused(nothing()), AuthError::UserUnchanged);
    let other = AuthCommand::PutUser { name: "a".into(), hash: hash("other"), roles: None };
    assert_eq!(f.apply(other), Ok(Reply::User { name: "a".into(), roles: Some(vec![]), created: false }));
    assert_eq!(f.0.auth().user(b"a").unwrap().1.hash.as_str(), "other");
}

#[test]
fn permissions_are_sorted_by_a_change_and_duplicates_refused() {
    let mut f = Fixture::new();
    f.done([role("r", &["/b", "/a"], &[])]);
    let update = |grant, revoke| AuthCommand::UpdateRole { name: "r".into(), grant, revoke };
    let duplicate = f.refused(update(Some(may(&["/a"], &[])), None));
    assert_eq!(duplicate, AuthError::ReadGranted { pattern: "/a".into() });
    f.done([update(None, Some(may(&["/none"], &[])))]);
    assert_eq!(f.0.auth().role(b"r").unwrap().permissions, may(&["/a", "/b"], &[]));
    assert_eq!(f.refused(update(None, Some(may(&["/none"], &[])))), AuthError::RoleUnchanged);
    f.done([update(Some(may(&[], &["/w"])), Some(may(&["/a"], &[])))]);
    assert_eq!(f.0.auth().role(b"r").unwrap().permissions, may(&["/b"], &["/w"]));
    for command in [role("root", &[], &[]), AuthCommand::DeleteRole { name: "root".into() }] {
        assert_eq!(f.refused(command), AuthError::RootRole);
    }
}

#[test]
fn patterns_end_in_a_star_or_are_meant_as_written() {
    let mut f = Fixture::new();
    f.done([role("r", &["/x/*", "/exact", ""], &["/w*"]), user("a", &["missing", "r"])]);
    let a = Who::User("a");
    assert!(f.allows(a, "/x/y", false, false) && f.allows(a, "/x/y/z", true, false));
    assert!(!f.allows(a, "/x", false, false), "the prefix ends in a slash");
    assert!(f.allows(a, "/x/", true, false) && !f.allows(a, "/x", true, false));
    assert!(f.allows(a, "/exact", false, false) && !f.allows(a, "/exact/", false, false));
    assert!(!f.allows(a, "/exact", true, false), "a whole directory needs a star");
    assert!(f.allows(a, "/wxyz", true, true) && !f.allows(a, "/wxyz", false, false));
    assert!(!f.allows(a, "/x/y", false, true));
    assert!(!f.allows(a, "", false, false), "an empty pattern means nothing");
}

#[test]
fn a_guest_is_judged_by_a_role_of_its_own_and_a_user_never_by_that() {
    let mut f = Fixture::new();
    assert!(!f.allows(Who::Guest, "/a", false, false), "there is no such role yet");
    f.done([role("guest", &["/a"], &[]), user("a", &[])]);
    assert!(f.allows(Who::Guest, "/a", true, false), "to a guest a star makes no difference");
    assert!(!f.allows(Who::User("a"), "/a", false, false));
    assert!(!f.allows(Who::User("nobody"), "/a", false, false));
}

#[test]
fn hidden_names_are_left_out_of_lists() {
    let mut f = Fixture::new();
    f.done([user("_u", &[]), user("b", &[]), user("a", &[]), role("_r", &[], &[]), role("z", &[], &[])]);
    assert_eq!(f.0.auth().users().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(f.0.auth().role_names(), ["root", "z"]);
    assert!(f.0.auth().user(b"_u").is_some() && f.0.auth().role(b"_r").is_some());
    assert!(f.0.auth().user(b"\xff").is_none());
}

#[test]
fn hashes_do_not_show_in_logs() {
    assert!(!format!("{:?}", user("a", &["r"])).contains("\"h\""));
}

#[test]
fn a_snapshot_brings_everything_back() {
    let mut f = Fixture::new();
    f.done([user("root", &[]), role("r", &["/a"], &[]), user("a", &["r"]), AuthCommand::Enable]);
    let mut restored = Keyspace::new(1000);
    f.0.freeze().records().for_each(|record| restored.restore(record).unwrap());
    assert_eq!(restored.auth(), f.0.auth());
    assert_eq!(restored.counters(), f.0.counters());
}

impl AuthCommand {
    fn clone_without_password(&self) -> Self {
        match self.clone() {
            Self::CreateUser { name, roles, .. } => Self::CreateUser { name, hash: None, roles },
            other => other,
        }
    }
}

#[test]
fn users_and_roles_grow_no_larger_than_a_record_may_be_and_what_makes_them_smaller_is_always_taken() {
    let mut fixture = Fixture::new();
    let patterns = |from: usize| -> Vec<String> {
        (from..from + 1000).map(|number| format!("/{number:04}{}", "x".repeat(1000))).collect()
    };
    let grant = |from: usize| AuthCommand::UpdateRole {
        name: "large".into(),
        grant: Some(Permissions { read: Some(patterns(from)), write: None }),
        revoke: None,
    };
    fixture.done([role("large", &[], &[]), user("one", &["a"])]);
    let granted = (0..).take_while(|round| fixture.apply(grant(round * 1000)).is_ok()).count();
    assert_eq!(granted, AUTH_BYTES / 1_013_000);
    // What there is was counted for no less than it takes.
    let auth = fixture.0.auth().clone();
    let encoded = crate::format::encode(&*auth).unwrap().len();
    assert!(encoded <= auth.weight() && auth.weight() <= AUTH_BYTES, "{encoded}, {}", auth.weight());
    let index = fixture.0.index();
    let large = "y".repeat(1_000_000);
    for refused in
        [grant(50_000), user(&large, &["a"]), role(&large, &[], &[]), change("one", &[&large], &[])]
    {
        assert_eq!(fixture.apply(refused), Err(AuthError::TooLarge));
    }
    assert_eq!((fixture.0.index(), fixture.0.auth().clone()), (index, auth), "nothing has changed");
    let revoke = AuthCommand::UpdateRole {
        name: "large".into(),
        grant: None,
        revoke: Some(Permissions { read: Some(patterns(0)), write: None }),
    };
    let password =
        AuthCommand::UpdateUser { name: "one".into(), hash: hash("i"), grant: vec![], revoke: vec![] };
    fixture.done([user("two", &["a"]), password, delete_user("two"), revoke, user(&large, &["a"])]);
}
