//! Ids to text, one token at a time. Whole-text decoding is the same code, so the two agree by construction; that it
//! equals the `tokenizers` crate's own decoding is what the golden tests show.
//!
//! A decoder of the crate maps the list of all tokens to text. Here its steps are sorted by what they need to see: one
//! token, a run of byte tokens, all bytes, or the joined text.

use serde_json::Value;
use tokenizers::{Decoder, DecoderWrapper};

use crate::border::{free, answer, invalid, unsupported, Buffer, Outcome, Status};
use crate::tokenizer::Tokenizer;

pub struct DecodePlan {
    shape: Shape,
}

enum Shape {
    /// No decoder: tokens are joined with spaces.
    Joined,
    /// Byte-level: every token is bytes; characters may span tokens.
    Bytes { before: Vec<DecoderWrapper> },
    /// Every token is text; runs of "<0x0A>" tokens are bytes.
    Pieces { before: Vec<DecoderWrapper>, byte_fallback: bool, after: Vec<DecoderWrapper>, strip: Option<(char, usize)> },
}

fn flatten<'a>(decoder: &'a Value, steps: &mut Vec<&'a Value>) {
    match decoder.get("decoders").and_then(Value::as_array) {
        Some(parts) if decoder["type"] == "Sequence" => parts.iter().for_each(|part| flatten(part, steps)),
        _ => steps.push(decoder),
    }
}

fn wrapper(step: &Value) -> Outcome<DecoderWrapper> {
    serde_json::from_value(step.clone()).map_err(|e| invalid(format!("decoder: {e}")))
}

impl DecodePlan {
    pub fn new(decoder: &Value) -> Outcome<DecodePlan> {
        if decoder.is_null() {
            return Ok(DecodePlan { shape: Shape::Joined });
        }
        let mut steps = Vec::new();
        flatten(decoder, &mut steps);
        let mut before = Vec::new();
        let mut after = Vec::new();
        let (mut byte_fallback, mut byte_level, mut fused) = (false, false, false);
        let mut strip = None;
        for step in steps {
            match step["type"].as_str().unwrap_or("") {
                "Fuse" => fused = true,
                "ByteLevel" if !byte_fallback && !fused => byte_level = true,
                "ByteFallback" if !byte_level && !fused => byte_fallback = true,
                "Strip" if fused && !byte_level && strip.is_none() && step["stop"] == 0 => {
                    let content = step["content"].as_str().and_then(|s| s.chars().next());
                    let content = content.ok_or_else(|| invalid("decoder: Strip without a character"))?;
                    strip = Some((content, step["start"].as_u64().unwrap_or(0) as usize));
                }
                "Replace" | "Metaspace" | "WordPiece" | "Strip" if !fused && !byte_level => {
                    if byte_fallback { &mut after } else { &mut before }.push(wrapper(step)?);
                }
                other => {
                    return Err(unsupported(format!(
                        "decoder: a step of type '{other}' at this place is not known; known are ByteLevel, ByteFallback, \
                         Fuse, Replace, Metaspace, WordPiece and Strip"
                    )))
                }
            }
        }
        let shape = if byte_level {
            Shape::Bytes { before }
        } else {
            Shape::Pieces { before, byte_fallback, after, strip }
        };
        Ok(DecodePlan { shape })
    }

    /// The bytes of one token somewhere inside a text.
    pub fn append_token_bytes(&self, token: &str, out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Joined => out.extend_from_slice(token.as_bytes()),
            Shape::Bytes { before } => append_byte_level(&through(before, token, false), out),
            Shape::Pieces { before, byte_fallback, after, .. } => {
                let piece = through(before, token, false);
                match byte_of(&piece) {
                    Some(byte) if *byte_fallback => out.push(byte),
                    _ => out.extend_from_slice(through(after, &piece, false).as_bytes()),
                }
            }
        }
    }
}

/// One token through steps that look at one token and at whether it is the first.
fn through(steps: &[DecoderWrapper], token: &str, first: bool) -> String {
    let mut text = token.to_string();
    for step in steps {
        let list = if first { vec![text.clone()] } else { vec!["a".into(), text.clone()] };
        if let Some(last) = step.decode_chain(list).ok().and_then(|mut list| list.pop()) {
            text = last;
        }
    }
    text
}

fn byte_of(token: &str) -> Option<u8> {
    if token.len() == 6 && token.starts_with("<0x") && token.ends_with('>') && token.is_ascii() {
        u8::from_str_radix(&token[3..5], 16).ok()
    } else {
        None
    }
}

/// The byte that a character of the byte-level alphabet stands for.
fn byte_of_char(c: char) -> Option<u8> {
    let code = c as u32;
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        // The other 68 bytes in ascending order: 0x00-0x20, 0x7f-0xa0, 0xad.
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The character that stands for a byte in the byte-level alphabet.
pub fn char_of_byte(byte: u8) -> char {
    let code = match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
        0x00..=0x20 => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x121 + u32::from(byte) - 0x7f,
        0xad => 0x143,
    };
    char::from_u32(code).expect("a code point below 0x144")
}

fn append_byte_level(token: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for c in token.chars() {
        match byte_of_char(c) {
            Some(byte) => out.push(byte),
            None => {
                // Not spelled in the alphabet: an added token, which stands for itself.
                out.truncate(start);
                out.extend_from_slice(token.as_bytes());
                return;
            }
        }
    }
}

/// Decoding in progress.
pub struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    first: bool,
    strip_left: usize,
    /// Bytes: the beginning of a character. Pieces: a run of byte tokens.
    bytes: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> Stream<'a> {
        let mut stream = Stream { tokenizer, skip_special, first: true, strip_left: 0, bytes: Vec::new() };
        stream.restart();
        stream
    }

    fn restart(&mut self) {
        self.first = true;
        self.bytes.clear();
        self.strip_left = match &self.tokenizer.plan.shape {
            Shape::Pieces { strip: Some((_, count)), .. } => *count,
            _ => 0,
        };
    }

    pub fn push(&mut self, id: u32, out: &mut String) -> Outcome<()> {
        let tokenizer = self.tokenizer;
        let Some(token) = tokenizer.text(id) else { return Ok(()) };
        if self.skip_special && tokenizer.is_special(id) {
            return Ok(());
        }
        let first = std::mem::replace(&mut self.first, false);
        match &tokenizer.plan.shape {
            Shape::Joined => {
                if !first {
                    out.push(' ');
                }
                out.push_str(token);
            }
            Shape::Bytes { before } => {
                append_byte_level(&through(before, token, first), &mut self.bytes);
                drain_characters(&mut self.bytes, out);
            }
            Shape::Pieces { before, byte_fallback, after, strip } => {
                let piece = through(before, token, first);
                match byte_of(&piece) {
                    // A run of bytes is text or, if any of it is not UTF-8, as many U+FFFD as bytes: it has to end first.
                    Some(byte) if *byte_fallback => self.bytes.push(byte),
                    _ => {
                        self.flush_run(after, *strip, out);
                        self.emit(&through(after, &piece, first), *strip, out);
                    }
                }
            }
        }
        Ok(())
    }

    pub fn finish(&mut self, out: &mut String) -> Outcome<()> {
        match &self.tokenizer.plan.shape {
            Shape::Joined => {}
            Shape::Bytes { .. } => out.push_str(&String::from_utf8_lossy(&self.bytes)),
            Shape::Pieces { after, strip, .. } => self.flush_run(after, *strip, out),
        }
        self.restart();
        Ok(())
    }

    fn flush_run(&mut self, after: &[DecoderWrapper], strip: Option<(char, usize)>, out: &mut String) {
        if self.bytes.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.bytes);
        let text = match std::str::from_utf8(&run) {
            Ok(text) => text.to_string(),
            Err(_) => "\u{fffd}".repeat(run.len()),
        };
        self.emit(&through(after, &text, false), strip, out);
    }

    /// Appends, leaving out the characters that the joined text loses at its start.
    fn emit(&mut self, text: &str, strip: Option<(char, usize)>, out: &mut String) {
        let mut rest = text;
        if let Some((content, _)) = strip {
            while self.strip_left > 0 && !rest.is_empty() {
                match rest.strip_prefix(content) {
                    Some(shorter) => {
                        rest = shorter;
                        self.strip_left -= 1;
                    }
                    None => self.strip_left = 0,
                }
            }
        }
        out.push_str(rest);
    }
}

/// Moves complete characters from `bytes` to `out`; an invalid part becomes U+FFFD; an unfinished character stays.
fn drain_characters(bytes: &mut Vec<u8>, out: &mut String) {
    let mut begin = 0;
    loop {
        match std::str::from_utf8(&bytes[begin..]) {
            Ok(text) => {
                out.push_str(text);
                begin = bytes.len();
                break;
            }
            Err(error) => {
                let valid = begin + error.valid_up_to();
                out.push_str(&String::from_utf8_lossy(&bytes[begin..valid]));
                begin = valid;
                match error.error_len() {
                    Some(length) => {
                        out.push('\u{fffd}');
                        begin += length;
                    }
                    None => break,
                }
            }
        }
    }
    bytes.drain(..begin);
}

#[no_mangle]
pub extern "C" fn kt_stream_new(tokenizer: &'static Tokenizer, skip_special: i32) -> *mut Stream<'static> {
    Box::into_raw(Box::new(Stream::new(tokenizer, skip_special != 0)))
}

#[no_mangle]
pub unsafe extern "C" fn kt_stream_free(stream: *mut Stream<'static>) {
    free(stream)
}

#[no_mangle]
pub unsafe extern "C" fn kt_stream_push(stream: &mut Stream<'static>, id: u32, out: *mut Buffer) -> Status {
    answer(out, || {
        let mut text = String::new();
        stream.push(id, &mut text)?;
        Ok(Buffer::from_bytes(text.as_bytes()))
    })
}

#[no_mangle]
pub unsafe extern "C" fn kt_stream_finish(stream: &mut Stream<'static>, out: *mut Buffer) -> Status {
    answer(out, || {
        let mut text = String::new();
        stream.finish(&mut text)?;
        Ok(Buffer::from_bytes(text.as_bytes()))
    })
}
