//! Tokenizers from a Hugging Face tokenizer.json, with what tokenizer_config.json changes about it.

use std::collections::HashMap;

use serde_json::Value;
use tokenizers::tokenizer::Model;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use crate::border::{invalid, make, Buffer, Outcome, Slice, Status};
use crate::tokenizer::{added_vocabulary, Parts, Roles, Tokenizer};
use crate::vocabulary::{part, template};

/// The largest token id that is accepted: bounds the table of tokens.
pub const MAX_ID: u64 = (1 << 24) - 1;

pub fn parse_config(config: &str) -> Outcome<Value> {
    if config.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(config).map_err(|e| invalid(format!("tokenizer_config.json: {e}")))
}

/// An added token as tokenizer.json and tokenizer_config.json describe it.
fn added_token(what: &str, value: &Value, id: Option<u64>) -> Outcome<(AddedToken, u32)> {
    let id = id.or_else(|| value["id"].as_u64());
    let id = id.filter(|id| *id <= MAX_ID).ok_or_else(|| invalid(format!("{what}: an added token without a sensible id")))?;
    let content = value["content"].as_str().ok_or_else(|| invalid(format!("{what}: added token {id} has no content")))?;
    let special = value["special"].as_bool().unwrap_or(false);
    let flag = |name: &str, default: bool| value[name].as_bool().unwrap_or(default);
    let token = AddedToken::from(content, special)
        .single_word(flag("single_word", false))
        .lstrip(flag("lstrip", false))
        .rstrip(flag("rstrip", false))
        .normalized(flag("normalized", !special))
        .special(special);
    Ok((token, id as u32))
}

/// Tokens of tokenizer_config.json's added_tokens_decoder, by ascending id.
pub fn config_tokens(config: &Value) -> Outcome<Vec<(AddedToken, u32)>> {
    let mut tokens = Vec::new();
    if let Some(map) = config["added_tokens_decoder"].as_object() {
        for (id, value) in map {
            let number = id.parse::<u64>().map_err(|_| invalid(format!("tokenizer_config.json: '{id}' is not a token id")))?;
            tokens.push(added_token("tokenizer_config.json", value, Some(number))?);
        }
    }
    tokens.sort_by_key(|(_, id)| *id);
    Ok(tokens)
}

/// The text of a role such as "bos_token": a string or an object with "content".
pub fn role_text<'a>(config: &'a Value, role: &str) -> Option<&'a str> {
    config[role].as_str().or_else(|| config[role]["content"].as_str())
}

/// The rule of transformers: where the configuration says explicitly whether BOS or EOS is added, that replaces what
/// tokenizer.json does. The outer None means that it says nothing.
pub fn explicit_template(
    config: &Value,
    id_of: impl Fn(&str) -> Option<u32>,
) -> Outcome<Option<Option<PostProcessorWrapper>>> {
    let flag = |name: &str| config[name].as_bool();
    let (bos, eos) = (flag("add_bos_token"), flag("add_eos_token"));
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    let tokens = |wanted: Option<bool>, role: &str| -> Outcome<Vec<(String, u32)>> {
        match role_text(config, role) {
            Some(text) if wanted == Some(true) => {
                let id = id_of(text).ok_or_else(|| {
                    invalid(format!("tokenizer_config.json: {role} '{text}' is not in the vocabulary"))
                })?;
                Ok(vec![(text.to_string(), id)])
            }
            _ => Ok(vec![]),
        }
    };
    Ok(Some(template(&tokens(bos, "bos_token")?, &tokens(eos, "eos_token")?)?))
}

fn optional<T: serde::de::DeserializeOwned>(json: &mut Value, key: &str) -> Outcome<Option<T>> {
    let value = json.get_mut(key).map(Value::take).unwrap_or(Value::Null);
    if value.is_null() {
        return Ok(None);
    }
    part(&format!("tokenizer.json: {key}"), value).map(Some)
}

pub fn from_json(json: &[u8], config: &str) -> Outcome<Tokenizer> {
    let mut json: Value = serde_json::from_slice(json).map_err(|e| invalid(format!("tokenizer.json: {e}")))?;
    let config = parse_config(config)?;
    let model: ModelWrapper =
        optional(&mut json, "model")?.ok_or_else(|| invalid("tokenizer.json: there is no model"))?;
    let normalizer: Option<NormalizerWrapper> = optional(&mut json, "normalizer")?;
    let pre_tokenizer: Option<PreTokenizerWrapper> = optional(&mut json, "pre_tokenizer")?;
    let mut post_processor: Option<PostProcessorWrapper> = optional(&mut json, "post_processor")?;

    let listed = json["added_tokens"].as_array().map(Vec::as_slice).unwrap_or(&[]);
    let mut added = listed.iter().map(|t| added_token("tokenizer.json", t, None)).collect::<Outcome<Vec<_>>>()?;
    for (token, id) in config_tokens(&config)? {
        match added.iter_mut().find(|(known, _)| known.content == token.content) {
            Some(known) => known.0 = token,
            None => added.push((token, id)),
        }
    }
    let vocabulary = model.get_vocab();
    for (token, id) in &mut added {
        // A token that the model knows keeps the model's id, as in the tokenizers crate.
        *id = vocabulary.get(&token.content).copied().unwrap_or(*id);
    }
    let texts = texts(&vocabulary, &added)?;
    let find = |text: &str| {
        let added = added.iter().find(|(token, _)| token.content == text).map(|(_, id)| *id);
        added.or_else(|| vocabulary.get(text).copied())
    };
    if let Some(explicit) = explicit_template(&config, find)? {
        post_processor = explicit;
    }
    let name = match &model {
        ModelWrapper::BPE(_) => "BPE",
        ModelWrapper::WordPiece(_) => "WordPiece",
        ModelWrapper::WordLevel(_) => "WordLevel",
        ModelWrapper::Unigram(_) => "Unigram",
    };
    Tokenizer::new(Parts {
        added: added_vocabulary(added, texts.len(), normalizer.as_ref())?,
        normalizer,
        pre_tokenizer,
        post_processor,
        decoder: json["decoder"].take(),
        texts,
        kind: format!("tokenizer.json/{name}"),
        roles: Roles::default(),
        model,
    })
}

/// The table from id to spelling. Added tokens win where both have one, as in decoding.
pub fn texts(vocabulary: &HashMap<String, u32>, added: &[(AddedToken, u32)]) -> Outcome<Vec<Option<String>>> {
    let highest = vocabulary.values().chain(added.iter().map(|(_, id)| id)).max();
    let highest = *highest.ok_or_else(|| invalid("tokenizer.json: the vocabulary is empty"))?;
    if u64::from(highest) > MAX_ID {
        return Err(invalid(format!("tokenizer.json: token id {highest} is above the limit of {MAX_ID}")));
    }
    let mut texts = vec![None; highest as usize + 1];
    for (text, id) in vocabulary {
        texts[*id as usize] = Some(text.clone());
    }
    for (token, id) in added {
        texts[*id as usize] = Some(token.content.clone());
    }
    Ok(texts)
}

#[no_mangle]
pub unsafe extern "C" fn kt_tokenizer_from_json(
    json: Slice,
    config: Slice,
    tokenizer: *mut *mut Tokenizer,
    out: *mut Buffer,
) -> Status {
    make(tokenizer, out, || from_json(json.bytes(), config.text("tokenizer_config.json")?))
}
