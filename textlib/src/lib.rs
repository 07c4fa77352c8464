//! textlib: what Kinglet takes from the Rust world, behind one C border (include/kinglet_textlib.h).
//! Tokenizers over `tokenizers`, chat templates over `minijinja`, grammars over `llguidance`.

mod border;
mod decode;
mod grammar;
mod pre;
mod python_json;
mod sentencepiece;
mod strftime;
mod template;
mod template_code;
mod template_methods;
mod template_work;
mod tiktoken;
mod tokenizer;
mod tokenizer_json;
mod vocabulary;
