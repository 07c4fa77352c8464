//! One vocabulary, ready to encode and decode. Built by vocabulary.rs (GGUF, SentencePiece), tiktoken.rs or
//! tokenizer_json.rs; the pipeline itself is that of the `tokenizers` crate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tokenizers::models::bpe::BpeTrainer;
use tokenizers::tokenizer::{Model, OffsetType, PostProcessor, PreTokenizer, Token};
use tokenizers::{
    AddedToken, AddedVocabulary, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use crate::border::{answer, free, invalid, Buffer, Outcome, Slice, Status};
use crate::decode::{DecodePlan, Stream};

/// The longest text that is encoded in one piece: offsets inside the crates are 32 bits wide in places.
const MAX_TEXT_BYTES: usize = 1 << 28;

/// The ids that a tokenizer file itself gives to roles.
#[derive(Default, Clone, Copy)]
pub struct Roles {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unk: Option<u32>,
    pub pad: Option<u32>,
}

/// The parts a builder hands over.
pub struct Parts {
    pub model: ModelWrapper,
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: Option<PreTokenizerWrapper>,
    pub post_processor: Option<PostProcessorWrapper>,
    pub decoder: serde_json::Value,
    pub added: AddedVocabulary,
    /// The vocabulary's spelling of each id; None where no token has the id.
    pub texts: Vec<Option<String>>,
    pub kind: String,
    pub roles: Roles,
}

pub struct Tokenizer {
    model: ModelWrapper,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    added: AddedVocabulary,
    /// The same tokens, but special ones are not looked for in the text.
    added_plain: AddedVocabulary,
    pub plan: DecodePlan,
    texts: Vec<Option<String>>,
    ids: HashMap<String, u32>,
    special: Vec<bool>,
    bytes: OnceLock<ByteTable>,
    kind: String,
    roles: Roles,
    /// What grammar.rs builds from the vocabulary, for the stop tokens it was last built with.
    pub grammars: Mutex<Option<(Vec<u32>, Arc<llguidance::ParserFactory>)>>,
}

/// The bytes of all tokens, end to end.
struct ByteTable {
    data: Vec<u8>,
    ends: Vec<usize>,
}

impl Tokenizer {
    pub fn new(parts: Parts) -> Outcome<Tokenizer> {
        let mut special = vec![false; parts.texts.len()];
        for (id, token) in parts.added.get_added_tokens_decoder() {
            if let Some(flag) = special.get_mut(*id as usize) {
                *flag = token.special;
            }
        }
        let mut ids = HashMap::with_capacity(parts.texts.len());
        for (id, text) in parts.texts.iter().enumerate() {
            if let Some(text) = text {
                ids.insert(text.clone(), id as u32);
            }
        }
        let mut added_plain = parts.added.clone();
        added_plain.set_encode_special_tokens(true);
        Ok(Tokenizer {
            model: parts.model,
            normalizer: parts.normalizer,
            pre_tokenizer: parts.pre_tokenizer,
            post_processor: parts.post_processor,
            added: parts.added,
            added_plain,
            plan: DecodePlan::new(&parts.decoder)?,
            texts: parts.texts,
            ids,
            special,
            bytes: OnceLock::new(),
            kind: parts.kind,
            roles: parts.roles,
            grammars: Mutex::new(None),
        })
    }

    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Outcome<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(crate::border::resource(format!(
                "a text of {} bytes is too long to tokenize; the limit is {MAX_TEXT_BYTES}",
                text.len()
            )));
        }
        let failed = |e| invalid(format!("tokenizing failed: {e}"));
        let added = if parse_special { &self.added } else { &self.added_plain };
        let mut pieces = added.extract_and_normalize(self.normalizer.as_ref(), text);
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(failed)?;
        }
        self.model.tokenize_in_pretokenized(&mut pieces, None).map_err(failed)?;
        let mut encoding = pieces.into_encoding(None, 0, OffsetType::None).map_err(failed)?;
        if let Some(post_processor) = &self.post_processor {
            encoding = post_processor.process(encoding, None, add_special).map_err(failed)?;
        }
        let ids = encoding.get_ids().to_vec();
        match ids.iter().find(|id| **id as usize >= self.texts.len()) {
            Some(id) => Err(invalid(format!("the tokenizer made id {id}, outside its vocabulary of {}", self.texts.len()))),
            None => Ok(ids),
        }
    }

    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Outcome<String> {
        let mut stream = Stream::new(self, skip_special);
        let mut text = String::new();
        for id in ids {
            stream.push(*id, &mut text)?;
        }
        stream.finish(&mut text)?;
        Ok(text)
    }

    pub fn vocab_size(&self) -> usize {
        self.texts.len()
    }

    pub fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize)?.as_deref()
    }

    pub fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    pub fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    pub fn bytes(&self, id: u32) -> &[u8] {
        let table = self.bytes.get_or_init(|| {
            let mut table = ByteTable { data: Vec::new(), ends: Vec::with_capacity(self.texts.len()) };
            for (id, text) in self.texts.iter().enumerate() {
                if let Some(text) = text {
                    if self.special[id] {
                        table.data.extend_from_slice(text.as_bytes());
                    } else {
                        self.plan.append_token_bytes(text, &mut table.data);
                    }
                }
                table.ends.push(table.data.len());
            }
            table
        });
        let id = id as usize;
        if id >= table.ends.len() {
            return &[];
        }
        let begin = if id == 0 { 0 } else { table.ends[id - 1] };
        &table.data[begin..table.ends[id]]
    }
}

/// A model that only knows which id a text has: gives AddedVocabulary the ids we want.
pub struct Names<'a>(pub &'a HashMap<String, u32>, pub usize);

impl Model for Names<'_> {
    type Trainer = BpeTrainer;
    fn tokenize(&self, _: &str) -> tokenizers::Result<Vec<Token>> {
        Ok(vec![])
    }
    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.get(token).copied()
    }
    fn id_to_token(&self, _: u32) -> Option<String> {
        None
    }
    fn get_vocab(&self) -> HashMap<String, u32> {
        self.0.clone()
    }
    fn get_vocab_size(&self) -> usize {
        self.1
    }
    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Ok(vec![])
    }
    fn get_trainer(&self) -> BpeTrainer {
        BpeTrainer::default()
    }
}

/// Special and user-defined tokens with ids of our choosing.
pub fn added_vocabulary(
    tokens: Vec<(AddedToken, u32)>,
    size: usize,
    normalizer: Option<&NormalizerWrapper>,
) -> Outcome<AddedVocabulary> {
    let ids: HashMap<String, u32> = tokens.iter().map(|(token, id)| (token.content.clone(), *id)).collect();
    let mut added = AddedVocabulary::new();
    added
        .add_tokens(tokens.into_iter().map(|(token, _)| token), &Names(&ids, size), normalizer)
        .map_err(|e| invalid(format!("special tokens: {e}")))?;
    Ok(added)
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_free(tokenizer: *mut Tokenizer) {
    free(tokenizer)
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_encode(
    tokenizer: &Tokenizer,
    text: Slice,
    add_special: i32,
    parse_special: i32,
    out: *mut Buffer,
) -> Status {
    answer(out, || {
        let text = String::from_utf8_lossy(text.bytes());
        Ok(Buffer::from_ids(&tokenizer.encode(&text, add_special != 0, parse_special != 0)?))
    })
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_decode(
    tokenizer: &Tokenizer,
    ids: *const u32,
    count: usize,
    skip_special: i32,
    out: *mut Buffer,
) -> Status {
    answer(out, || {
        let ids = if count == 0 { &[] } else { std::slice::from_raw_parts(ids, count) };
        Ok(Buffer::from_bytes(tokenizer.decode(ids, skip_special != 0)?.as_bytes()))
    })
}

#[no_mangle]
pub extern "C" fn kt_tokenizer_vocab_size(tokenizer: &Tokenizer) -> u32 {
    tokenizer.vocab_size() as u32
}

#[no_mangle]
pub extern "C" fn kt_tokenizer_token_bytes(tokenizer: &Tokenizer, id: u32) -> Slice {
    crate::border::guarded(|| Ok(Slice::of(tokenizer.bytes(id)))).unwrap_or(Slice::of(&[]))
}

#[no_mangle]
pub extern "C" fn kt_tokenizer_token_text(tokenizer: &Tokenizer, id: u32) -> Slice {
    Slice::of(tokenizer.text(id).unwrap_or("").as_bytes())
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_token_id(tokenizer: &Tokenizer, text: Slice) -> i64 {
    text.text("token").ok().and_then(|text| tokenizer.id(text)).map_or(-1, i64::from)
}

#[no_mangle]
pub extern "C" fn kt_tokenizer_is_special(tokenizer: &Tokenizer, id: u32) -> i32 {
    i32::from(tokenizer.is_special(id))
}

#[no_mangle]
pub extern "C" fn kt_tokenizer_kind(tokenizer: &Tokenizer) -> Slice {
    Slice::of(tokenizer.kind.as_bytes())
}

#[no_mangle]
pub extern "C" fn kt_tokenizer_role(tokenizer: &Tokenizer, which: i32) -> i64 {
    let roles = &tokenizer.roles;
    let id = match which {
        0 => roles.bos,
        1 => roles.eos,
        2 => roles.unk,
        3 => roles.pad,
        _ => None,
    };
    id.map_or(-1, i64::from)
}
