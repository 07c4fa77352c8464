#include "families/gguf_names.h"

#include <algorithm>

namespace kinglet {

Result<GgufForm> gguf_form(const Family& source, const ModelSpec& spec) {
  const auto has_experts = [](const LayerSpec& layer) { return layer.ffn.moe.experts > 0; };
  const bool mixture = std::any_of(spec.layers.begin(), spec.layers.end(), has_experts);
  std::string_view architecture = "llama";
  // Of a family with two names, one with "moe" at its end is that of models with experts (qwen35, qwen35moe).
  for (const std::string_view name : source.gguf_architectures)
    if (name == source.gguf_architectures.front() || (mixture && name.ends_with("moe"))) architecture = name;
  for (const Family* family : all_families())
    for (const std::string_view name : family->gguf_architectures)
      if (name == architecture) return GgufForm{std::string(name), family};
  return Error{ErrorCode::kUnsupported, "the family " + std::string(source.name) + " has no GGUF form"};
}

const TensorRule* gguf_rule(const Family& family, const BoundTensor& bound) {
  const TensorRule* first = nullptr;
  for (const TensorRule& rule : family.tensors) {
    if (rule.slot != bound.slot || rule.gguf_name.empty()) continue;
    if (first == nullptr) first = &rule;
    const bool from_here = bound.tensor == nullptr || rule.hf_name.empty() ||
                           bound.tensor->name.ends_with(tensor_name(rule.hf_name, bound.layer)) ||
                           bound.tensor->name == tensor_name(rule.gguf_name, bound.layer);
    if (from_here) return &rule;
  }
  return first;
}

std::string tensor_name(std::string_view pattern, int layer) {
  std::string name(pattern);
  if (const size_t at = name.find("{}"); at != std::string::npos) name.replace(at, 2, std::to_string(layer));
  return name;
}

}  // namespace kinglet
