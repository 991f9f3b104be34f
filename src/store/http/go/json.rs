//! JSON of requests about members, read and refused in the words of Go's `encoding/json`, which clients are shown.

/// No request nests deeper; Go's own limit is 10,000.
const DEPTH_LIMIT: usize = 10_000;

/// A JSON value. Numbers are of no use here, so only their presence is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number,
    /// A text; what is no Unicode in it has become U+FFFD.
    Text(String),
    /// A list, of which only the length of the nesting matters to the parser.
    List(Vec<Json>),
    /// Members in order; a name may come again.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What Go calls a value of this kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// Parses one value with nothing but blanks around it.
///
/// # Errors
/// Go's words for what is wrong.
pub fn parse(bytes: &[u8]) -> Result<Json, String> {
    let mut parser = Parser { bytes, at: 0 };
    let value = parser.whole()?;
    match parser.after_blanks() {
        None => Ok(value),
        Some(other) => Err(wrong(other, "after top-level value")),
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A list or an object whose end has not come yet.
enum Open {
    List(Vec<Json>),
    Object(Vec<(String, Json)>, String),
}

type Parsed<T> = Result<T, String>;

fn wrong(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_string(),
        b'"' => "\"".to_string(),
        byte => crate::store::http::go::url::escape(char::from(byte)),
    };
    format!("invalid character '{shown}' {place}")
}

fn ended() -> String {
    "unexpected end of JSON input".into()
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn after_blanks(&mut self) -> Option<u8> {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
        self.peek()
    }

    /// The next byte inside a token, where Go takes the end of the input for a blank.
    fn inside(&mut self) -> u8 {
        let byte = self.peek().unwrap_or(b' ');
        self.at += 1;
        byte
    }

    /// A whole value; keeps what is open on a stack of its own, so that no nesting can exhaust the thread's.
    fn whole(&mut self) -> Parsed<Json> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match self.begin(&mut open)? {
                Some(value) => value,
                None => continue,
            };
            loop {
                match open.pop() {
                    None => return Ok(value),
                    Some(Open::List(mut items)) => {
                        items.push(value);
                        match self.after_blanks().ok_or_else(ended)? {
                            b',' => {
                                self.at += 1;
                                open.push(Open::List(items));
                                break;
                            }
                            b']' => value = Json::List(items),
                            other => return Err(wrong(other, "after array element")),
                        }
                    }
                    Some(Open::Object(mut members, name)) => {
                        members.push((name, value));
                        match self.after_blanks().ok_or_else(ended)? {
                            b',' => {
                                self.at += 1;
                                let name = self.name()?;
                                open.push(Open::Object(members, name));
                                break;
                            }
                            b'}' => value = Json::Object(members),
                            other => return Err(wrong(other, "after object key:value pair")),
                        }
                    }
                }
                self.at += 1;
            }
        }
    }

    /// Reads a value that has no parts, or goes into one that has: then `None`.
    fn begin(&mut self, open: &mut Vec<Open>) -> Parsed<Option<Json>> {
        if open.len() >= DEPTH_LIMIT {
            return Err("exceeded max depth".into());
        }
        let first = self.after_blanks().ok_or_else(ended)?;
        self.at += 1;
        Ok(Some(match first {
            b'{' => {
                if self.after_blanks().ok_or_else(ended)? == b'}' {
                    self.at += 1;
                    return Ok(Some(Json::Object(Vec::new())));
                }
                let name = self.name()?;
                open.push(Open::Object(Vec::new(), name));
                return Ok(None);
            }
            b'[' => {
                if self.after_blanks().ok_or_else(ended)? == b']' {
                    self.at += 1;
                    return Ok(Some(Json::List(Vec::new())));
                }
                open.push(Open::List(Vec::new()));
                return Ok(None);
            }
            b'"' => Json::Text(self.text()?),
            b't' => self.word("true").map(|()| Json::Bool(true))?,
            b'f' => self.word("false").map(|()| Json::Bool(false))?,
            b'n' => self.word("null").map(|()| Json::Null)?,
            b'-' | b'0'..=b'9' => self.number(first).map(|()| Json::Number)?,
            other => return Err(wrong(other, "looking for beginning of value")),
        }))
    }

    /// An object's key and the colon behind it.
    fn name(&mut self) -> Parsed<String> {
        match self.after_blanks().ok_or_else(ended)? {
            b'"' => self.at += 1,
            other => return Err(wrong(other, "looking for beginning of object key string")),
        }
        let name = self.text()?;
        match self.after_blanks().ok_or_else(ended)? {
            b':' => self.at += 1,
            other => return Err(wrong(other, "after object key")),
        }
        Ok(name)
    }

    fn word(&mut self, word: &str) -> Parsed<()> {
        for expected in word.chars().skip(1) {
            let byte = self.inside();
            if char::from(byte) != expected {
                return Err(wrong(byte, &format!("in literal {word} (expecting '{expected}')")));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Parsed<()> {
        let mut first = first;
        if first == b'-' {
            first = self.inside();
            if !first.is_ascii_digit() {
                return Err(wrong(first, "in numeric literal"));
            }
        }
        if first != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn digit(&mut self, place: &str) -> Parsed<()> {
        match self.inside() {
            byte if byte.is_ascii_digit() => self.digits(),
            other => return Err(wrong(other, place)),
        }
        Ok(())
    }

    /// What stands before the closing quote, unescaped.
    fn text(&mut self) -> Parsed<String> {
        let mut units: Vec<u8> = Vec::new();
        let mut surrogate: Option<u16> = None;
        loop {
            let byte = self.peek().ok_or_else(ended)?;
            self.at += 1;
            if byte == b'\\' {
                match self.escape()? {
                    Escape::Byte(byte) => {
                        lone(&mut units, surrogate.take());
                        units.push(byte);
                    }
                    Escape::Unit(unit) => {
                        let pair =
                            surrogate.take().map(|high| (high, char::decode_utf16([high, unit]).next()));
                        match pair {
                            Some((_, Some(Ok(joined)))) => push(&mut units, joined),
                            Some((high, _)) => {
                                lone(&mut units, Some(high));
                                surrogate = single(&mut units, unit);
                            }
                            None => surrogate = single(&mut units, unit),
                        }
                    }
                }
                continue;
            }
            lone(&mut units, surrogate.take());
            match byte {
                b'"' => return Ok(String::from_utf8_lossy(&units).into_owned()),
                0..0x20 => return Err(wrong(byte, "in string literal")),
                byte => units.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Parsed<Escape> {
        Ok(Escape::Byte(match self.inside() {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            byte @ (b'\\' | b'/' | b'"') => byte,
            b'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let byte = self.inside();
                    let digit = char::from(byte).to_digit(16);
                    let digit = digit.ok_or_else(|| wrong(byte, "in \\u hexadecimal character escape"))?;
                    unit = unit << 4 | digit;
                }
                return Ok(Escape::Unit(u16::try_from(unit).unwrap_or(0xfffd)));
            }
            other => return Err(wrong(other, "in string escape code")),
        }))
    }
}

/// What a backslash began.
enum Escape {
    Byte(u8),
    /// A unit of UTF-16, perhaps one half of a pair.
    Unit(u16),
}

fn push(units: &mut Vec<u8>, char: char) {
    units.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A half of a pair whose other half did not come.
fn lone(units: &mut Vec<u8>, half: Option<u16>) {
    if half.is_some() {
        push(units, char::REPLACEMENT_CHARACTER);
    }
}

/// Takes a unit that has no first half before it; gives it back when it is a first half itself.
fn single(units: &mut Vec<u8>, unit: u16) -> Option<u16> {
    if (0xd800..0xdc00).contains(&unit) {
        return Some(unit);
    }
    push(units, char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_read() {
        let text = |text: &str| Json::Text(text.into());
        assert_eq!(parse(b" null "), Ok(Json::Null));
        assert_eq!(parse(b"[true,false,-1.5e+3,0]").map(|v| v.kind()), Ok("array"));
        assert_eq!(parse(br#""a\u00e4\ud83e\udd80\n\/""#), Ok(text("a\u{e4}\u{1f980}\n/")));
        assert_eq!(parse(br#""\ud83ex\udd80""#), Ok(text("\u{fffd}x\u{fffd}")));
        assert_eq!(
            parse(br#"{"a":[],"a":{"b":[1,[2]]}}"#),
            Ok(Json::Object(vec![
                ("a".into(), Json::List(vec![])),
                (
                    "a".into(),
                    Json::Object(vec![(
                        "b".into(),
                        Json::List(vec![Json::Number, Json::List(vec![Json::Number])])
                    )])
                ),
            ]))
        );
    }

    #[test]
    fn mistakes_are_named_in_gos_words() {
        for (text, words) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("{\"a\"", "unexpected end of JSON input"),
            ("{\"a\":[\"b", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{\"a\":}", "invalid character '}' looking for beginning of value"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("01", "invalid character '1' after top-level value"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("-", "invalid character ' ' in numeric literal"),
            ("1.", "invalid character ' ' after decimal point in numeric literal"),
            ("1e", "invalid character ' ' in exponent of numeric literal"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("nul", "invalid character ' ' in literal null (expecting 'l')"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("'", "invalid character '\\'' looking for beginning of value"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(words.into()), "{text}");
        }
        assert_eq!(parse(b"\xff"), Err("invalid character '\u{ff}' looking for beginning of value".into()));
    }

    #[test]
    fn endless_nesting_is_refused() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(parse(deep.as_bytes()), Err("exceeded max depth".into()));
        let fine = format!("{}{}", "[".repeat(9_999), "]".repeat(9_999));
        assert!(parse(fine.as_bytes()).is_ok());
    }
}
