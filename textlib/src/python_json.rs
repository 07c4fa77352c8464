//! Python's json.dumps and float repr for template values: what `tojson` means to chat templates.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// Nesting beyond this is refused; Python's own recursion limit is of this order.
const MAX_DEPTH: usize = 200;

pub struct Style {
    pub ensure_ascii: bool,
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

impl Style {
    /// The arguments of `x|tojson(…)`: ensure_ascii, indent, separators, sort_keys, by place or by name.
    pub fn from_arguments(places: &[Value], names: &Kwargs) -> Result<Style, Error> {
        let argument = |place: usize, name: &str| -> Result<Option<Value>, Error> {
            let value = match places.get(place) {
                Some(value) => Some(value.clone()),
                None => names.get::<Option<Value>>(name)?,
            };
            Ok(value.filter(|v| !v.is_none() && !v.is_undefined()))
        };
        let indent = match argument(1, "indent")? {
            None => None,
            Some(value) => match value.as_str() {
                Some(text) => Some(text.to_string()),
                None => {
                    let width = value.as_i64().ok_or_else(|| bad("tojson: indent must be a number or a string"))?;
                    if width > 64 {
                        return Err(bad("tojson: indent is too large"));
                    }
                    Some(" ".repeat(width.max(0) as usize))
                }
            },
        };
        let mut style = Style {
            ensure_ascii: argument(0, "ensure_ascii")?.is_some_and(|v| v.is_true()),
            item_separator: if indent.is_some() { "," } else { ", " }.into(),
            key_separator: ": ".into(),
            indent,
            sort_keys: argument(3, "sort_keys")?.is_some_and(|v| v.is_true()),
        };
        if let Some(pair) = argument(2, "separators")? {
            let part = |at: usize| {
                let value = pair.get_item_by_index(at).ok();
                value.and_then(|v| v.as_str().map(str::to_string)).ok_or_else(|| bad("tojson: separators must be two strings"))
            };
            (style.item_separator, style.key_separator) = (part(0)?, part(1)?);
        }
        names.assert_all_used()?;
        Ok(style)
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    }

    /// Appends the JSON of `value`; fails when `out` grows beyond `limit` bytes.
    pub fn write(&self, value: &Value, depth: usize, limit: usize, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(bad("tojson: the value is nested too deeply"));
        }
        if out.len() > limit {
            return Err(Error::new(ErrorKind::OutOfFuel, "tojson: the result is too large"));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value, true)),
            ValueKind::String => self.string(value.as_str().unwrap_or(""), out),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth, limit, out)?,
            ValueKind::Map => self.map(value, depth, limit, out)?,
            ValueKind::Undefined => return Err(bad("Object of type Undefined is not JSON serializable")),
            other => return Err(bad(format!("Object of type {other} is not JSON serializable"))),
        }
        Ok(())
    }

    fn list(&self, value: &Value, depth: usize, limit: usize, out: &mut String) -> Result<(), Error> {
        out.push('[');
        let mut first = true;
        for item in value.try_iter()? {
            if !first {
                out.push_str(&self.item_separator);
            }
            first = false;
            self.line(depth + 1, out);
            self.write(&item, depth + 1, limit, out)?;
        }
        if !first {
            self.line(depth, out);
        }
        out.push(']');
        Ok(())
    }

    fn map(&self, value: &Value, depth: usize, limit: usize, out: &mut String) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        out.push('{');
        for (place, key) in keys.iter().enumerate() {
            if place > 0 {
                out.push_str(&self.item_separator);
            }
            self.line(depth + 1, out);
            match key.kind() {
                ValueKind::String => self.string(key.as_str().unwrap_or(""), out),
                ValueKind::None => out.push_str("\"null\""),
                ValueKind::Bool => out.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" }),
                ValueKind::Number => self.string(&number(key, true), out),
                _ => return Err(bad("tojson: keys must be strings, numbers, booleans or None")),
            }
            out.push_str(&self.key_separator);
            self.write(&value.get_item(key)?, depth + 1, limit, out)?;
        }
        if !keys.is_empty() {
            self.line(depth, out);
        }
        out.push('}');
        Ok(())
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.ensure_ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// A number as Python prints it; JSON differs in the names of the infinite ones.
pub fn number(value: &Value, json: bool) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(x) => float(x, json),
        Err(_) => value.to_string(),
    }
}

/// Python's repr of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
pub fn float(x: f64, json: bool) -> String {
    if x.is_nan() {
        return if json { "NaN" } else { "nan" }.into();
    }
    if x.is_infinite() {
        let name = if json { "Infinity" } else { "inf" };
        return if x < 0.0 { format!("-{name}") } else { name.into() };
    }
    let shortest = format!("{x:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{x}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Python's str of a value.
pub fn text(value: &Value) -> Result<std::borrow::Cow<'_, str>, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.into());
    }
    match value.kind() {
        ValueKind::Undefined => Ok("".into()),
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => {
            let mut out = String::new();
            repr(value, 0, &mut out)?;
            Ok(out.into())
        }
        _ => Ok(value.to_string().into()),
    }
}

fn repr(value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(bad("the value is nested too deeply to be shown"));
    }
    if out.len() > crate::template_methods::MAX_STRING {
        return Err(crate::template_methods::too_large());
    }
    match value.kind() {
        ValueKind::String => repr_string(value.as_str().unwrap_or(""), out),
        ValueKind::Number => out.push_str(&number(value, false)),
        ValueKind::Seq => {
            let tuple = value.is_tuple();
            out.push(if tuple { '(' } else { '[' });
            for (place, item) in value.try_iter()?.enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                repr(&item, depth + 1, out)?;
            }
            if tuple && value.len() == Some(1) {
                out.push(',');
            }
            out.push(if tuple { ')' } else { ']' });
        }
        ValueKind::Map => {
            let shown = value.to_string();
            if !shown.starts_with('{') {
                // Namespaces and the like show themselves.
                out.push_str(&shown);
                return Ok(());
            }
            out.push('{');
            for (place, key) in value.try_iter()?.enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                repr(&key, depth + 1, out)?;
                out.push_str(": ");
                repr(&value.get_item(&key)?, depth + 1, out)?;
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

fn repr_string(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        let code = c as u32;
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            _ if is_printable(c) => out.push(c),
            _ if code < 0x100 => out.push_str(&format!("\\x{code:02x}")),
            _ if code < 0x10000 => out.push_str(&format!("\\u{code:04x}")),
            _ => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out.push(quote);
}

/// str.isprintable for the characters that occur: controls, format marks, separators, private and unassigned ones aren't.
fn is_printable(c: char) -> bool {
    !matches!(c as u32,
        0..=0x1f | 0x7f..=0xa0 | 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x1680 | 0x180e | 0x2000..=0x200f
        | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xd800..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xfffe..=0xffff
        | 0xe0000..=0xe00ff | 0xe01f0..=0x10ffff)
}
