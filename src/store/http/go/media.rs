//! The content type of a request, read and refused as Go's `mime.ParseMediaType` does.

/// The one type whose bodies are looked at.
const FORM: &str = "application/x-www-form-urlencoded";

/// Go's complaint about a parameter that is there twice; then it does not look at the type any more.
const DUPLICATE: &str = "mime: duplicate parameter name";

/// Whether a content type says that the body is a form, and Go's complaint about it. An empty one says nothing. A form
/// stays a form when its parameters cannot be parsed: Go reads it before it complains.
pub fn is_form(content_type: &[u8]) -> (bool, Result<(), &'static str>) {
    if content_type == FORM.as_bytes() {
        return (true, Ok(()));
    }
    let text = String::from_utf8_lossy(content_type);
    let text = text.trim();
    if text.is_empty() {
        return (false, Ok(()));
    }
    let (media, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
    let media = media.trim().to_lowercase();
    match check_type(&media) {
        Ok(()) => {
            let checked = check_parameters(parameters);
            (media == FORM && checked != Err(DUPLICATE), checked)
        }
        Err(why) => (false, Err(why)),
    }
}

fn check_type(media: &str) -> Result<(), &'static str> {
    let (kind, rest) = token(media);
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let Some(rest) = rest.strip_prefix('/') else { return Err("mime: expected slash after first token") };
    match token(rest) {
        ("", _) => Err("mime: expected token after slash"),
        (_, "") => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// `; name=value` as often as it likes; a name may come again only with the same value.
fn check_parameters(mut rest: &str) -> Result<(), &'static str> {
    let mut seen: Vec<(String, String)> = Vec::new();
    while !rest.trim().is_empty() {
        let Some((name, value, after)) = parameter(rest) else {
            return if rest.trim() == ";" { Ok(()) } else { Err("mime: invalid media parameter") };
        };
        if seen.iter().any(|(n, v)| *n == name && *v != value) {
            return Err(DUPLICATE);
        }
        seen.push((name, value));
        rest = after;
    }
    Ok(())
}

/// The first parameter and what follows it.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.trim_start().strip_prefix(';')?.trim_start());
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, rest) = match rest.strip_prefix('"') {
        Some(rest) => quoted(rest)?,
        None => match token(rest) {
            ("", _) => return None,
            (value, rest) => (value.to_string(), rest),
        },
    };
    (!name.is_empty()).then(|| (name.to_lowercase(), value, rest))
}

/// What stands before the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => {
                let escaped = chars.next_if(|(_, next)| is_special(*next));
                value.push(escaped.map_or('\\', |(_, next)| next));
            }
            char => value.push(char),
        }
    }
    None
}

/// The token at the beginning, and the rest (RFC 2045).
fn token(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_graphic() || is_special(c)).unwrap_or(text.len()))
}

fn is_special(char: char) -> bool {
    "()<>@,;:\\\"/[]?=".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_known_by_its_type_alone() {
        for text in [
            FORM,
            " Application/X-WWW-Form-Urlencoded ",
            "application/x-www-form-urlencoded; charset=utf-8",
            "application/x-www-form-urlencoded;",
            "application/x-www-form-urlencoded; a=\"b\\\"c\"; a=\"b\\\"c\"; d=e",
        ] {
            assert_eq!(is_form(text.as_bytes()), (true, Ok(())), "{text}");
        }
        for text in ["", "text", "text/plain", "application/json; charset=utf-8"] {
            assert_eq!(is_form(text.as_bytes()), (false, Ok(())), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_refused_in_gos_words() {
        for (text, words) in [
            (";", "no media type"),
            ("/b", "no media type"),
            ("a b/c", "expected slash after first token"),
            ("a/", "expected token after slash"),
            ("a/b/c", "unexpected content after media subtype"),
            ("a/b, c/d", "unexpected content after media subtype"),
            ("a/b; charset", "invalid media parameter"),
            ("a/b; =x", "invalid media parameter"),
            ("a/b; a=; b=\"c\"", "invalid media parameter"),
            ("a/b; a=\"b", "invalid media parameter"),
            ("a/b; a=b; A=c", "duplicate parameter name"),
        ] {
            let (form, checked) = is_form(text.as_bytes());
            assert_eq!((form, checked.unwrap_err().strip_prefix("mime: ")), (false, Some(words)), "{text}");
        }
        let (form, checked) = is_form(format!("{FORM}; charset").as_bytes());
        assert!(form && checked.is_err());
    }
}
