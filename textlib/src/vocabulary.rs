//! Vocabularies as GGUF metadata list them, turned into models of the `tokenizers` crate.

use std::collections::{HashMap, HashSet};

use serde_json::{json, Value};
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use crate::border::{invalid, make, unsupported, Buffer, Outcome, Slice, Status};
use crate::pre;
use crate::tokenizer::{added_vocabulary, Parts, Roles, Tokenizer};

/// The types that tokens have in GGUF and SentencePiece files.
pub mod kind {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
}

#[repr(C)]
pub struct RawVocabulary {
    model: Slice,
    pre: Slice,
    architecture: Slice,
    tokens: *const Slice,
    token_count: usize,
    scores: *const f32,
    types: *const i32,
    merges: *const Slice,
    merge_count: usize,
    charsmap: Slice,
    bos: i32,
    eos: i32,
    unk: i32,
    sep: i32,
    add_bos: i32,
    add_eos: i32,
    add_sep: i32,
    add_space_prefix: i32,
    remove_extra_whitespaces: i32,
    lowercase: i32,
    strip_accents: i32,
}

/// The same, in Rust's terms.
#[derive(Default)]
pub struct Vocabulary {
    pub model: String,
    pub pre: String,
    pub architecture: String,
    pub tokens: Vec<String>,
    pub scores: Vec<f32>,
    pub types: Vec<i32>,
    pub merges: Vec<(String, String)>,
    pub charsmap: Vec<u8>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unk: Option<u32>,
    pub sep: Option<u32>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_sep: Option<bool>,
    pub add_space_prefix: Option<bool>,
    pub remove_extra_whitespaces: Option<bool>,
    pub lowercase: Option<bool>,
    pub strip_accents: Option<bool>,
}

fn flag(value: i32) -> Option<bool> {
    (value >= 0).then_some(value != 0)
}

impl RawVocabulary {
    unsafe fn read(&self) -> Outcome<Vocabulary> {
        let list = |data: *const Slice, count: usize| if count == 0 { &[] } else { std::slice::from_raw_parts(data, count) };
        let mut tokens = Vec::with_capacity(self.token_count);
        for (id, token) in list(self.tokens, self.token_count).iter().enumerate() {
            tokens.push(token.text(&format!("tokenizer.ggml.tokens[{id}]"))?.to_string());
        }
        let mut merges = Vec::with_capacity(self.merge_count);
        for (rank, merge) in list(self.merges, self.merge_count).iter().enumerate() {
            let what = format!("tokenizer.ggml.merges[{rank}]");
            let text = merge.text(&what)?;
            // The first part may itself begin with a space in vocabularies that are not byte-level.
            let at = text.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
            let at = at.ok_or_else(|| invalid(format!("{what}: '{text}' has no space between two parts")))?;
            merges.push((text[..at].to_string(), text[at + 1..].to_string()));
        }
        let numbers = |data: *const f32| if data.is_null() { vec![] } else { std::slice::from_raw_parts(data, self.token_count).to_vec() };
        let types = if self.types.is_null() { vec![] } else { std::slice::from_raw_parts(self.types, self.token_count).to_vec() };
        let vocabulary = Vocabulary {
            model: self.model.text("tokenizer.ggml.model")?.to_string(),
            pre: self.pre.text("tokenizer.ggml.pre")?.to_string(),
            architecture: self.architecture.text("general.architecture")?.to_string(),
            tokens,
            scores: numbers(self.scores),
            types,
            merges,
            charsmap: self.charsmap.bytes().to_vec(),
            bos: u32::try_from(self.bos).ok(),
            eos: u32::try_from(self.eos).ok(),
            unk: u32::try_from(self.unk).ok(),
            sep: u32::try_from(self.sep).ok(),
            add_bos: flag(self.add_bos),
            add_eos: flag(self.add_eos),
            add_sep: flag(self.add_sep),
            add_space_prefix: flag(self.add_space_prefix),
            remove_extra_whitespaces: flag(self.remove_extra_whitespaces),
            lowercase: flag(self.lowercase),
            strip_accents: flag(self.strip_accents),
        };
        Ok(vocabulary)
    }
}

/// A part of a pipeline from its JSON form.
pub fn part<T: serde::de::DeserializeOwned>(what: &str, value: Value) -> Outcome<T> {
    serde_json::from_value(value).map_err(|e| invalid(format!("{what}: {e}")))
}

pub fn split_pre_tokenizer(patterns: &[&str]) -> Outcome<PreTokenizerWrapper> {
    let mut steps: Vec<Value> = patterns
        .iter()
        .map(|p| json!({"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": false}))
        .collect();
    steps.push(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}));
    part("pre-tokenizer", json!({"type": "Sequence", "pretokenizers": steps}))
}

pub fn byte_level_decoder() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})
}

/// Puts ids around every text.
pub fn template(before: &[(String, u32)], after: &[(String, u32)]) -> Outcome<Option<PostProcessorWrapper>> {
    if before.is_empty() && after.is_empty() {
        return Ok(None);
    }
    let special = |(name, _): &(String, u32)| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let mut single: Vec<Value> = before.iter().map(special).collect();
    single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
    single.extend(after.iter().map(special));
    let mut tokens = serde_json::Map::new();
    for (name, id) in before.iter().chain(after) {
        tokens.insert(name.clone(), json!({"id": name, "ids": [id], "tokens": [name]}));
    }
    let processor: TemplateProcessing = part(
        "post-processor",
        json!({"single": single, "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
               "special_tokens": tokens}),
    )?;
    Ok(Some(PostProcessorWrapper::Template(processor)))
}

impl Vocabulary {
    fn type_of(&self, id: usize) -> i32 {
        self.types.get(id).copied().unwrap_or(kind::NORMAL)
    }

    /// What text can turn into by merging: control and unused tokens are never made of text.
    fn is_text(&self, id: usize) -> bool {
        !matches!(self.type_of(id), kind::CONTROL | kind::UNUSED)
    }

    fn model_vocabulary(&self) -> HashMap<String, u32> {
        let texts = self.tokens.iter().enumerate().filter(|(id, token)| self.is_text(*id) && !token.is_empty());
        texts.map(|(id, token)| (token.clone(), id as u32)).collect()
    }

    fn added_tokens(&self) -> Vec<(AddedToken, u32)> {
        let mut tokens = Vec::new();
        for (id, token) in self.tokens.iter().enumerate() {
            let special = match self.type_of(id) {
                kind::CONTROL | kind::UNKNOWN => true,
                kind::USER_DEFINED => false,
                _ => continue,
            };
            if !token.is_empty() {
                tokens.push((AddedToken::from(token.clone(), special).normalized(false).special(special), id as u32));
            }
        }
        tokens
    }

    fn named(&self, id: Option<u32>, what: &str) -> Outcome<(String, u32)> {
        let id = id.ok_or_else(|| invalid(format!("the tokenizer adds {what} but the file has no {what} id")))?;
        let name = self.tokens.get(id as usize).ok_or_else(|| {
            invalid(format!("{what} id {id} is outside the vocabulary of {} tokens", self.tokens.len()))
        })?;
        Ok((name.clone(), id))
    }

    /// The file's add_sep speaks of what stands between two texts.
    fn around(&self, add_bos: bool, add_eos: bool) -> Outcome<Option<PostProcessorWrapper>> {
        let (mut before, mut after) = (vec![], vec![]);
        if self.add_bos.unwrap_or(add_bos && self.bos.is_some()) {
            before.push(self.named(self.bos, "BOS")?);
        }
        if self.add_eos.unwrap_or(add_eos && self.eos.is_some()) {
            after.push(self.named(self.eos, "EOS")?);
        }
        template(&before, &after)
    }

    /// WordPiece: [CLS] in front and one [SEP] behind, whichever of its two roles the file states.
    fn around_words(&self) -> Outcome<Option<PostProcessorWrapper>> {
        let end = self.sep.or(self.eos);
        let named = |id: Option<u32>, what: &str, wanted: bool| -> Outcome<Vec<(String, u32)>> {
            if wanted { Ok(vec![self.named(id, what)?]) } else { Ok(vec![]) }
        };
        let before = named(self.bos, "BOS", self.add_bos.unwrap_or(self.bos.is_some()))?;
        let wanted = match (self.add_sep, self.add_eos) {
            (None, None) => end.is_some(),
            (sep, eos) => sep.unwrap_or(false) || eos.unwrap_or(false),
        };
        template(&before, &named(end, "SEP", wanted)?)
    }

    fn check(&self) -> Outcome<()> {
        if self.tokens.is_empty() {
            return Err(invalid("tokenizer.ggml.tokens: the vocabulary is empty"));
        }
        if self.tokens.len() > 1 << 24 {
            return Err(invalid(format!("tokenizer.ggml.tokens: {} tokens are too many", self.tokens.len())));
        }
        if let Some(bad) = self.scores.iter().position(|s| !s.is_finite()) {
            return Err(invalid(format!("tokenizer.ggml.scores[{bad}]: {} is not a finite number", self.scores[bad])));
        }
        Ok(())
    }

    pub fn build(self) -> Outcome<Tokenizer> {
        self.check()?;
        let parts = match self.model.as_str() {
            "gpt2" => self.byte_level()?,
            "llama" => self.sentencepiece_bpe()?,
            "gemma4" => self.sentencepiece_bpe()?,
            "t5" => self.unigram()?,
            "bert" => self.word_piece()?,
            other => {
                return Err(unsupported(format!(
                    "tokenizer.ggml.model: '{other}' is not known; known are gpt2, llama, gemma4, t5 and bert"
                )))
            }
        };
        Tokenizer::new(parts)
    }

    fn roles(&self) -> Roles {
        Roles { bos: self.bos, eos: self.eos, unk: self.unk, pad: None }
    }

    fn texts(&self) -> Vec<Option<String>> {
        self.tokens.iter().map(|token| Some(token.clone())).collect()
    }

    fn byte_level(&self) -> Outcome<Parts> {
        let name = if self.pre.is_empty() { "default" } else { &self.pre };
        let pre = pre::find(name).ok_or_else(|| {
            unsupported(format!("tokenizer.ggml.pre: '{name}' is not known; known are {}", pre::known_names()))
        })?;
        let vocabulary = self.model_vocabulary();
        let merges = if self.merges.is_empty() && self.tokens.len() > 256 {
            // Ranked vocabularies (tiktoken's) need none: a token's id is its rank.
            merges_of_ranks(&vocabulary, |_, id| -i64::from(id))
        } else {
            self.checked_merges(&vocabulary)?
        };
        let model = BPE::builder()
            .vocab_and_merges(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
            .ignore_merges(pre.ignore_merges)
            .build()
            .map_err(|e| invalid(format!("tokenizer.ggml.merges: {e}")))?;
        let normalizer = if pre.nfc { Some(part("normalizer", json!({"type": "NFC"}))?) } else { None };
        let added = added_vocabulary(self.added_tokens(), self.tokens.len(), normalizer.as_ref())?;
        Ok(Parts {
            model: ModelWrapper::BPE(model),
            normalizer,
            pre_tokenizer: Some(split_pre_tokenizer(pre.patterns)?),
            post_processor: self.around(pre.add_bos, false)?,
            decoder: byte_level_decoder(),
            added,
            texts: self.texts(),
            kind: format!("gpt2/{name}"),
            roles: self.roles(),
        })
    }

    /// Merges whose parts or result are control tokens are dropped; those that name no token at all are an error.
    fn checked_merges(&self, vocabulary: &HashMap<String, u32>) -> Outcome<Vec<(String, String)>> {
        let known: HashSet<&str> = self.tokens.iter().map(String::as_str).collect();
        let mut merges = Vec::with_capacity(self.merges.len());
        for (rank, (left, right)) in self.merges.iter().enumerate() {
            let whole = format!("{left}{right}");
            for text in [left, right, &whole] {
                if !known.contains(text.as_str()) {
                    return Err(invalid(format!("tokenizer.ggml.merges[{rank}]: '{text}' is not in the vocabulary")));
                }
            }
            if [left, right, &whole].iter().all(|text| vocabulary.contains_key(text.as_str())) {
                merges.push((left.clone(), right.clone()));
            }
        }
        Ok(merges)
    }

    fn sentencepiece_bpe(&self) -> Outcome<Parts> {
        let gemma = self.architecture.starts_with("gemma");
        let mut spelled = self.tokens.clone();
        if gemma {
            // Runs of spaces are listed as such; merging sees them as U+2581.
            for token in spelled.iter_mut().filter(|t| t.len() > 1 && t.bytes().all(|b| b == b' ')) {
                *token = "\u{2581}".repeat(token.len());
            }
        }
        let text_of = |id: usize| self.is_text(id) && !spelled[id].is_empty();
        let vocabulary: HashMap<String, u32> =
            (0..spelled.len()).filter(|id| text_of(*id)).map(|id| (spelled[id].clone(), id as u32)).collect();
        let merges = if !self.merges.is_empty() {
            self.checked_merges(&vocabulary)?
        } else if gemma {
            // Gemma's scores do not follow its merges; the order of its tokens does.
            merges_of_ranks(&vocabulary, |_, id| -i64::from(id))
        } else if self.scores.is_empty() {
            return Err(invalid("tokenizer.ggml.scores: missing, and there are no merges either"));
        } else {
            let order = score_order(&self.scores);
            merges_of_ranks(&vocabulary, |_, id| order[id as usize])
        };
        let byte_fallback = vocabulary.contains_key("<0x00>");
        let unknown = self.unk.and_then(|id| self.tokens.get(id as usize)).filter(|t| vocabulary.contains_key(*t)).cloned();
        let mut builder = BPE::builder()
            .vocab_and_merges(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
            .byte_fallback(byte_fallback)
            .fuse_unk(true);
        if let Some(unknown) = unknown {
            builder = builder.unk_token(unknown);
        }
        let model = builder.build().map_err(|e| invalid(format!("tokenizer.ggml.tokens: {e}")))?;
        let prefix = self.add_space_prefix.unwrap_or(!gemma);
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
        let normalizer: NormalizerWrapper = if prefix {
            part("normalizer", json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"}, replace]}))?
        } else {
            part("normalizer", replace)?
        };
        // Spaces that a user-defined token consists of are never seen as such: they are U+2581 by then.
        let added = self.added_tokens().into_iter().filter(|(t, _)| !(gemma && t.content.bytes().all(|b| b == b' '))).collect();
        Ok(Parts {
            model: ModelWrapper::BPE(model),
            added: added_vocabulary(added, self.tokens.len(), Some(&normalizer))?,
            normalizer: Some(normalizer),
            pre_tokenizer: None,
            post_processor: self.around(true, false)?,
            decoder: sentencepiece_decoder(prefix),
            texts: self.texts(),
            kind: format!("{}/spm", self.model),
            roles: self.roles(),
        })
    }

    fn unigram(&self) -> Outcome<Parts> {
        if self.scores.len() != self.tokens.len() {
            return Err(invalid("tokenizer.ggml.scores: a unigram vocabulary needs a score for every token"));
        }
        let unknown = self.unk.ok_or_else(|| invalid("tokenizer.ggml.unknown_token_id: missing"))?;
        let pieces = (0..self.tokens.len())
            .map(|id| {
                // A control token keeps its place in the list under a name that no text spells.
                let text = if self.is_text(id) { self.tokens[id].clone() } else { format!("\u{10ffff}\u{10fffe}{id}") };
                (text, f64::from(self.scores[id]))
            })
            .collect();
        let byte_fallback = self.tokens.iter().any(|t| t == "<0x00>");
        let model = Unigram::from(pieces, Some(unknown as usize), byte_fallback)
            .map_err(|e| invalid(format!("tokenizer.ggml.tokens: {e}")))?;
        let mut steps = Vec::new();
        if !self.charsmap.is_empty() {
            check_charsmap(&self.charsmap)?;
            steps.push(json!({"type": "Precompiled", "precompiled_charsmap": base64(&self.charsmap)}));
        }
        if self.remove_extra_whitespaces.unwrap_or(true) {
            steps.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
            steps.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u{2581}"}));
        }
        let prefix = self.add_space_prefix.unwrap_or(true);
        let scheme = if prefix { "always" } else { "never" };
        let normalizer: NormalizerWrapper = part("normalizer", json!({"type": "Sequence", "normalizers": steps}))?;
        let metaspace = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true});
        Ok(Parts {
            model: ModelWrapper::Unigram(model),
            added: added_vocabulary(self.added_tokens(), self.tokens.len(), Some(&normalizer))?,
            normalizer: Some(normalizer),
            pre_tokenizer: Some(part("pre-tokenizer", metaspace.clone())?),
            post_processor: self.around(false, true)?,
            decoder: if byte_fallback { sentencepiece_decoder(prefix) } else { metaspace },
            texts: self.texts(),
            kind: format!("{}/unigram", self.model),
            roles: self.roles(),
        })
    }

    fn word_piece(&self) -> Outcome<Parts> {
        // GGUF marks the beginnings of words with U+2581; WordPiece marks what continues one with "##".
        // Control tokens have no mark; older files don't mark what stands in brackets either.
        let spell = |(id, token): (usize, &String)| match token.strip_prefix('\u{2581}') {
            Some(word) => word.to_string(),
            None if self.type_of(id) == kind::CONTROL => token.clone(),
            None if token.starts_with('[') && token.ends_with(']') => token.clone(),
            None => format!("##{token}"),
        };
        let spelled: Vec<String> = self.tokens.iter().enumerate().map(spell).collect();
        let vocabulary: HashMap<String, u32> = spelled.iter().enumerate().map(|(id, t)| (t.clone(), id as u32)).collect();
        let unknown = self.unk.and_then(|id| spelled.get(id as usize)).cloned().unwrap_or_else(|| "[UNK]".into());
        let model = WordPiece::builder()
            .vocab(vocabulary.clone().into_iter().collect::<tokenizers::models::bpe::Vocab>())
            .unk_token(unknown)
            .build()
            .map_err(|e| invalid(format!("tokenizer.ggml.tokens: {e}")))?;
        let lowercase = self.lowercase.unwrap_or(true);
        let strip = self.strip_accents.unwrap_or(lowercase);
        let normalizer: NormalizerWrapper = part(
            "normalizer",
            json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": strip,
                   "lowercase": lowercase}),
        )?;
        let mut special = self.added_tokens();
        for (token, id) in &mut special {
            token.content = spelled[*id as usize].clone();
        }
        for name in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
            if let (Some(id), false) = (vocabulary.get(name), special.iter().any(|(t, _)| t.content == name)) {
                special.push((AddedToken::from(name, true).normalized(false), *id));
            }
        }
        Ok(Parts {
            model: ModelWrapper::WordPiece(model),
            added: added_vocabulary(special, self.tokens.len(), Some(&normalizer))?,
            normalizer: Some(normalizer),
            pre_tokenizer: Some(part("pre-tokenizer", json!({"type": "BertPreTokenizer"}))?),
            post_processor: self.around_words()?,
            decoder: json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
            texts: spelled.into_iter().map(Some).collect(),
            kind: "bert/wordpiece".into(),
            roles: self.roles(),
        })
    }
}

pub fn sentencepiece_decoder(prefix: bool) -> Value {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": steps})
}

/// Scores as integers in the same order, so that merges sort exactly.
fn score_order(scores: &[f32]) -> Vec<i64> {
    let mut sorted: Vec<f32> = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    scores.iter().map(|s| sorted.partition_point(|x| x < s) as i64).collect()
}

/// The merges that a ranked vocabulary implies: every cut of a token into two tokens, the better-ranked token first, then
/// the longer left part, as Hugging Face's converters order them.
pub fn merges_of_ranks(vocabulary: &HashMap<String, u32>, rank: impl Fn(&str, u32) -> i64) -> Vec<(String, String)> {
    let mut tokens: Vec<(&String, u32)> = vocabulary.iter().map(|(text, id)| (text, *id)).collect();
    tokens.sort_by_key(|(_, id)| *id);
    let mut merges = Vec::new();
    for (text, id) in tokens {
        let score = rank(text, id);
        let mut cuts = Vec::new();
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(l), Some(r)) = (vocabulary.get(left), vocabulary.get(right)) {
                cuts.push((*l, *r, at));
            }
        }
        cuts.sort_by_key(|(l, r, _)| (*l, *r));
        for (_, _, at) in cuts {
            let (left, right) = text.split_at(at);
            merges.push((score, left.chars().count(), right.chars().count(), left, right));
        }
    }
    merges.sort_by(|a, b| (b.0, b.1, b.2).cmp(&(a.0, a.1, a.2)));
    merges.into_iter().map(|(_, _, _, left, right)| (left.to_string(), right.to_string())).collect()
}

/// A precompiled map is a little-endian size, a double-array trie of that size, and strings. The crate trusts it.
fn check_charsmap(map: &[u8]) -> Outcome<()> {
    let wrong = |found: String| Err(invalid(format!("tokenizer.ggml.precompiled_charsmap: {found}")));
    if map.len() < 4 {
        return wrong(format!("{} bytes are too few", map.len()));
    }
    let size = u32::from_le_bytes([map[0], map[1], map[2], map[3]]) as usize;
    if size % 4 != 0 || size > map.len() - 4 {
        return wrong(format!("a trie of {size} bytes does not fit into {} bytes", map.len() - 4));
    }
    Ok(())
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | u32::from(*chunk.get(1).unwrap_or(&0)) << 8
            | u32::from(*chunk.get(2).unwrap_or(&0));
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(DIGITS[(word >> (18 - 6 * place) & 63) as usize] as char);
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_from_vocabulary(
    vocabulary: &RawVocabulary,
    tokenizer: *mut *mut Tokenizer,
    out: *mut Buffer,
) -> Status {
    make(tokenizer, out, || vocabulary.read()?.build())
}
