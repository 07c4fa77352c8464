#include "convert/mix.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <tuple>

#include "base/near_match.h"
#include "base/quote.h"
#include "convert/quantise.h"

namespace kinglet::convert {
namespace {

constexpr std::array kMixes = {
    Mix{"F32", DType::kF32, 0},        Mix{"F16", DType::kF16, 1},      Mix{"BF16", DType::kBF16, 32},
    Mix{"Q8_0", DType::kQ8_0, 7},      Mix{"Q6_K", DType::kQ6_K, 18},   Mix{"Q5_K_M", DType::kQ5_K, 17},
    Mix{"Q5_K_S", DType::kQ5_K, 16},   Mix{"Q5_1", DType::kQ5_1, 9},    Mix{"Q5_0", DType::kQ5_0, 8},
    Mix{"Q4_K_M", DType::kQ4_K, 15},   Mix{"Q4_K_S", DType::kQ4_K, 14}, Mix{"IQ4_NL", DType::kIQ4_NL, 25},
    Mix{"IQ4_XS", DType::kIQ4_XS, 30}, Mix{"Q4_1", DType::kQ4_1, 3},    Mix{"Q4_0", DType::kQ4_0, 2},
    Mix{"MXFP4", DType::kMXFP4, 38},   Mix{"Q3_K_L", DType::kQ3_K, 13}, Mix{"Q3_K_M", DType::kQ3_K, 12},
    Mix{"Q3_K_S", DType::kQ3_K, 11},   Mix{"Q2_K", DType::kQ2_K, 10},
};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

bool holds(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

// Roles that the choices tell apart, by parts of the tensor's name.
enum class Role { kOutput, kEmbedding, kQkv, kValue, kKey, kAttentionOutput, kDown, kOther };
Role role_of(std::string_view name) {
  if (name == "output.weight") return Role::kOutput;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return Role::kEmbedding;
  if (holds(name, "attn_qkv.weight")) return Role::kQkv;
  if (holds(name, "attn_kv_b.weight") || holds(name, "attn_v.weight")) return Role::kValue;
  if (holds(name, "attn_k.weight")) return Role::kKey;
  if (holds(name, "attn_output.weight")) return Role::kAttentionOutput;
  if (holds(name, "ffn_down")) return Role::kDown;
  return Role::kOther;
}
bool carries_values(Role role) {
  return role == Role::kValue || role == Role::kQkv;
}

// Small or sensitive matrices that stay as they are.
bool may_be_quantised(const MixTensor& tensor) {
  static constexpr std::string_view kKept[] = {"_norm.weight",
                                               "ffn_gate_inp.weight",
                                               "ffn_gate_tid2eid.weight",
                                               "altup",
                                               "laurel",
                                               "hc_",  // how streams are mixed
                                               "per_layer_model_proj",
                                               "position_embd",
                                               "token_types",
                                               "ssm_conv1d",
                                               "shortconv.conv.weight",
                                               "indexer.proj.weight",
                                               "indexer.k_proj.weight",
                                               "indexer.q_proj.weight",
                                               "attn_rel_b.weight",
                                               ".patch_embd",
                                               ".patch_merger"};
  const auto above_one = std::count_if(tensor.shape.begin(), tensor.shape.end(), [](int64_t d) { return d != 1; });
  const bool matrix = tensor.shape.size() >= 2 && (above_one >= 2 || tensor.shape[tensor.shape.size() - 2] > 1);
  return matrix && tensor.name.ends_with("weight") &&
         std::none_of(std::begin(kKept), std::end(kKept), [&](auto part) { return holds(tensor.name, part); });
}

// Of n layers: the first and last eighth, and every third between.
bool gets_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

int64_t layer_of(std::string_view name) {
  int64_t layer = -1;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

class Chooser {
 public:
  Chooser(const Mix& mix, const MixFacts& facts, std::span<const MixTensor> tensors) : mix_(mix), facts_(facts) {
    for (const MixTensor& tensor : tensors) {
      const Role role = role_of(tensor.name);
      if (carries_values(role)) ++values_;
      if (role == Role::kOutput) tied_ = false;
      if (holds(tensor.name, "_exps")) has_experts_ = true;
    }
  }

  // To be asked in order of layers.
  DType choose(const MixTensor& tensor) {
    const Role role = role_of(tensor.name);
    if (role == Role::kOutput || (role == Role::kEmbedding && tied_)) return head_type(tensor);
    if (mix_.base == DType::kMXFP4)
      return has_experts_ ? (holds(tensor.name, "_exps") ? DType::kMXFP4 : DType::kQ8_0)
                          : (role == Role::kEmbedding ? DType::kQ8_0 : DType::kMXFP4);
    if (carries_values(role)) return value_type(role);
    if (role == Role::kKey && facts_.experts == 8) return DType::kQ8_0;
    if (role == Role::kDown) return down_type(layer_of(tensor.name));
    if (role == Role::kAttentionOutput) return attention_output_type();
    return mix_.base;
  }

 private:
  bool is(std::string_view name) const { return mix_.name == name; }
  bool is_iq4() const { return is("IQ4_NL") || is("IQ4_XS"); }

  DType head_type(const MixTensor& tensor) const {
    const bool fits = tensor.shape.back() % dtype_info(mix_.base).block_values == 0;
    if (!fits || mix_.base == DType::kQ8_0 || mix_.base == DType::kMXFP4) return DType::kQ8_0;
    return DType::kQ6_K;
  }

  DType value_type(Role role) {
    const int64_t i = values_seen_++;
    DType type = mix_.base;
    if (is("Q2_K")) type = facts_.heads_per_kv_head >= 4 ? DType::kQ4_K : DType::kQ3_K;
    if (is("Q3_K_M")) type = i < 2 ? DType::kQ5_K : DType::kQ4_K;
    if (is("Q3_K_L")) type = DType::kQ5_K;
    if (is_iq4() && facts_.heads_per_kv_head >= 4) type = DType::kQ5_K;
    if ((is("Q4_K_M") || is("Q5_K_M")) && gets_more_bits(i, values_)) type = DType::kQ6_K;
    if (is("Q4_K_S") && i < 4) type = DType::kQ5_K;
    // Of a model of 80 layers whose eight query heads share one key head, the values are small.
    const bool seventy = facts_.architecture == "llama" && facts_.layers == 80 && role == Role::kValue;
    if (seventy && (type == DType::kQ3_K || type == DType::kQ4_K)) type = DType::kQ5_K;
    return facts_.experts == 8 ? DType::kQ8_0 : type;
  }

  DType down_type(int64_t named_layer) {
    const int64_t n = facts_.layers, i = facts_.experts > 1 ? named_layer : downs_seen_;
    ++downs_seen_;
    if (is("Q2_K")) return DType::kQ3_K;
    if (is("Q3_K_M")) return i < n / 16 ? DType::kQ5_K : DType::kQ4_K;
    if (is("Q3_K_L")) return DType::kQ5_K;
    if ((is("Q4_K_M") || is("Q5_K_M")) && gets_more_bits(i, n)) return DType::kQ6_K;
    if (i >= n / 8) return mix_.base;
    if ((is_iq4() && !facts_.has_importance) || is("Q4_K_S")) return DType::kQ5_K;
    if (is("Q4_0") && facts_.has_importance) return DType::kQ4_1;
    if (is("Q5_0") && facts_.has_importance) return DType::kQ5_1;
    return mix_.base;
  }

  DType attention_output_type() const {
    if (facts_.experts == 8) {
      const bool raised = is("Q2_K") || is("Q3_K_S") || is("Q3_K_M") || is("Q4_K_S") || is("Q4_K_M") || is_iq4();
      return raised ? DType::kQ5_K : mix_.base;
    }
    if (is("Q2_K")) return DType::kQ3_K;
    if (is("Q3_K_M")) return DType::kQ4_K;
    if (is("Q3_K_L")) return DType::kQ5_K;
    return mix_.base;
  }

  const Mix& mix_;
  const MixFacts& facts_;
  bool tied_ = true, has_experts_ = false;
  int64_t values_ = 0, values_seen_ = 0, downs_seen_ = 0;
};

// What stands in for a type whose block does not divide the row.
DType fitting(DType type, int64_t columns) {
  const auto fits = [&](DType t) { return columns % dtype_info(t).block_values == 0; };
  if (fits(type)) return type;
  DType stand_in = type;
  if (type == DType::kIQ4_XS) stand_in = DType::kIQ4_NL;
  if (type == DType::kQ2_K || type == DType::kQ3_K) stand_in = DType::kQ4_0;
  if (type == DType::kQ4_K) stand_in = DType::kQ5_0;
  if (type == DType::kQ5_K) stand_in = DType::kQ5_1;
  if (type == DType::kQ6_K) stand_in = DType::kQ8_0;
  return fits(stand_in) ? stand_in : DType::kF16;
}

// Whether `pattern` is found in `name`; "*" stands for any text.
bool matches(std::string_view name, std::string_view pattern) {
  for (;;) {
    const size_t star = pattern.find('*');
    const std::string_view part = pattern.substr(0, star);
    const size_t at = name.find(part);
    if (at == std::string_view::npos) return false;
    if (star == std::string_view::npos) return true;
    name.remove_prefix(at + part.size());
    pattern.remove_prefix(star + 1);
  }
}

std::string type_names() {
  std::string names;
  for (const Mix& mix : kMixes) names += (names.empty() ? "" : ", ") + std::string(mix.name);
  return names;
}

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

}  // namespace

std::span<const Mix> all_mixes() {
  return kMixes;
}

Result<Mix> find_mix(std::string_view name) {
  std::string wanted = upper(name);
  if (wanted == "Q4_K") wanted = "Q4_K_M";
  if (wanted == "Q5_K") wanted = "Q5_K_M";
  if (wanted == "Q3_K") wanted = "Q3_K_M";
  if (wanted == "MXFP4_MOE") wanted = "MXFP4";
  for (const Mix& mix : kMixes)
    if (mix.name == wanted) return mix;
  return Error{ErrorCode::kInvalid, "found the type " + quote(name) + ", expected one of " + type_names()};
}

Result<TypeOverride> parse_override(const std::string& text) {
  const size_t at = text.rfind('=');
  if (at == std::string::npos || at == 0)
    return Error{ErrorCode::kInvalid, "--tensor: found " + quote(text) + ", expected PATTERN=TYPE"};
  const auto type = dtype_from_name(upper(text.substr(at + 1)));
  if (!type || !can_quantise(*type))
    return Error{ErrorCode::kInvalid, "--tensor: found the type " + quote(text.substr(at + 1)) +
                                          ", expected a tensor's type, such as Q4_K, Q6_K, Q8_0, F16"};
  return TypeOverride{text.substr(0, at), *type};
}

Result<std::vector<DType>> choose_types(const Mix& mix, const MixFacts& facts, std::span<const MixTensor> tensors,
                                        std::span<const TypeOverride> overrides) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const auto key = [&](size_t i) { return std::make_tuple(layer_of(tensors[i].name), tensors[i].name); };
    return key(a) < key(b);
  });
  std::vector<DType> types(tensors.size());
  std::vector<bool> used(overrides.size());
  Chooser chooser(mix, facts, tensors);
  for (const size_t i : order) {
    const MixTensor& tensor = tensors[i];
    types[i] = tensor.type;
    if (!may_be_quantised(tensor)) continue;
    DType type = is_float(mix.base) ? mix.base : chooser.choose(tensor);
    for (size_t o = overrides.size(); o-- > 0;) {
      if (!matches(tensor.name, overrides[o].pattern)) continue;
      used[o] = true;
      type = overrides[o].type;
    }
    types[i] = fitting(type, tensor.shape.back());
  }
  for (size_t o = 0; o < overrides.size(); ++o)
    if (!used[o])
      return Error{ErrorCode::kInvalid,
                   "--tensor: " + quote(overrides[o].pattern) + " fits no matrix of the model that can be quantised"};
  return types;
}

}  // namespace kinglet::convert
