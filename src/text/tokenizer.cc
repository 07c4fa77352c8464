#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "formats/checkpoint.h"
#include "text/textlib_bridge.h"
#include "text/tokenizer_loading.h"

namespace kinglet {

Tokenizer::Tokenizer(KtTokenizer* handle)
    : handle_(handle),
      kind_(textlib::view(kt_tokenizer_kind(handle))),
      vocab_size_(static_cast<int32_t>(kt_tokenizer_vocab_size(handle))) {}

Tokenizer::~Tokenizer() {
  kt_tokenizer_free(handle_);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_checkpoint(const Checkpoint& checkpoint) {
  auto loaded = checkpoint.format == CheckpointFormat::kGguf ? load_gguf_tokenizer(checkpoint)
                                                             : load_folder_tokenizer(checkpoint);
  if (!loaded.ok()) return loaded.error().with_context(checkpoint.path);
  return finish(*loaded, checkpoint.path);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_json(std::string_view tokenizer_json) {
  KL_TRY(LoadedTokenizer loaded, load_json_tokenizer(tokenizer_json, ""));
  return finish(loaded, "tokenizer.json");
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::finish(const LoadedTokenizer& loaded, const std::string& source) {
  std::shared_ptr<Tokenizer> tokenizer(new Tokenizer(loaded.handle));
  tokenizer->source_ = source;
  tokenizer->special_ = loaded.special;
  tokenizer->find_roles_by_text();
  KL_RETURN_IF_ERROR(tokenizer->check_special_ids());
  tokenizer->find_end_of_generation(loaded.end_ids);
  auto empty = tokenizer->encode("", {.add_special = true, .parse_special = false});
  tokenizer->adds_bos_ = empty.ok() && !empty->empty() && tokenizer->special_.bos == empty->front();
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  textlib::Buffer out;
  KtStatus status = kt_tokenizer_encode(handle_, textlib::slice(text), options.add_special ? 1 : 0,
                                        options.parse_special ? 1 : 0, out.out());
  if (status != KT_OK) return textlib::error(status, out);
  // textlib vouches for ids below vocab_size_.
  return std::vector<int32_t>(out.ids(), out.ids() + out.id_count());
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  // A negative id becomes a large one: outside the vocabulary, contributing nothing.
  std::vector<uint32_t> unsigned_ids(ids.begin(), ids.end());
  textlib::Buffer out;
  KtStatus status =
      kt_tokenizer_decode(handle_, unsigned_ids.data(), unsigned_ids.size(), skip_special ? 1 : 0, out.out());
  return status == KT_OK ? out.text() : "";
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (id < 0) return {};
  return textlib::view(kt_tokenizer_token_bytes(handle_, static_cast<uint32_t>(id)));
}

std::string_view Tokenizer::token_text(int32_t id) const {
  if (id < 0) return {};
  return textlib::view(kt_tokenizer_token_text(handle_, static_cast<uint32_t>(id)));
}

std::optional<int32_t> Tokenizer::id_of(std::string_view text) const {
  int64_t id = kt_tokenizer_token_id(handle_, textlib::slice(text));
  if (id < 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && kt_tokenizer_is_special(handle_, static_cast<uint32_t>(id)) != 0;
}

bool Tokenizer::is_end_of_generation(int32_t id) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

Status Tokenizer::check_vocabulary(int64_t model_vocab_size) const {
  if (vocab_size_ <= model_vocab_size) return {};
  return Error{ErrorCode::kInvalid, source_ + ": the tokenizer has ids up to " + std::to_string(vocab_size_ - 1) +
                                        ", but the model's embedding has only " + std::to_string(model_vocab_size) +
                                        " rows"};
}

Status Tokenizer::check_special_ids() const {
  const std::array<std::pair<const char*, std::optional<int32_t>>, 13> roles{{{"bos", special_.bos},
                                                                              {"eos", special_.eos},
                                                                              {"eot", special_.eot},
                                                                              {"unknown", special_.unk},
                                                                              {"padding", special_.pad},
                                                                              {"separator", special_.sep},
                                                                              {"mask", special_.mask},
                                                                              {"fim_pre", special_.fim_prefix},
                                                                              {"fim_suf", special_.fim_suffix},
                                                                              {"fim_mid", special_.fim_middle},
                                                                              {"fim_pad", special_.fim_pad},
                                                                              {"fim_rep", special_.fim_repo},
                                                                              {"fim_sep", special_.fim_sep}}};
  for (const auto& [name, id] : roles) {
    if (id && (*id < 0 || *id >= vocab_size_)) {
      return Error{ErrorCode::kInvalid, source_ + ": the tokenizer's " + name + " id is " + std::to_string(*id) +
                                            ", outside its vocabulary of " + std::to_string(vocab_size_)};
    }
  }
  return {};
}

// Files rarely name these roles; the texts that models use for them do.
void Tokenizer::find_roles_by_text() {
  auto find = [this](std::optional<int32_t>& role, std::initializer_list<std::string_view> texts) {
    for (std::string_view text : texts) {
      if (!role) role = id_of(text);
    }
  };
  find(special_.eot, {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
                      "<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"});
  find(special_.fim_prefix, {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
                             "<|code_prefix|>", "<|prefix|>"});
  find(special_.fim_suffix, {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
                             "<|code_suffix|>", "<|suffix|>"});
  find(special_.fim_middle, {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
                             "<|code_middle|>", "<|middle|>"});
  find(special_.fim_pad, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>"});
  find(special_.fim_repo, {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"});
  find(special_.fim_sep, {"<|file_sep|>"});
}

void Tokenizer::find_end_of_generation(std::span<const int64_t> more) {
  std::vector<int32_t>& ids = end_of_generation_;
  auto add = [&](std::optional<int32_t> id) {
    if (id && *id >= 0 && *id < vocab_size_) ids.push_back(*id);
  };
  add(special_.eos);
  add(special_.eot);
  add(special_.fim_pad);
  add(special_.fim_repo);
  add(special_.fim_sep);
  for (int64_t id : more) {
    if (id >= 0 && id < vocab_size_) ids.push_back(static_cast<int32_t>(id));
  }
  for (std::string_view text : {"<|eot_id|>",
                                "<|im_end|>",
                                "<|end|>",
                                "<|return|>",
                                "<|call|>",
                                "<|flush|>",
                                "<|calls|>",
                                "<end_of_turn>",
                                "<|endoftext|>",
                                "</s>",
                                "<|eom_id|>",
                                "<EOT>",
                                "_<EOT>",
                                "[EOT]",
                                "[EOS]",
                                "<|end_of_text|>",
                                "<end_of_utterance>",
                                "<eos>",
                                "<turn|>",
                                "<|tool_response>",
                                "<｜end▁of▁sentence｜>",
                                "[e~["}) {
    add(id_of(text));
  }
  // Harmony's <|end|> closes one message of an answer; <|return|> and <|call|> end the answer itself.
  bool harmony = id_of("<|return|>") && id_of("<|call|>");
  bool solar = id_of("<|calls|>") && id_of("<|flush|>");
  if (harmony || solar) std::erase(ids, id_of("<|end|>").value_or(-1));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

}  // namespace kinglet
