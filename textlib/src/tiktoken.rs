//! tiktoken.model files (Kimi's): one token a line, its bytes in base64 and its rank.

use std::collections::HashMap;

use tokenizers::models::bpe::BPE;
use tokenizers::{AddedToken, ModelWrapper};

use crate::border::{invalid, make, Buffer, Outcome, Slice, Status};
use crate::decode::char_of_byte;
use crate::pre;
use crate::tokenizer::{added_vocabulary, Parts, Roles, Tokenizer};
use crate::tokenizer_json::{config_tokens, explicit_template, parse_config, texts, MAX_ID};
use crate::vocabulary::{byte_level_decoder, merges_of_ranks, split_pre_tokenizer};

/// Ids behind the ranks that Kimi's tokenizer keeps for special tokens.
const RESERVED: u32 = 256;

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

fn read_ranks(file: &str) -> Outcome<HashMap<String, u32>> {
    let mut ranks = HashMap::new();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || invalid(format!("tiktoken.model, line {}: expected base64 and a rank", number + 1));
        let (token, rank) = line.trim().split_once(' ').ok_or_else(wrong)?;
        let bytes = unbase64(token).filter(|bytes| !bytes.is_empty()).ok_or_else(wrong)?;
        let rank = rank.parse::<u32>().ok().filter(|rank| u64::from(*rank) + u64::from(RESERVED) <= MAX_ID);
        ranks.insert(bytes.into_iter().map(char_of_byte).collect(), rank.ok_or_else(wrong)?);
    }
    if ranks.is_empty() {
        return Err(invalid("tiktoken.model: the vocabulary is empty"));
    }
    Ok(ranks)
}

pub fn from_tiktoken(file: &str, config: &str) -> Outcome<Tokenizer> {
    let config = parse_config(config)?;
    let ranks = read_ranks(file)?;
    let base = ranks.values().max().copied().unwrap_or(0) + 1;
    let mut added = config_tokens(&config)?;
    for id in base..base + RESERVED {
        if !added.iter().any(|(_, known)| *known == id) {
            added.push((AddedToken::from(format!("<|reserved_token_{id}|>"), true).normalized(false), id));
        }
    }
    for (token, _) in &mut added {
        *token = token.clone().normalized(false);
    }
    let texts = texts(&ranks, &added)?;
    let find = |text: &str| added.iter().find(|(token, _)| token.content == text).map(|(_, id)| *id);
    let post_processor = explicit_template(&config, find)?.flatten();
    let merges = merges_of_ranks(&ranks, |_, id| -i64::from(id));
    let model = BPE::builder()
        .vocab_and_merges(ranks.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
        .ignore_merges(true)
        .build()
        .map_err(|e| invalid(format!("tiktoken.model: {e}")))?;
    Tokenizer::new(Parts {
        model: ModelWrapper::BPE(model),
        normalizer: None,
        pre_tokenizer: Some(split_pre_tokenizer(&[pre::KIMI])?),
        post_processor,
        decoder: byte_level_decoder(),
        added: added_vocabulary(added, texts.len(), None)?,
        texts,
        kind: "tiktoken/kimi-k2".into(),
        roles: Roles::default(),
    })
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_from_tiktoken(
    ranks: Slice,
    config: Slice,
    tokenizer: *mut *mut Tokenizer,
    out: *mut Buffer,
) -> Status {
    make(tokenizer, out, || from_tiktoken(ranks.text("tiktoken.model")?, config.text("tokenizer_config.json")?))
}
