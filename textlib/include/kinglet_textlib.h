/* The C border of textlib: tokenizers, chat templates and grammars written in Rust. Only src/text/ includes it.
 *
 * Strings are UTF-8 or arbitrary bytes with a length, never zero-terminated. Functions that can fail return a KtStatus and
 * fill `out` with the result or, on failure, with the error's text; a filled KtBuffer is freed by kt_buffer_free, whatever
 * it holds. Handles are freed by their own function; NULL is allowed there. No panic crosses this border: it becomes
 * KT_INTERNAL. Tokenizers, templates and grammars may be used by many threads at once, streams and matchers by one. */
#ifndef KINGLET_TEXTLIB_H_
#define KINGLET_TEXTLIB_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum KtStatus {
  KT_OK = 0,
  KT_INVALID = 1,     /* malformed input */
  KT_UNSUPPORTED = 2, /* well-formed, but not known here */
  KT_RESOURCE = 3,    /* a bound on work, depth or size was hit */
  KT_INTERNAL = 4     /* our own bug: a caught panic */
} KtStatus;

typedef struct KtBuffer {
  uint8_t* data; /* aligned for uint32_t */
  size_t size;   /* bytes */
} KtBuffer;
void kt_buffer_free(KtBuffer buffer);

typedef struct KtSlice {
  const uint8_t* data;
  size_t size;
} KtSlice;

typedef struct KtTokenizer KtTokenizer;
typedef struct KtStream KtStream;
typedef struct KtTemplate KtTemplate;
typedef struct KtGrammar KtGrammar;
typedef struct KtMatcher KtMatcher;

/* A vocabulary as GGUF metadata lists it. Absent numbers are -1, absent arrays have size 0. */
typedef struct KtVocabulary {
  KtSlice model;        /* tokenizer.ggml.model: gpt2, llama, t5, bert, gemma4 */
  KtSlice pre;          /* tokenizer.ggml.pre */
  KtSlice architecture; /* general.architecture */
  const KtSlice* tokens;
  size_t token_count;
  const float* scores; /* NULL or token_count */
  const int32_t* types; /* NULL or token_count */
  const KtSlice* merges;
  size_t merge_count;
  KtSlice charsmap; /* tokenizer.ggml.precompiled_charsmap */
  int32_t bos, eos, unk, sep;
  int32_t add_bos, add_eos, add_sep; /* 0, 1 or -1: the model's default */
  int32_t add_space_prefix, remove_extra_whitespaces, lowercase, strip_accents;
} KtVocabulary;

KtStatus kt_tokenizer_from_vocabulary(const KtVocabulary* vocabulary, KtTokenizer** tokenizer, KtBuffer* out);
/* `config`: tokenizer_config.json or empty. */
KtStatus kt_tokenizer_from_json(KtSlice tokenizer_json, KtSlice config, KtTokenizer** tokenizer, KtBuffer* out);
KtStatus kt_tokenizer_from_sentencepiece(KtSlice model, KtSlice config, KtTokenizer** tokenizer, KtBuffer* out);
KtStatus kt_tokenizer_from_tiktoken(KtSlice ranks, KtSlice config, KtTokenizer** tokenizer, KtBuffer* out);
void kt_tokenizer_free(KtTokenizer* tokenizer);

/* `out`: the ids as uint32_t. */
KtStatus kt_tokenizer_encode(const KtTokenizer* tokenizer, KtSlice text, int add_special, int parse_special, KtBuffer* out);
KtStatus kt_tokenizer_decode(const KtTokenizer* tokenizer, const uint32_t* ids, size_t count, int skip_special,
                             KtBuffer* out);
uint32_t kt_tokenizer_vocab_size(const KtTokenizer* tokenizer); /* one past the largest id */
KtSlice kt_tokenizer_token_bytes(const KtTokenizer* tokenizer, uint32_t id); /* borrowed from the tokenizer */
KtSlice kt_tokenizer_token_text(const KtTokenizer* tokenizer, uint32_t id);  /* borrowed from the tokenizer */
int64_t kt_tokenizer_token_id(const KtTokenizer* tokenizer, KtSlice text);   /* -1: not in the vocabulary */
int kt_tokenizer_is_special(const KtTokenizer* tokenizer, uint32_t id);
KtSlice kt_tokenizer_kind(const KtTokenizer* tokenizer); /* borrowed */
/* Ids that kt_tokenizer_from_sentencepiece found in the file; -1 elsewhere. which: 0 bos, 1 eos, 2 unk, 3 pad. */
int64_t kt_tokenizer_role(const KtTokenizer* tokenizer, int which);

/* The stream borrows the tokenizer. */
KtStream* kt_stream_new(const KtTokenizer* tokenizer, int skip_special);
void kt_stream_free(KtStream* stream);
KtStatus kt_stream_push(KtStream* stream, uint32_t id, KtBuffer* out);
KtStatus kt_stream_finish(KtStream* stream, KtBuffer* out);

KtStatus kt_template_compile(KtSlice source, KtTemplate** result, KtBuffer* out);
void kt_template_free(KtTemplate* handle);
typedef struct KtRenderLimits {
  uint64_t fuel; /* template instructions */
  uint64_t output_bytes;
  uint64_t made_bytes; /* of all strings made on the way, output included */
} KtRenderLimits;
/* `context`: a JSON object of the variables. `now`: seconds since 1970 (UTC); INT64_MIN: the clock, local time. */
KtStatus kt_template_render(const KtTemplate* handle, KtSlice context, int64_t now, const KtRenderLimits* limits,
                            KtBuffer* out);

/* kind: 0 JSON schema, 1 regular expression, 2 Lark. `stops`: the end-of-generation ids. The grammar borrows nothing. */
KtStatus kt_grammar_compile(const KtTokenizer* tokenizer, int kind, KtSlice source, const uint32_t* stops,
                            size_t stop_count, KtGrammar** grammar, KtBuffer* out);
void kt_grammar_free(KtGrammar* grammar);
KtMatcher* kt_matcher_new(const KtGrammar* grammar);
KtMatcher* kt_matcher_clone(const KtMatcher* matcher);
void kt_matcher_free(KtMatcher* matcher);
/* Sets bits of `words` (`word_count` of them, cleared first); stop ids included where the text may end. */
KtStatus kt_matcher_mask(KtMatcher* matcher, uint32_t* words, size_t word_count, KtBuffer* out);
KtStatus kt_matcher_commit(KtMatcher* matcher, uint32_t id, KtBuffer* out);
int kt_matcher_is_accepting(KtMatcher* matcher);
int kt_matcher_is_stopped(const KtMatcher* matcher);

#ifdef __cplusplus
}
#endif

#endif
