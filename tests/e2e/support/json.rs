//! JSON (RFC 8259), as much as tests need to judge a file or a message.

use std::iter::Peekable;
use std::str::Chars;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text that is one value and nothing else.
    pub fn read(text: &str) -> Result<Json, String> {
        let mut reader = Reader { rest: text.chars().peekable() };
        let value = reader.value()?;
        match reader.next_visible() {
            None => Ok(value),
            Some(c) => Err(format!("`{c}` after the end")),
        }
    }

    /// The member `name` of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The member `name`, if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Json::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The items of the list `name`; none if it is no list.
    pub fn list(&self, name: &str) -> &[Json] {
        match self.get(name) {
            Some(Json::List(items)) => items,
            _ => &[],
        }
    }
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
}

impl Reader<'_> {
    fn next_visible(&mut self) -> Option<char> {
        while self.rest.next_if(|c| " \t\r\n".contains(*c)).is_some() {}
        self.rest.peek().copied()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.next_visible() {
            Some(c) if c == wanted => {
                self.rest.next();
                Ok(())
            }
            other => Err(format!("`{wanted}` expected, not {other:?}")),
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        match self.next_visible().ok_or("a value is missing")? {
            '{' => {
                let member = |reader: &mut Self| {
                    let name = reader.string()?;
                    reader.expect(':')?;
                    Ok((name, reader.value()?))
                };
                self.items('{', '}', member).map(Json::Object)
            }
            '[' => self.items('[', ']', Self::value).map(Json::List),
            '"' => self.string().map(Json::Text),
            _ => self.word(),
        }
    }

    fn items<T>(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        self.expect(open)?;
        let mut items = Vec::new();
        if self.next_visible() != Some(close) {
            items.push(item(self)?);
            while self.next_visible() == Some(',') {
                self.rest.next();
                items.push(item(self)?);
            }
        }
        self.expect(close)?;
        Ok(items)
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next().ok_or("a text does not end")? {
                '"' => return Ok(text),
                '\\' => text.push(match self.rest.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('u') => {
                        let digits: String = self.rest.by_ref().take(4).collect();
                        let code = u32::from_str_radix(&digits, 16).map_err(|e| e.to_string())?;
                        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    Some(c) if "\"\\/".contains(c) => c,
                    other => return Err(format!("`\\` before {other:?}")),
                }),
                c if c < ' ' => return Err("a control character in a text".to_owned()),
                c => text.push(c),
            }
        }
    }

    fn word(&mut self) -> Result<Json, String> {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
            word.push(c);
        }
        match word.as_str() {
            "null" => Ok(Json::Null),
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            number => number.parse().map(Json::Number).map_err(|_| format!("`{number}` is no value")),
        }
    }
}
