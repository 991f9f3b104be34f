//! The parameters of requests, and where in a request the API expects them: conditions in the query, value and TTL
//! in the form body, each sorted by name, as etcd's own clients send them.

use url::form_urlencoded::Serializer;

/// How to read a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// Lists directories below directories, to any depth.
    pub recursive: bool,
    /// Lists in the order of keys.
    pub sorted: bool,
    /// `Some(true)`: the answer reflects every write that ended before the request. `Some(false)`: the asked node's
    /// copy will do. `None`: the parameter is not sent and the server decides.
    pub quorum: Option<bool>,
}

impl GetOptions {
    /// A read that decisions may be made on.
    pub fn linearizable() -> Self {
        Self { quorum: Some(true), ..Self::default() }
    }

    pub(super) fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        match self.quorum {
            // As etcd's own client does: all three or none.
            Some(quorum) => {
                optional(&mut query, "quorum", Some(quorum));
                optional(&mut query, "recursive", Some(self.recursive));
                optional(&mut query, "sorted", Some(self.sorted));
            }
            None => {
                flag(&mut query, "recursive", self.recursive);
                flag(&mut query, "sorted", self.sorted);
            }
        }
        query.finish()
    }
}

/// How to write a key. Several conditions at once must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// The value; a file written without one becomes empty. Not with `dir` or `refresh`.
    pub value: Option<String>,
    /// Seconds until the key expires; `None` makes it permanent.
    pub ttl: Option<u64>,
    /// Makes a directory instead of a file.
    pub dir: bool,
    /// Only moves the key's expiry: the value stays and no watcher hears of it. Needs `ttl`; a directory needs
    /// `prev_exist: Some(true)`.
    pub refresh: bool,
    /// The key must (not) exist.
    pub prev_exist: Option<bool>,
    /// The key must have this value, which cannot be empty.
    pub prev_value: Option<String>,
    /// The key's `modified_index` must be this.
    pub prev_index: Option<u64>,
}

impl PutOptions {
    pub(super) fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        flag(&mut query, "dir", self.dir);
        optional(&mut query, "prevExist", self.prev_exist);
        optional(&mut query, "prevIndex", self.prev_index);
        optional(&mut query, "prevValue", self.prev_value.as_ref());
        flag(&mut query, "refresh", self.refresh);
        query.finish()
    }

    pub(super) fn form(&self) -> String {
        let bare = self.dir || self.refresh;
        let value =
            if bare { self.value.as_deref() } else { Some(self.value.as_deref().unwrap_or_default()) };
        form(value, self.ttl)
    }

    /// Whether carrying it out twice is the same as once, whoever writes in between: only a refresh, which changes
    /// no value, and none that is tied to an index, because the first one moves the index.
    pub(super) fn repeatable(&self) -> bool {
        self.refresh && self.prev_exist != Some(false) && self.prev_index.is_none()
    }
}

/// How to remove a key. With a condition, `dir` and `recursive` do not count (the API ignores them).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Removes a directory with everything below.
    pub recursive: bool,
    /// Allows an empty directory.
    pub dir: bool,
    /// The key must have this value, which cannot be empty.
    pub prev_value: Option<String>,
    /// The key's `modified_index` must be this.
    pub prev_index: Option<u64>,
}

impl DeleteOptions {
    pub(super) fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        flag(&mut query, "dir", self.dir);
        optional(&mut query, "prevIndex", self.prev_index);
        optional(&mut query, "prevValue", self.prev_value.as_ref());
        flag(&mut query, "recursive", self.recursive);
        query.finish()
    }
}

/// The form body of a write.
pub(super) fn form(value: Option<&str>, ttl: Option<u64>) -> String {
    let mut form = Serializer::new(String::new());
    optional(&mut form, "ttl", ttl);
    optional(&mut form, "value", value);
    form.finish()
}

fn flag(to: &mut Serializer<'_, String>, name: &str, on: bool) {
    if on {
        to.append_pair(name, "true");
    }
}

fn optional(to: &mut Serializer<'_, String>, name: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        to.append_pair(name, &value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_go_into_the_query_and_the_value_into_the_body() {
        let options = PutOptions {
            value: Some("a b&c=d\u{e4}".into()),
            ttl: Some(5),
            prev_value: Some("x y".into()),
            prev_index: Some(7),
            prev_exist: Some(true),
            ..PutOptions::default()
        };
        assert_eq!(options.query(), "prevExist=true&prevIndex=7&prevValue=x+y");
        assert_eq!(options.form(), "ttl=5&value=a+b%26c%3Dd%C3%A4");
    }

    #[test]
    fn directories_and_refreshes_send_no_value_but_files_always_do() {
        let dir = PutOptions { dir: true, prev_exist: Some(false), ..PutOptions::default() };
        assert_eq!((dir.query().as_str(), dir.form().as_str()), ("dir=true&prevExist=false", ""));
        let refresh = PutOptions { refresh: true, ttl: Some(9), ..PutOptions::default() };
        assert_eq!((refresh.query().as_str(), refresh.form().as_str()), ("refresh=true", "ttl=9"));
        assert_eq!(PutOptions::default().form(), "value=");
    }

    #[test]
    fn only_refreshes_that_are_not_tied_to_an_index_may_be_repeated() {
        let refresh = PutOptions { refresh: true, ttl: Some(9), ..PutOptions::default() };
        assert!(refresh.repeatable());
        assert!(PutOptions { prev_exist: Some(true), ..refresh.clone() }.repeatable());
        assert!(PutOptions { prev_value: Some("me".into()), ..refresh.clone() }.repeatable());
        assert!(!PutOptions { prev_index: Some(3), ..refresh.clone() }.repeatable());
        assert!(!PutOptions { prev_exist: Some(false), ..refresh }.repeatable());
        assert!(!PutOptions { value: Some("v".into()), ..PutOptions::default() }.repeatable());
    }

    #[test]
    fn quorum_is_sent_only_when_it_was_asked_for() {
        assert_eq!(GetOptions::default().query(), "");
        assert_eq!(GetOptions::linearizable().query(), "quorum=true&recursive=false&sorted=false");
        let all = GetOptions { recursive: true, sorted: true, quorum: Some(false) };
        assert_eq!(all.query(), "quorum=false&recursive=true&sorted=true");
    }
}
