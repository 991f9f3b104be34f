//! Users, roles and access control.

use super::four::Four;

/// Command line, standard input, exit status.
type Row = (&'static [&'static str], &'static str, i32);

const BEFORE: [Row; 50] = [
    (&["user", "list"], "", 0),
    (&["role", "list"], "", 0),
    (&["auth", "enable"], "", 1),
    (&["auth", "disable"], "", 1),
    (&["user", "get", "nobody"], "", 1),
    (&["user", "add"], "", 1),
    (&["user", "add", "a", "b"], "", 1),
    (&["user", "add", "ann:secret"], "", 0),
    (&["user", "add", "bob"], "hidden\n", 0),
    (&["user", "add", "eve"], "", 1),
    (&["user", "add", "eve"], "\n", 1),
    (&["user", "list"], "", 0),
    (&["-o", "json", "user", "list"], "", 0),
    (&["user", "list", "x"], "", 1),
    (&["user", "get", "ann"], "", 0),
    (&["user", "passwd", "bob"], "other\n", 0),
    (&["user", "passwd", "bob"], "", 1),
    (&["user", "passwd", "nobody"], "other\n", 1),
    (&["user", "remove", "nobody"], "", 1),
    (&["user", "add", "ann:again"], "", 0),
    (&["role", "add", "reader"], "", 0),
    (&["role", "add", "reader"], "", 1),
    (&["role", "add", "root"], "", 1),
    (&["role", "add"], "", 1),
    (&["role", "get", "reader"], "", 0),
    (&["role", "get", "nothing"], "", 1),
    (&["role", "get", "root"], "", 0),
    (&["role", "list"], "", 0),
    (&["role", "grant", "reader"], "", 1),
    (&["role", "grant", "reader", "--path", "x", "--read"], "", 1),
    (&["role", "grant", "reader", "--path", "/x"], "", 1),
    (&["role", "grant", "reader", "--path", "/x", "--read", "--write"], "", 1),
    (&["role", "grant", "reader", "--path", "/x/*", "--read"], "", 0),
    (&["role", "grant", "reader", "--path", "/x/*", "--read"], "", 1),
    (&["role", "grant", "reader", "--path", "/y", "--rw"], "", 0),
    (&["role", "grant", "reader", "-path", "/z", "-write"], "", 0),
    (&["role", "grant", "nothing", "--path", "/y", "--readwrite"], "", 1),
    (&["role", "get", "reader"], "", 0),
    (&["role", "revoke", "reader", "--path", "/y", "--write"], "", 0),
    (&["role", "revoke", "reader", "--path", "/none", "--read"], "", 1),
    (&["role", "get", "reader"], "", 0),
    (&["user", "grant", "ann"], "", 1),
    (&["user", "grant", "ann", "--roles", "reader"], "", 0),
    (&["user", "grant", "ann", "--roles", "reader"], "", 1),
    (&["user", "grant", "ann", "--roles", "a", "--roles", "b,c"], "", 0),
    (&["user", "revoke", "ann", "--roles", "a", "--roles", "b,c"], "", 0),
    (&["user", "revoke", "ann", "--roles", "a"], "", 1),
    (&["user", "grant", "nobody", "--roles", "reader"], "", 1),
    (&["user", "get", "ann"], "", 0),
    (&["user", "add", "root:r"], "", 0),
];

const DURING: [Row; 22] = [
    (&["auth", "enable"], "", 0),
    (&["-u", "root:r", "auth", "enable"], "", 1),
    (&["user", "list"], "", 1),
    (&["-u", "ann:again", "user", "list"], "", 1),
    (&["-u", "root:r", "user", "list"], "", 0),
    (&["--username", "root", "user", "list"], "r\n", 0),
    (&["-u", "root", "user", "list"], "wrong\n", 1),
    (&["-u", "root:r", "role", "list"], "", 0),
    (&["-u", "root:r", "role", "revoke", "guest", "--path", "/*", "--readwrite"], "", 0),
    (&["set", "/x/a", "1"], "", 4),
    (&["-u", "ann:again", "set", "/x/a", "1"], "", 4),
    (&["-u", "root:r", "set", "/x/a", "1"], "", 0),
    (&["-u", "ann:again", "get", "/x/a"], "", 0),
    (&["-u", "ann:wrong", "get", "/x/a"], "", 4),
    (&["-u", "ann:again", "ls", "-r", "/x"], "", 4),
    (&["-u", "ann:again", "ls", "-r", "/x/"], "", 0),
    (&["get", "/x/a"], "", 4),
    (&["-u", "ann:again", "watch", "/w"], "", 4),
    (&["member", "list"], "", 0),
    (&["-u", "root:r", "user", "remove", "root"], "", 1),
    (&["-u", "ann:again", "auth", "disable"], "", 1),
    (&["-u", "root:r", "auth", "disable"], "", 0),
];

const AFTER: [Row; 6] = [
    (&["set", "/x/a", "2"], "", 0),
    (&["role", "remove", "reader"], "", 0),
    (&["role", "remove", "reader"], "", 1),
    (&["user", "remove", "ann"], "", 0),
    (&["user", "list"], "", 0),
    (&["role", "list"], "", 0),
];

#[test]
fn users_roles_and_access_are_managed() {
    let Some(four) = Four::start() else { return };
    for (words, input, status) in BEFORE.iter().chain(&DURING).chain(&AFTER) {
        four.run(words, input, *status);
        if words.ends_with(&["passwd", "nobody"]) {
            // etcdctl has created the user all the same.
            four.request("DELETE", "/v2/auth/users/nobody", None);
        }
    }
}
