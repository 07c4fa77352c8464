// The list of families, and finding a checkpoint's one.
#include "families/families.h"

#include <algorithm>

#include "base/near_match.h"

namespace kinglet {
namespace {

const Family* const kFamilies[] = {
    &kLlama,          &kMistral,   &kMistral3,     &kMixtral,    &kSmolLM3,   &kPhi3,       &kQwen2,     &kQwen3,
    &kQwen2Moe,       &kQwen3Moe,  &kQwen3Next,    &kQwen35,     &kGemma2,    &kGemma3,     &kDeepSeek,  &kGlm,
    &kGlm4,           &kGlm4Moe,   &kHunyuanDense, &kHunyuanMoe, &kHunyuanV3, &kMiniMax01,  &kMiniMaxM2, &kGptOss,
    &kDeepSeekSparse, &kGlmSparse, &kKimiLinear,   &kMiniMaxM3,  &kGemma4,    &kDeepSeekV4, &kBert};

std::span<const std::string_view> architectures(const Family& family, CheckpointFormat format) {
  return format == CheckpointFormat::kGguf ? family.gguf_architectures : family.hf_architectures;
}

// What the checkpoint says it is: general.architecture, or the first of config.json's `architectures`.
Result<std::string> architecture_of(const Checkpoint& checkpoint) {
  if (checkpoint.format == CheckpointFormat::kGguf) return checkpoint.metadata.get_string("general.architecture");
  KL_TRY(const std::vector<std::string> names, checkpoint.metadata.get_strings("architectures"));
  if (names.empty())
    return Error{ErrorCode::kInvalid,
                 checkpoint.metadata.source() + ": architectures: found an empty list, expected one name"};
  return names.front();
}

}  // namespace

std::span<const Family* const> all_families() {
  return kFamilies;
}

Result<const Family*> find_family(const Checkpoint& checkpoint) {
  KL_TRY(const std::string wanted, architecture_of(checkpoint));
  std::vector<std::string_view> known;
  for (const Family* family : kFamilies)
    for (std::string_view name : architectures(*family, checkpoint.format)) {
      if (name == wanted) return family;
      known.push_back(name);
    }
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  return Error{ErrorCode::kUnsupported, checkpoint.metadata.source() + ": " +
                                            (gguf ? "general.architecture" : "architectures") + ": found \"" + wanted +
                                            "\", which Kinglet does not know; supported are " +
                                            nearest_names(wanted, known, known.size())};
}

}  // namespace kinglet
