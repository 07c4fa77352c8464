//! Python's methods on strings, lists and dicts that chat templates call. Those that minijinja-contrib's pycompat has are
//! left to it, except where its answer differs from Python's.

use minijinja::value::{from_args, Kwargs, Rest, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use crate::template_code::charge;
use crate::template_work::{bound_widths, pay_length, weigh};

/// The longest string that a method may make.
pub const MAX_STRING: usize = 16 << 20;

pub fn too_large() -> Error {
    Error::new(ErrorKind::OutOfFuel, "its strings grow too large")
}

/// str.isspace of Python, which counts the four separators U+001C to U+001F.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    args.iter().try_for_each(weigh)?;
    if matches!(method, "index" | "count") {
        weigh(value)?;
    } else {
        pay_length(value)?;
    }
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or("");
            charge(text.len())?;
            match string_method(text, method, args)? {
                Some(result) => return Ok(result),
                None => limit_string_method(text, method, args)?,
            }
        }
        ValueKind::Seq => {
            if let Some(result) = list_method(value, method, args)? {
                return Ok(result);
            }
        }
        ValueKind::Map if method == "copy" => return Ok(value.clone()),
        _ => {}
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// Refuses, before they run, methods of pycompat that can blow a string up.
pub fn limit_string_method(text: &str, method: &str, args: &[Value]) -> Result<(), Error> {
    let size = |at: usize| args.get(at).and_then(|v| v.as_str().map(str::len)).unwrap_or(0);
    let bound = match method {
        "replace" => {
            let found = if size(0) == 0 { text.len() + 1 } else { text.len() / size(0) };
            text.len().saturating_add(found.saturating_mul(size(1)))
        }
        "join" => match args.first().and_then(|list| list.len()) {
            Some(count) => count.saturating_mul(text.len()),
            None => 0,
        },
        "format" => {
            bound_widths(text)?;
            0
        }
        _ => 0,
    };
    if bound > MAX_STRING {
        return Err(too_large());
    }
    charge(bound)
}

fn strip<'a>(text: &'a str, args: &[Value], left: bool, right: bool) -> Result<&'a str, Error> {
    let (chars,): (Option<&str>,) = from_args(args)?;
    let cut = |c: char| chars.map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if left { text.trim_start_matches(cut) } else { text };
    Ok(if right { text.trim_end_matches(cut) } else { text })
}

fn string_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let value = match method {
        "strip" => Value::from(strip(text, args, true, true)?),
        "lstrip" => Value::from(strip(text, args, true, false)?),
        "rstrip" => Value::from(strip(text, args, false, true)?),
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" | "rpartition" => partition(text, args, method == "rpartition")?,
        "split" | "rsplit" => split(text, args, method == "rsplit")?,
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(args)?;
            let at = if method == "index" { text.find(part) } else { text.rfind(part) };
            let at = at.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "substring not found"))?;
            Value::from(text[..at].chars().count())
        }
        "swapcase" => Value::from(
            text.chars()
                .flat_map(|c| if c.is_uppercase() { c.to_lowercase().collect::<Vec<_>>() } else { c.to_uppercase().collect() })
                .collect::<String>(),
        ),
        "casefold" => Value::from(text.to_lowercase()),
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(rest) => (&text[..1], rest),
                None => ("", text),
            };
            let missing = missing(text, width)?;
            Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            let fill = fill.unwrap_or(" ");
            let missing = missing(text, width)?;
            let left = match method {
                "ljust" => 0,
                "rjust" => missing,
                _ => missing / 2 + (missing & width & 1),
            };
            Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left)))
        }
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn missing(text: &str, width: usize) -> Result<usize, Error> {
    if width > MAX_STRING / 4 {
        return Err(too_large());
    }
    Ok(width.saturating_sub(text.chars().count()))
}

fn strings<'a>(parts: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
    parts.into_iter().map(Value::from).collect()
}

fn partition(text: &str, args: &[Value], from_right: bool) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(args)?;
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let found = if from_right { text.rsplit_once(separator) } else { text.split_once(separator) };
    Ok(Value::from(Tuple::from(match (found, from_right) {
        (Some((left, right)), _) => strings([left, separator, right]),
        (None, false) => strings([text, "", ""]),
        (None, true) => strings(["", "", text]),
    })))
}

fn split(text: &str, args: &[Value], from_right: bool) -> Result<Value, Error> {
    let (places, names): (Rest<Value>, Kwargs) = from_args(args)?;
    let argument = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match places.get(place) {
            Some(value) => Some(value.clone()),
            None => names.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|v| !v.is_none()))
    };
    let separator = argument(0, "sep")?;
    let limit = argument(1, "maxsplit")?.and_then(|v| v.as_i64()).unwrap_or(-1);
    names.assert_all_used()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX - 1);
    let parts: Vec<&str> = match separator.as_ref().map(|v| v.as_str()) {
        Some(Some("")) => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(Some(separator)) if from_right => {
            let mut parts: Vec<&str> = text.rsplitn(limit + 1, separator).collect();
            parts.reverse();
            parts
        }
        Some(Some(separator)) => text.splitn(limit + 1, separator).collect(),
        Some(None) => return Err(Error::new(ErrorKind::InvalidOperation, "the separator must be a string")),
        None => split_at_spaces(text, limit, from_right),
    };
    Ok(Value::from(strings(parts)))
}

/// str.split(None, limit): runs of white space separate, none at the ends.
fn split_at_spaces(text: &str, limit: usize, from_right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = if from_right { text.trim_end_matches(is_space) } else { text.trim_start_matches(is_space) };
    while !rest.is_empty() {
        if parts.len() == limit {
            parts.push(if from_right { rest.trim_end_matches(is_space) } else { rest });
            break;
        }
        if from_right {
            let begin = rest.char_indices().rev().find(|(_, c)| is_space(*c)).map_or(0, |(at, c)| at + c.len_utf8());
            parts.push(&rest[begin..]);
            rest = rest[..begin].trim_end_matches(is_space);
        } else {
            let end = rest.find(is_space).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            rest = rest[end..].trim_start_matches(is_space);
        }
    }
    if from_right {
        parts.reverse();
    }
    parts
}

fn list_method(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "index" => {
            let (wanted,): (Value,) = from_args(args)?;
            let at = list.try_iter()?.position(|item| item == wanted);
            let at = at.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in list")))?;
            Ok(Some(Value::from(at)))
        }
        "copy" => Ok(Some(list.clone())),
        "append" | "extend" | "insert" | "remove" | "pop" | "clear" | "sort" | "reverse" => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("'{method}' is not allowed: templates may not change lists"),
        )),
        _ => Ok(None),
    }
}
