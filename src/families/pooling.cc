#include "families/pooling.h"

#include <string>
#include <utility>

#include "families/common.h"

namespace kinglet {
namespace {

constexpr std::string_view kFolder = "1_Pooling";  // where sentence-transformers writes it

constexpr int64_t kRank = 4;  // of GGUF's numbers, which are llama.cpp's: none, mean, cls, last, rank

Result<std::optional<Pooling>> from_gguf(const Checkpoint& checkpoint) {
  KL_TRY(const std::string architecture, checkpoint.metadata.get_string("general.architecture"));
  FieldReader r(checkpoint.metadata, architecture + ".");
  const int64_t number = r.integer_or("pooling_type", 0, kRank, 0);
  KL_RETURN_IF_ERROR(r.status());
  for (const Pooling pooling : {Pooling::kMean, Pooling::kFirst, Pooling::kLast})
    if (number == gguf_number_of(pooling)) return std::optional(pooling);
  return std::optional<Pooling>();
}

// modules.json lists what a text goes through.
Status check_modules(const Metadata& modules) {
  FieldReader r(modules, "modules.");
  for (int i = 0; r.has(std::to_string(i) + ".type"); i++) {
    const std::string at = std::to_string(i);
    const std::string whole = r.string_or(at + ".type", ""), type = whole.substr(whole.rfind('.') + 1);
    if (type == "Pooling" && r.string_or(at + ".path", "") != kFolder)
      r.unsupported(at + ".path", "found \"" + r.string_or(at + ".path", "") + "\", expected " + std::string(kFolder));
    if (type != "Transformer" && type != "Pooling" && type != "Normalize")
      r.unknown(at + ".type", type, {"Transformer", "Pooling", "Normalize"});
  }
  return r.status();
}

Result<std::optional<Pooling>> from_folder(const Checkpoint& checkpoint) {
  const Checkpoint::SentenceFiles& files = checkpoint.sentence_files;
  KL_RETURN_IF_ERROR(check_modules(files.modules));
  if (files.pooling.values().empty()) return std::optional<Pooling>();
  FieldReader r(files.pooling, "");
  constexpr std::pair<std::string_view, Pooling> kKnown[] = {
      {"mean", Pooling::kMean}, {"cls", Pooling::kFirst}, {"lasttoken", Pooling::kLast}};
  std::optional<Pooling> found;
  const std::string named = r.string_or("pooling_mode", "");
  for (const auto& [name, pooling] : kKnown) {
    const std::string suffix = name == "mean" ? "_tokens" : name == "cls" ? "_token" : "";
    const bool set = named == name || r.boolean_or("pooling_mode_" + std::string(name) + suffix, false);
    if (set && found) r.unsupported("pooling_mode", "found several poolings, expected one");
    if (set) found = pooling;
  }
  for (const char* other : {"max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"})
    if (r.boolean_or("pooling_mode_" + std::string(other), false))
      r.unknown("pooling_mode", other, {"mean_tokens", "cls_token", "lasttoken"});
  if (!found) r.unknown("pooling_mode", named, {"mean", "cls", "lasttoken"});
  KL_RETURN_IF_ERROR(r.status());
  return found;
}

}  // namespace

std::string_view pooling_name(Pooling pooling) {
  return pooling == Pooling::kMean ? "mean" : pooling == Pooling::kFirst ? "cls" : "last";
}

uint32_t gguf_number_of(Pooling pooling) {
  return pooling == Pooling::kMean ? 1 : pooling == Pooling::kFirst ? 2 : 3;
}

Result<std::optional<Pooling>> stated_pooling(const Checkpoint& checkpoint) {
  return checkpoint.format == CheckpointFormat::kGguf ? from_gguf(checkpoint) : from_folder(checkpoint);
}

Result<int64_t> stated_text_limit(const Checkpoint& checkpoint) {
  return checkpoint.sentence_files.texts.int_or("max_seq_length", 1, kMaxContext, 0);
}

}  // namespace kinglet
