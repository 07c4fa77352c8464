//! SentencePiece's tokenizer.model: a protocol buffer with pieces, scores and types. Only the fields that matter are read.

use serde_json::Value;

use crate::border::{invalid, make, unsupported, Buffer, Outcome, Slice, Status};
use crate::tokenizer::Tokenizer;
use crate::tokenizer_json::{config_tokens, parse_config};
use crate::vocabulary::{kind, Vocabulary};

/// A reader of protocol buffer fields; everything in it may be hostile.
struct Fields<'a> {
    bytes: &'a [u8],
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    Other,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.bytes.len())?;
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Some(taken)
    }

    /// None at the end; an error where the bytes are no field.
    fn next(&mut self, what: &str) -> Outcome<Option<(u64, Field<'a>)>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        self.field().map(Some).ok_or_else(|| invalid(format!("tokenizer.model: {what} is cut off or malformed")))
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.take(8).map(|_| Field::Other)?,
            2 => {
                let size = self.varint()?;
                Field::Bytes(self.take(size)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, field))
    }
}

/// Default values are those of SentencePiece's schema.
struct Model {
    vocabulary: Vocabulary,
    model_type: u64,
    ids: [i64; 4],
    dummy_prefix: bool,
    remove_extra: bool,
}

fn read(bytes: &[u8]) -> Outcome<Model> {
    let mut model = Model {
        vocabulary: Vocabulary::default(),
        model_type: 1,
        ids: [0, 1, 2, -1],
        dummy_prefix: true,
        remove_extra: true,
    };
    let mut fields = Fields { bytes };
    while let Some((number, field)) = fields.next("the file")? {
        match (number, field) {
            (1, Field::Bytes(piece)) => read_piece(piece, &mut model.vocabulary)?,
            (2, Field::Bytes(spec)) => read_trainer(spec, &mut model)?,
            (3, Field::Bytes(spec)) => read_normalizer(spec, &mut model)?,
            _ => {}
        }
    }
    Ok(model)
}

fn read_piece(bytes: &[u8], vocabulary: &mut Vocabulary) -> Outcome<()> {
    let (mut text, mut score, mut piece_kind) = (String::new(), 0.0, kind::NORMAL);
    let mut fields = Fields { bytes };
    while let Some((number, field)) = fields.next("a piece")? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => {
                let id = vocabulary.tokens.len();
                text = std::str::from_utf8(bytes)
                    .map_err(|_| invalid(format!("tokenizer.model: piece {id} is not UTF-8")))?
                    .to_string();
            }
            (2, Field::Fixed32(bits)) => score = f32::from_bits(bits),
            (3, Field::Number(value)) => piece_kind = i32::try_from(value).unwrap_or(kind::NORMAL),
            _ => {}
        }
    }
    vocabulary.tokens.push(text);
    vocabulary.scores.push(score);
    vocabulary.types.push(piece_kind);
    Ok(())
}

fn read_trainer(bytes: &[u8], model: &mut Model) -> Outcome<()> {
    let mut fields = Fields { bytes };
    while let Some((number, field)) = fields.next("the trainer's part")? {
        match (number, field) {
            (3, Field::Number(value)) => model.model_type = value,
            // Negative numbers are written as 64-bit two's complement.
            (40..=43, Field::Number(value)) => model.ids[number as usize - 40] = value as i64,
            _ => {}
        }
    }
    Ok(())
}

fn read_normalizer(bytes: &[u8], model: &mut Model) -> Outcome<()> {
    let mut fields = Fields { bytes };
    while let Some((number, field)) = fields.next("the normalizer's part")? {
        match (number, field) {
            (2, Field::Bytes(map)) => model.vocabulary.charsmap = map.to_vec(),
            (3, Field::Number(value)) => model.dummy_prefix = value != 0,
            (4, Field::Number(value)) => model.remove_extra = value != 0,
            _ => {}
        }
    }
    Ok(())
}

/// What a Hugging Face folder changes: the flags, and added tokens behind or inside the vocabulary.
fn apply_config(vocabulary: &mut Vocabulary, config: &Value) -> Outcome<()> {
    for (token, id) in config_tokens(config)? {
        let id = id as usize;
        while vocabulary.tokens.len() <= id {
            let next = vocabulary.tokens.len();
            vocabulary.tokens.push(format!("<unused-{next}>"));
            vocabulary.scores.push(0.0);
            vocabulary.types.push(kind::UNUSED);
        }
        vocabulary.types[id] = if vocabulary.types[id] == kind::UNKNOWN {
            kind::UNKNOWN
        } else if token.special {
            kind::CONTROL
        } else {
            kind::USER_DEFINED
        };
        vocabulary.tokens[id] = token.content;
    }
    vocabulary.add_bos = config["add_bos_token"].as_bool().or(vocabulary.add_bos);
    vocabulary.add_eos = config["add_eos_token"].as_bool().or(vocabulary.add_eos);
    Ok(())
}

pub fn from_sentencepiece(bytes: &[u8], config: &str) -> Outcome<Tokenizer> {
    let model = read(bytes)?;
    let mut vocabulary = model.vocabulary;
    vocabulary.model = match model.model_type {
        1 => "t5".into(),
        2 => "llama".into(),
        other => {
            return Err(unsupported(format!(
                "tokenizer.model: model type {other} is not known; known are 1 (unigram) and 2 (BPE)"
            )))
        }
    };
    let id = |place: usize| u32::try_from(model.ids[place]).ok();
    (vocabulary.unk, vocabulary.bos, vocabulary.eos) = (id(0), id(1), id(2));
    vocabulary.add_space_prefix = Some(model.dummy_prefix);
    vocabulary.remove_extra_whitespaces = Some(model.remove_extra);
    apply_config(&mut vocabulary, &parse_config(config)?)?;
    vocabulary.build()
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_from_sentencepiece(
    model: Slice,
    config: Slice,
    tokenizer: *mut *mut Tokenizer,
    out: *mut Buffer,
) -> Status {
    make(tokenizer, out, || from_sentencepiece(model.bytes(), config.text("tokenizer_config.json")?))
}
