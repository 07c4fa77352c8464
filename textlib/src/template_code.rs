//! Compiled templates whose growth is bounded. minijinja counts instructions, but a few of them can double a string or
//! copy text into a captured block; here all text that a template makes is counted. Uses minijinja's machinery (hence the
//! exact version in Cargo.toml): raw text is emitted like values are, so that the formatter sees it, and `~`, `+` and `%`
//! become filters of ours.

use std::cell::Cell;
use std::collections::BTreeMap;

use minijinja::machinery::{parse, CodeGenerator, Instruction, Instructions};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};

use crate::python_json;
use crate::template_methods::{too_large, MAX_STRING};
use crate::template_work;

const NAME: &str = "chat template";
const CONCAT: &str = "kl_concat";
const ADD: &str = "kl_add";
const REMAINDER: &str = "kl_remainder";
/// Tells the engine not to keep the filter in a slot of its own.
const NO_SLOT: u8 = !0;

thread_local! {
    /// Bytes that the template running on this thread may still make.
    static BUDGET: Cell<usize> = const { Cell::new(0) };
}

/// Takes `bytes` off the budget of the running template.
pub fn charge(bytes: usize) -> Result<(), Error> {
    BUDGET.with(|budget| match budget.get().checked_sub(bytes) {
        Some(left) => {
            budget.set(left);
            Ok(())
        }
        None => Err(too_large()),
    })
}

pub struct Code {
    instructions: Instructions<'static>,
    blocks: BTreeMap<&'static str, Instructions<'static>>,
    /// What the others borrow from; declared last to go last.
    _source: Box<str>,
}

impl Code {
    pub fn compile(source: String, syntax: SyntaxConfig) -> Result<Code, Error> {
        let source = source.into_boxed_str();
        // SAFETY: the text lives in a box that Code keeps as long as the instructions that point into it; neither is
        // handed out with this lifetime.
        let text: &'static str = unsafe { &*std::ptr::from_ref::<str>(&source) };
        let tree = parse(text, NAME, syntax)?;
        let mut generator = CodeGenerator::new(NAME, text);
        generator.compile_stmt(&tree);
        let (instructions, blocks) = generator.finish();
        Ok(Code {
            instructions: counted(&instructions, text),
            blocks: blocks.iter().map(|(name, block)| (*name, counted(block, text))).collect(),
            _source: source,
        })
    }

    /// Renders; the text and everything made on the way share `budget` bytes.
    pub fn render(&self, environment: &Environment, context: Value, budget: usize) -> Result<String, Error> {
        BUDGET.with(|left| left.set(budget));
        template_work::begin();
        let mut text = String::new();
        let mut output = minijinja::machinery::make_string_output(&mut text);
        minijinja::machinery::eval(
            environment,
            &self.instructions,
            context,
            &self.blocks,
            &mut output,
            AutoEscape::None,
        )?;
        Ok(text)
    }
}

/// The same program with raw text emitted as values, with our operators, and with operations that walk values paid for. One
/// instruction may become several, so the targets of jumps move.
fn counted(program: &Instructions<'static>, source: &'static str) -> Instructions<'static> {
    let mut places = Vec::new();
    let mut next = 0;
    let mut previous = None;
    for at in 0.. {
        places.push(next);
        let Some(instruction) = program.get(at) else { break };
        next += paid(instruction, previous).len() as u32;
        previous = Some(instruction);
    }
    let place = |target: u32| places.get(target as usize).copied().unwrap_or(next);
    let mut result = Instructions::new(NAME, source);
    let mut previous = None;
    for at in 0..places.len() as u32 - 1 {
        let Some(instruction) = program.get(at) else { break };
        let line = program.get_line(at).unwrap_or(0).min(usize::from(u16::MAX)) as u16;
        for changed in paid(instruction, previous) {
            result.add_with_line(moved(changed, place), line);
        }
        previous = Some(instruction);
    }
    result
}

fn moved(instruction: Instruction<'static>, place: impl Fn(u32) -> u32) -> Instruction<'static> {
    match instruction {
        Instruction::Iterate(target) => Instruction::Iterate(place(target)),
        Instruction::Jump(target) => Instruction::Jump(place(target)),
        Instruction::JumpIfFalse(target) => Instruction::JumpIfFalse(place(target)),
        Instruction::JumpIfFalseOrPop(target) => Instruction::JumpIfFalseOrPop(place(target)),
        Instruction::JumpIfTrueOrPop(target) => Instruction::JumpIfTrueOrPop(place(target)),
        Instruction::BuildMacro(name, target, flags) => Instruction::BuildMacro(name, place(target), flags),
        other => other,
    }
}

/// What stands for an instruction.
fn paid(instruction: &Instruction<'static>, previous: Option<&Instruction<'static>>) -> Vec<Instruction<'static>> {
    let filter = |name, arguments| Instruction::ApplyFilter(name, Some(arguments), NO_SLOT);
    let test = |name| vec![Instruction::PerformTest(name, Some(2), NO_SLOT)];
    let this = || instruction.clone();
    match instruction {
        Instruction::EmitRaw(text) => vec![Instruction::LoadConst(Value::from(*text)), Instruction::Emit],
        Instruction::StringConcat => vec![filter(CONCAT, 2)],
        Instruction::Add => vec![filter(ADD, 2)],
        Instruction::Rem => vec![filter(REMAINDER, 2)],
        Instruction::Eq => test("eq"),
        Instruction::Ne => test("ne"),
        Instruction::Lt => test("lt"),
        Instruction::Lte => test("le"),
        Instruction::Gt => test("gt"),
        Instruction::Gte => test("ge"),
        Instruction::In => vec![filter(template_work::IN, 2)],
        Instruction::Slice => vec![filter(template_work::SLICE, 4)],
        Instruction::CompareAndPreserve(_) => vec![filter(template_work::WEIGH, 1), this()],
        Instruction::GetItem if !matches!(previous, Some(Instruction::LoadConst(_))) => {
            vec![filter(template_work::WEIGH, 1), this()]
        }
        Instruction::CallMethod("changed", Some(count)) => vec![
            Instruction::BuildList(Some(usize::from(*count).saturating_sub(1))),
            filter(template_work::WEIGH, 1),
            Instruction::CallMethod("changed", Some(2)),
        ],
        Instruction::BuildList(_)
        | Instruction::BuildTuple(_)
        | Instruction::BuildMap(_)
        | Instruction::CallFunction("dict" | "namespace", _) => vec![this(), filter(template_work::WEIGH, 1)],
        Instruction::Mul => vec![this(), filter(template_work::LENGTH, 1)],
        Instruction::ApplyFilter(name, Some(count), _) if template_work::is_walking_filter(name) => {
            vec![Instruction::LoadConst(Value::from(*name)), filter(template_work::PAID_FILTER, count + 1)]
        }
        _ => vec![this()],
    }
}

fn joined(left: &str, right: &str) -> Result<Value, Error> {
    if left.len() + right.len() > MAX_STRING {
        return Err(too_large());
    }
    charge(left.len() + right.len())?;
    Ok(Value::from([left, right].concat()))
}

fn concat(left: &Value, right: &Value) -> Result<Value, Error> {
    joined(&python_json::text(left)?, &python_json::text(right)?)
}

/// The engine's own operator, where there is nothing to count.
fn plain(state: &State, operator: &str, left: &Value, right: &Value) -> Result<Value, Error> {
    let expression = state.env().compile_expression(match operator {
        "+" => "a + b",
        _ => "a % b",
    })?;
    expression.eval(Value::from_pairs([("a", left.clone()), ("b", right.clone())]))
}

fn add(state: &State, left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return joined(left, right);
    }
    template_work::spend((left.len().unwrap_or(0) + right.len().unwrap_or(0)) / 8)?;
    charge(8 * (left.len().unwrap_or(0) + right.len().unwrap_or(0)))?;
    plain(state, "+", left, right)
}

/// Of strings, `%` is Python's formatting.
fn remainder(state: &mut State, left: &Value, right: &Value) -> Result<Value, Error> {
    let Some(format) = left.as_str() else {
        return plain(state, "%", left, right);
    };
    charge(format.len())?;
    template_work::bound_widths(format)?;
    let mut arguments = vec![left.clone()];
    match right.kind() {
        ValueKind::Seq => arguments.extend(right.try_iter()?),
        _ => arguments.push(right.clone()),
    }
    state.apply_filter("format", &arguments)
}

pub fn add_operators(environment: &mut Environment) {
    template_work::add_to(environment);
    environment.add_filter(CONCAT, concat);
    environment.add_filter(ADD, add);
    environment.add_filter(REMAINDER, remainder);
}

/// Emits a value as Python's str shows it; this is where output and captured text are counted.
pub fn print(out: &mut minijinja::Output, _: &mut State, value: &Value) -> Result<(), Error> {
    if value.as_str().is_none() {
        template_work::weigh(value)?;
    }
    let text = python_json::text(value)?;
    charge(text.len())?;
    out.write_str(&text).map_err(|_| Error::new(ErrorKind::WriteFailure, "writing failed"))
}
