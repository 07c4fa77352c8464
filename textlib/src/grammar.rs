//! Grammars over llguidance: which tokens keep the text inside a JSON schema, a regular expression or a Lark grammar.

use std::sync::{Arc, Mutex};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use crate::border::{answer, free, guarded, invalid, make, resource, unsupported, Buffer, Outcome, Slice, Status};
use crate::tokenizer::Tokenizer;

const MAX_SOURCE: usize = 4 << 20;

pub struct Grammar {
    start: Mutex<Matcher>,
    stops: Vec<u32>,
    vocab_size: usize,
}

pub struct KtMatcher {
    matcher: Matcher,
    stops: Vec<u32>,
    vocab_size: usize,
}

/// The token trie of a tokenizer, as llguidance wants it.
fn token_environment(tokenizer: &Tokenizer, stops: &[u32]) -> Outcome<TokEnv> {
    let stop = *stops.first().ok_or_else(|| unsupported("grammars need a tokenizer with an end-of-generation token"))?;
    let size = tokenizer.vocab_size();
    let words: Vec<Vec<u8>> = (0..size as u32)
        .map(|id| {
            let bytes = tokenizer.bytes(id);
            if tokenizer.is_special(id) || stops.contains(&id) {
                // Marked as special: never part of ordinary text.
                let mut marked = vec![TokTrie::SPECIAL_TOKEN_MARKER];
                marked.extend_from_slice(bytes);
                marked
            } else {
                bytes.to_vec()
            }
        })
        .collect();
    let trie = TokTrie::from(&TokRxInfo::new(size as u32, stop), &words).with_eos_tokens(stops);
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}

/// Building the trie and its slices takes a good part of a second for large vocabularies: tokenizers keep theirs.
fn factory(tokenizer: &Tokenizer, stops: &[u32]) -> Outcome<Arc<ParserFactory>> {
    let mut cache = tokenizer.grammars.lock().unwrap_or_else(|e| e.into_inner());
    if let Some((known, factory)) = cache.as_ref() {
        if known == stops {
            return Ok(factory.clone());
        }
    }
    let environment = token_environment(tokenizer, stops)?;
    let mut factory = ParserFactory::new(
        &environment,
        InferenceCapabilities::default(),
        &llguidance::earley::SlicedBiasComputer::general_slices(),
    )
    .map_err(|e| invalid(format!("grammar: {e}")))?;
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    let factory = Arc::new(factory);
    *cache = Some((stops.to_vec(), factory.clone()));
    Ok(factory)
}

fn compile(tokenizer: &Tokenizer, kind: i32, source: &str, stops: &[u32]) -> Outcome<Grammar> {
    if source.len() > MAX_SOURCE {
        return Err(resource(format!("a grammar of {} bytes is too long", source.len())));
    }
    let (name, grammar) = match kind {
        0 => {
            let schema = serde_json::from_str(source).map_err(|e| invalid(format!("JSON schema: {e}")))?;
            ("JSON schema", TopLevelGrammar::from_json_schema(schema))
        }
        1 => ("regular expression", TopLevelGrammar::from_regex(source)),
        _ => ("Lark grammar", TopLevelGrammar::from_lark(source.to_string())),
    };
    let factory = factory(tokenizer, stops)?;
    let parser = factory.create_parser(grammar).map_err(|e| invalid(format!("{name}: {e}")))?;
    let matcher = Matcher::new(Ok(parser));
    Ok(Grammar { start: Mutex::new(matcher), stops: stops.to_vec(), vocab_size: tokenizer.vocab_size() })
}

impl KtMatcher {
    fn mask(&mut self, words: &mut [u32]) -> Outcome<()> {
        words.fill(0);
        let set = |words: &mut [u32], id: u32| {
            if let Some(word) = words.get_mut(id as usize / 32) {
                *word |= 1 << (id % 32);
            }
        };
        let stopped = self.matcher.is_stopped() && !self.matcher.is_error();
        let ends = stopped || self.matcher.is_accepting().unwrap_or(false);
        if !stopped {
            let mask = self.matcher.compute_mask().map_err(|e| resource(format!("grammar: {e}")))?;
            let count = words.len().min(mask.as_slice().len());
            words[..count].copy_from_slice(&mask.as_slice()[..count]);
        }
        for id in &self.stops {
            if ends {
                set(words, *id);
            } else if let Some(word) = words.get_mut(*id as usize / 32) {
                *word &= !(1 << (id % 32));
            }
        }
        // Nothing beyond the vocabulary.
        let tail = self.vocab_size % 32;
        if tail != 0 {
            if let Some(word) = words.get_mut(self.vocab_size / 32) {
                *word &= (1 << tail) - 1;
            }
        }
        for word in words.iter_mut().skip(self.vocab_size.div_ceil(32)) {
            *word = 0;
        }
        Ok(())
    }

    fn commit(&mut self, id: u32) -> Outcome<()> {
        match self.matcher.try_consume_tokens(&[id]) {
            Ok(1) => Ok(()),
            Ok(_) => Err(invalid(format!("token {id} does not fit the grammar here"))),
            Err(e) => Err(invalid(format!("token {id} does not fit the grammar here: {e}"))),
        }
    }
}

#[no_mangle]
pub unsafe extern "C" fn kt_grammar_compile(
    tokenizer: &Tokenizer,
    kind: i32,
    source: Slice,
    stops: *const u32,
    stop_count: usize,
    grammar: *mut *mut Grammar,
    out: *mut Buffer,
) -> Status {
    make(grammar, out, || {
        let stops = if stop_count == 0 { &[] } else { std::slice::from_raw_parts(stops, stop_count) };
        compile(tokenizer, kind, source.text("grammar")?, stops)
    })
}

#[no_mangle]
pub unsafe extern "C" fn kt_grammar_free(grammar: *mut Grammar) {
    free(grammar)
}

#[no_mangle]
pub extern "C" fn kt_matcher_new(grammar: &Grammar) -> *mut KtMatcher {
    let matcher = guarded(|| {
        let start = grammar.start.lock().unwrap_or_else(|e| e.into_inner());
        Ok(KtMatcher { matcher: start.deep_clone(), stops: grammar.stops.clone(), vocab_size: grammar.vocab_size })
    });
    matcher.map_or(std::ptr::null_mut(), |matcher| Box::into_raw(Box::new(matcher)))
}

#[no_mangle]
pub extern "C" fn kt_matcher_clone(matcher: &KtMatcher) -> *mut KtMatcher {
    let copy = guarded(|| {
        Ok(KtMatcher {
            matcher: matcher.matcher.deep_clone(),
            stops: matcher.stops.clone(),
            vocab_size: matcher.vocab_size,
        })
    });
    copy.map_or(std::ptr::null_mut(), |matcher| Box::into_raw(Box::new(matcher)))
}

#[no_mangle]
pub unsafe extern "C" fn kt_matcher_free(matcher: *mut KtMatcher) {
    free(matcher)
}

#[no_mangle]
pub unsafe extern "C" fn kt_matcher_mask(matcher: &mut KtMatcher, words: *mut u32, count: usize, out: *mut Buffer) -> Status {
    answer(out, || {
        let words = if count == 0 { &mut [] } else { std::slice::from_raw_parts_mut(words, count) };
        matcher.mask(words).map(|()| Buffer::empty())
    })
}

#[no_mangle]
pub unsafe extern "C" fn kt_matcher_commit(matcher: &mut KtMatcher, id: u32, out: *mut Buffer) -> Status {
    answer(out, || matcher.commit(id).map(|()| Buffer::empty()))
}

#[no_mangle]
pub extern "C" fn kt_matcher_is_accepting(matcher: &mut KtMatcher) -> i32 {
    guarded(|| Ok(matcher.matcher.is_accepting().unwrap_or(false))).map_or(0, i32::from)
}

#[no_mangle]
pub extern "C" fn kt_matcher_is_stopped(matcher: &KtMatcher) -> i32 {
    i32::from(matcher.matcher.is_stopped())
}
