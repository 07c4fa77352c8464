//! Chat templates: Jinja as transformers sets it up, over minijinja, with bounds on work, depth and size.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Tuple, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use crate::border::{answer, free, invalid, make, resource, Buffer, Failure, Outcome, Slice, Status};
use crate::python_json::{self, Style};
use crate::template_code::{self, charge, Code};
use crate::strftime::Moment;
use crate::template_methods;

const MAX_SOURCE: usize = 4 << 20;
const RECURSION_LIMIT: usize = 160;

pub struct Template {
    environment: Environment<'static>,
    code: Code,
}

#[repr(C)]
pub struct RenderLimits {
    fuel: u64,
    output_bytes: u64,
    made_bytes: u64,
}

/// `{% generation %}` marks an assistant's text for training; rendering sees a plain block. Whitespace marks are kept.
fn plain_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            out.push_str(tag);
            return out;
        };
        let inner = &tag[2..end];
        let name = inner.trim_matches(['-', '+']).trim();
        match name {
            "generation" | "endgeneration" => {
                let plain = if name == "generation" { "with kl_generation = 0" } else { "endwith" };
                let mark = |c: Option<char>| c.filter(|c| matches!(c, '-' | '+')).map(String::from).unwrap_or_default();
                out.push_str(&format!("{{%{} {plain} {}%}}", mark(inner.chars().next()), mark(inner.chars().last())));
            }
            "raw" => {
                // Nothing inside a raw block is a tag.
                let stop = tag.find("endraw").unwrap_or(end);
                out.push_str(&tag[..stop]);
                rest = &tag[stop..];
                continue;
            }
            _ => out.push_str(&tag[..end + 2]),
        }
        rest = &tag[end + 2..];
    }
    out.push_str(rest);
    out
}

/// The text of raise_exception, kept aside so that it reaches the user without the template engine's words around it.
const RAISED: &str = "\u{1}raised\u{1}";

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
}

fn to_json(state: &State, args: Rest<Value>, names: Kwargs) -> Result<Value, Error> {
    let value = args.first().ok_or_else(|| Error::new(ErrorKind::MissingArgument, "tojson needs a value"))?;
    let style = Style::from_arguments(&args[1..], &names)?;
    let mut text = String::new();
    let limit = state.lookup(OUTPUT_LIMIT).and_then(|v| v.as_usize()).unwrap_or(template_methods::MAX_STRING);
    style.write(value, 0, limit, &mut text)?;
    charge(text.len())?;
    Ok(Value::from_safe_string(text))
}

/// Context names that templates cannot spell.
const OUTPUT_LIMIT: &str = "\u{1}limit";
const NOW: &str = "\u{1}now";

fn strftime_now(state: &State, format: String) -> Result<Value, Error> {
    let moment = match state.lookup(NOW).and_then(|v| v.as_i64()) {
        Some(seconds) => Moment::utc(seconds),
        None => Moment::now_local(),
    };
    Ok(Value::from(moment.format(&format)))
}

fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Bytes | ValueKind::Undefined)
}

fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || value.kind() == ValueKind::Iterable
}

fn is_number(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
}

fn trim(value: Value, chars: Option<String>) -> Result<Value, Error> {
    let text = python_json::text(&value)?;
    charge(text.len())?;
    let cut = |c: char| chars.as_ref().map_or_else(|| template_methods::is_space(c), |set| set.contains(c));
    Ok(Value::from(text.trim_matches(cut)))
}

fn items(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Value::from(Vec::<Value>::new())),
        ValueKind::Map => {
            let mut pairs = Vec::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                pairs.push(Value::from(Tuple::from(vec![key, item])));
            }
            Ok(Value::from(pairs))
        }
        _ => Err(Error::new(ErrorKind::InvalidOperation, "Can only get item pairs from a mapping.")),
    }
}

/// As Python counts; what is undefined has no items.
fn length(value: Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    let kind = value.kind();
    value.len().ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, format!("cannot calculate length of value of type {kind}"))
    })
}

fn string(value: Value) -> Result<Value, Error> {
    charge(value.as_str().map_or(0, str::len))?;
    Ok(Value::from(python_json::text(&value)?.into_owned()))
}

fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(false).build();
    syntax.expect("the default delimiters")
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    minijinja_contrib::add_to_environment(&mut env);
    env.set_syntax(syntax());
    env.set_undefined_behavior(UndefinedBehavior::Lenient);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_recursion_limit(RECURSION_LIMIT);
    env.set_unknown_method_callback(template_methods::call);
    env.set_formatter(template_code::print);
    template_code::add_operators(&mut env);
    env.add_function("raise_exception", raise_exception);
    env.add_function("strftime_now", strftime_now);
    env.add_filter("tojson", to_json);
    env.add_filter("trim", trim);
    env.add_filter("items", items);
    env.add_filter("string", string);
    env.add_filter("length", length);
    env.add_filter("count", length);
    env.add_test("sequence", |v: &Value| is_sequence(v));
    env.add_test("iterable", |v: &Value| is_iterable(v));
    env.add_test("number", |v: &Value| is_number(v));
    env
}

/// JSON as the template's values; objects keep the order of their keys.
fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(yes) => Value::from(yes),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64().unwrap_or(0.0)),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(items) => Value::from(items.into_iter().map(from_json).collect::<Vec<_>>()),
        serde_json::Value::Object(map) => Value::from_pairs(map.into_iter().map(|(key, item)| (key, from_json(item)))),
    }
}

fn describe(error: &Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut text = error.to_string();
    while let Some(error) = cause {
        if let Some(inner) = error.downcast_ref::<Error>() {
            if let Some(raised) = inner.detail().and_then(|detail| detail.strip_prefix(RAISED)) {
                return invalid(raised);
            }
            if inner.kind() == ErrorKind::OutOfFuel {
                let what = inner.detail().unwrap_or("it runs too long");
                return resource(format!("the chat template does more than is allowed: {what}"));
            }
        }
        cause = error.source();
        if let Some(next) = cause {
            text = format!("{text}: {next}");
        }
    }
    invalid(format!("the chat template failed: {text}"))
}

impl Template {
    pub fn compile(source: &str) -> Outcome<Template> {
        if source.len() > MAX_SOURCE {
            return Err(resource(format!("a chat template of {} bytes is too long", source.len())));
        }
        // Jinja2 reads every kind of line end as "\n".
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let code = Code::compile(plain_generation_blocks(&source), syntax())
            .map_err(|e| invalid(format!("the chat template does not compile: {e}")))?;
        Ok(Template { environment: environment(), code })
    }

    pub fn render(&self, context: &str, now: i64, limits: &RenderLimits) -> Outcome<String> {
        let context: serde_json::Value =
            serde_json::from_str(context).map_err(|e| invalid(format!("the chat template's variables: {e}")))?;
        let serde_json::Value::Object(mut context) = context else {
            return Err(invalid("the chat template's variables are no JSON object"));
        };
        context.insert(OUTPUT_LIMIT.into(), limits.output_bytes.into());
        if now != i64::MIN {
            context.insert(NOW.into(), now.into());
        }
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(limits.fuel));
        let budget = limits.made_bytes as usize;
        let text = self.code.render(&environment, from_json(serde_json::Value::Object(context)), budget);
        let text = text.map_err(|e| describe(&e))?;
        if text.len() as u64 > limits.output_bytes {
            return Err(resource(format!("the chat template's output exceeds {} bytes", limits.output_bytes)));
        }
        Ok(text)
    }
}

#[no_mangle]
pub unsafe extern "C" fn kt_template_compile(source: Slice, result: *mut *mut Template, out: *mut Buffer) -> Status {
    make(result, out, || Template::compile(source.text("the chat template")?))
}

#[no_mangle]
pub unsafe extern "C" fn kt_template_free(handle: *mut Template) {
    free(handle)
}

#[no_mangle]
pub unsafe extern "C" fn kt_template_render(
    handle: &Template,
    context: Slice,
    now: i64,
    limits: &RenderLimits,
    out: *mut Buffer,
) -> Status {
    answer(out, || {
        let text = handle.render(context.text("the chat template's variables")?, now, limits)?;
        Ok(Buffer::from_bytes(text.as_bytes()))
    })
}
