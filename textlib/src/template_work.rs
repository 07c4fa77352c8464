//! Bounds on the time of a template. minijinja's fuel counts instructions, but one instruction may walk a long list, or a
//! short one whose items are shared so often that walking it takes for ever. Here operations pay for what they walk,
//! before they do: compiled code is sent through the filters and tests of this file (template_code.rs).

use std::cell::Cell;

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{tests, Environment, Error, ErrorKind, State, Value};

use crate::python_json;
use crate::template_methods;

/// Values walked, or 16 bytes of text, by one render. At full use that is about a second.
const WORK: u64 = 20_000_000;
const BYTES_A_UNIT: usize = 16;
/// Deeper values would overflow the stack of whoever walks or frees them.
const MAX_DEPTH: usize = 200;
/// The largest width or count that a filter takes.
const MAX_NUMBER: i64 = 1_000_000;

/// The last argument is the name of the filter to call when the others are paid for.
pub const PAID_FILTER: &str = "kl_paid";
pub const WEIGH: &str = "kl_weigh";
pub const LENGTH: &str = "kl_length";
pub const IN: &str = "kl_in";
pub const SLICE: &str = "kl_slice";

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

pub fn begin() {
    LEFT.with(|left| left.set(WORK));
}

pub fn spend(units: usize) -> Result<(), Error> {
    LEFT.with(|left| match left.get().checked_sub(units as u64) {
        Some(rest) => {
            left.set(rest);
            Ok(())
        }
        None => Err(Error::new(ErrorKind::OutOfFuel, "it runs too long")),
    })
}

/// Pays for everything inside a value, shared parts as often as they are met.
pub fn weigh(value: &Value) -> Result<(), Error> {
    walk(value, 0)
}

fn walk(value: &Value, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::OutOfFuel, "its values are nested too deeply"));
    }
    spend(1 + value.as_str().map_or(0, |text| text.len() / BYTES_A_UNIT))?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.try_for_each(|item| walk(&item, depth + 1)),
        ValueKind::Map => value.try_iter()?.try_for_each(|key| {
            walk(&key, depth + 1)?;
            walk(&value.get_item(&key)?, depth + 1)
        }),
        _ => Ok(()),
    }
}

/// Pays for one walk along a value's own items or text.
pub fn pay_length(value: &Value) -> Result<(), Error> {
    spend(1 + value.as_str().map_or_else(|| value.len().unwrap_or(0), |text| text.len() / BYTES_A_UNIT))
}

/// How a filter's value is paid for; filters that look at one item cost nothing.
pub fn is_walking_filter(name: &str) -> bool {
    compares(name) || walks_deeply(name) || walks_along(name)
}

fn compares(name: &str) -> bool {
    matches!(name, "sort" | "dictsort" | "unique" | "min" | "max" | "groupby")
}

fn walks_deeply(name: &str) -> bool {
    matches!(name, "map" | "join" | "pprint" | "sum" | "tojson" | "string" | "urlencode" | "batch" | "slice" | "replace" | "format")
}

fn walks_along(name: &str) -> bool {
    matches!(
        name,
        "select" | "reject" | "selectattr" | "rejectattr" | "list" | "reverse" | "chain" | "zip" | "items" | "split" | "lines"
            | "lower" | "upper" | "title" | "capitalize" | "indent" | "trim" | "last" | "wordcount" | "wordwrap" | "truncate"
    )
}

fn paid_filter(state: &mut State, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let arguments = arguments.into_values();
    let Some((name, rest)) = arguments.split_last().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(Error::new(ErrorKind::MissingArgument, "a filter without a value"));
    };
    let name = name.as_str().unwrap_or("");
    if walks_deeply(name) || name == "indent" {
        bound_numbers(&rest[1..])?;
    }
    if name == "format" {
        bound_widths(rest[0].as_str().unwrap_or(""))?;
    }
    for (at, value) in rest.iter().enumerate() {
        if at == 0 && walks_along(name) {
            pay_length(value)?;
        } else {
            weigh(value)?;
        }
        if at == 0 && compares(name) {
            // As many comparisons as sorting makes, each of which may look at a whole item.
            let rounds = value.len().unwrap_or(0).max(2).ilog2();
            (1..rounds).try_for_each(|_| weigh(value))?;
        }
    }
    let result = state.apply_filter(name, rest)?;
    pay_length(&result)?;
    Ok(result)
}

fn contains(state: &State, needle: &Value, container: &Value) -> Result<bool, Error> {
    weigh(needle)?;
    match container.kind() {
        ValueKind::Map | ValueKind::Undefined => {}
        ValueKind::Seq | ValueKind::Iterable | ValueKind::String => weigh(container)?,
        kind => {
            let message = format!("cannot look for a value in a value of type {kind}");
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
    }
    tests::is_in(state, needle, container)
}

/// A comparison looks no further than the smaller value reaches.
fn weigh_compared(left: &Value, right: &Value) -> Result<(), Error> {
    let plain = |value: &Value| !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map);
    weigh(if plain(left) { left } else { right })
}

fn replace(text: &Value, from: &Value, to: &Value) -> Result<Value, Error> {
    let (text, from, to) = (python_json::text(text)?, python_json::text(from)?, python_json::text(to)?);
    template_methods::limit_string_method(&text, "replace", &[Value::from(&*from), Value::from(&*to)])?;
    Ok(Value::from(text.replace(&*from, &to)))
}

/// A width or a count: what is made from it may be larger than all that the template was given.
fn bound_numbers(arguments: &[Value]) -> Result<(), Error> {
    for value in arguments {
        if value.is_kwargs() {
            for key in value.try_iter()? {
                bound_numbers(&[value.get_item(&key)?])?;
            }
        } else if value.as_i64().is_some_and(|number| number > MAX_NUMBER) {
            return Err(template_methods::too_large());
        }
    }
    Ok(())
}

/// Widths inside a format text.
pub fn bound_widths(format: &str) -> Result<(), Error> {
    let longest = format.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if format.contains(['%', '{']) && longest > 6 {
        return Err(template_methods::too_large());
    }
    Ok(())
}

pub fn add_to(environment: &mut Environment) {
    environment.add_filter(PAID_FILTER, paid_filter);
    environment.add_filter(WEIGH, |value: Value| weigh(&value).map(|()| value));
    environment.add_filter(LENGTH, |value: Value| pay_length(&value).map(|()| value));
    environment.add_filter(IN, contains);
    environment.add_filter(SLICE, |state: &State, value: &Value, begin: &Value, end: &Value, step: &Value| {
        pay_length(value)?;
        let names = [("a", value), ("b", begin), ("c", end), ("d", step)].map(|(name, value)| (name, value.clone()));
        state.env().compile_expression("a[b:c:d]")?.eval(Value::from_pairs(names))
    });
    environment.add_filter("replace", replace);
    environment.add_test("in", contains);
    type Comparison = fn(&Value, &Value) -> bool;
    let comparisons: [(&[&str], Comparison); 6] = [
        (&["eq", "equalto", "=="], tests::is_eq),
        (&["ne", "!="], tests::is_ne),
        (&["lt", "lessthan", "<"], tests::is_lt),
        (&["le", "<="], tests::is_le),
        (&["gt", "greaterthan", ">"], tests::is_gt),
        (&["ge", ">="], tests::is_ge),
    ];
    for (names, compare) in comparisons {
        for name in names {
            environment.add_test(*name, move |left: &Value, right: &Value| {
                weigh_compared(left, right).map(|()| compare(left, right))
            });
        }
    }
}
