#include "cli/layer_report.h"

#include <fmt/format.h>

#include <map>
#include <string_view>

namespace kinglet::cli {
namespace {

std::string_view scoring_name(MoeSpec::Scoring scoring) {
  switch (scoring) {
    case MoeSpec::Scoring::kSoftmax:
      return "softmax";
    case MoeSpec::Scoring::kSigmoid:
      return "sigmoid";
    case MoeSpec::Scoring::kSoftmaxSelected:
      return "softmax of the selected";
    case MoeSpec::Scoring::kSqrtSoftplus:
      return "square root of softplus";
  }
  return "";
}

std::string compression_text(const AttentionSpec& a) {
  const CompressionSpec& c = a.compression;
  std::string text =
      fmt::format("attention, {} heads of {} whose keys are values, queries through {}, results through {} of {}",
                  a.heads, a.head_dim, a.latent.q_rank, c.output_groups, c.output_rank);
  if (c.ratio > 0) text += fmt::format(", an entry for {} positions", c.ratio);
  if (c.overlaps) text += " and the block before";
  if (a.indexer.heads > 0) text += fmt::format(", chooses {}", a.indexer.top_k);
  return text;
}

std::string attention_text(const LayerSpec& layer) {
  const AttentionSpec& a = layer.attention;
  std::string text;
  if (layer.mixer == Mixer::kLatentAttention) {
    text = fmt::format("latent attention, {} heads of {}, latent {}", a.heads, a.head_dim, a.latent.kv_rank);
    if (a.latent.q_rank > 0) text += fmt::format(", queries through {}", a.latent.q_rank);
    if (a.indexer.heads > 0)
      text += fmt::format(", {} {} positions", a.indexer.shared ? "reads the same" : "chooses", a.indexer.top_k);
  } else if (layer.mixer == Mixer::kCompressedAttention) {
    text = compression_text(a);
  } else {
    text = fmt::format("attention, {} heads of {} sharing {}", a.heads, a.head_dim, a.kv_heads);
    if (a.indexer.heads > 0)
      text += fmt::format(", chooses {} blocks of {} positions", a.indexer.top_k, a.indexer.block);
  }
  if (a.window > 0) text += fmt::format(", window {}", a.window);
  if (!a.causal)
    text += ", to both sides";
  else if (a.rope.rotated == 0)
    text += ", no rotary embedding";
  else if (a.rope.rotated != a.head_dim && layer.mixer != Mixer::kLatentAttention)
    text += fmt::format(", {} rotated", a.rope.rotated);
  if (a.query_growth != 0.0)
    text += fmt::format(", queries grow by {} ln(1 + position/{})", a.query_growth, a.growth_span);
  if (a.gated) text += ", gated";
  if (a.keys_as_values) text += ", values are keys";
  if (a.shares_kv()) text += fmt::format(", reads the cache of layer {}", a.kv_layer);
  if (a.sinks) text += ", sinks";
  return text;
}

std::string recurrent_text(const LayerSpec& layer) {
  const RecurrentSpec& r = layer.recurrent;
  return fmt::format("{}, {} key heads of {}, {} value heads of {}",
                     layer.mixer == Mixer::kLightning   ? "lightning attention"
                     : layer.mixer == Mixer::kKimiDelta ? "Kimi delta attention"
                                                        : "gated delta rule",
                     r.key_heads, r.key_dim, r.value_heads, r.value_dim);
}

std::string ffn_text(const FfnSpec& f) {
  const MoeSpec& m = f.moe;
  if (m.experts == 0) return fmt::format("dense ffn {}", f.hidden);
  const std::string beside = m.beside_dense ? fmt::format("dense ffn {} beside ", f.hidden) : "";
  std::string text =
      beside + fmt::format("{} experts of {} ({} used, {}", m.experts, m.hidden, m.used, scoring_name(m.scoring));
  if (m.by_token) text += ", chosen by a table of tokens";
  if (m.groups > 1) text += fmt::format(", groups {}/{}", m.groups, m.groups_used);
  text += ")";
  if (m.shared_hidden > 0) text += fmt::format(", shared {}{}", m.shared_hidden, m.shared_gated ? " gated" : "");
  return text;
}

std::string range_text(const std::vector<size_t>& layers) {
  std::string text;
  for (size_t i = 0; i < layers.size();) {
    size_t end = i;
    while (end + 1 < layers.size() && layers[end + 1] == layers[end] + 1) end++;
    text += text.empty() ? "" : ", ";
    text += end == i ? std::to_string(layers[i]) : fmt::format("{}-{}", layers[i], layers[end]);
    i = end + 1;
  }
  return text;
}

}  // namespace

std::vector<LayerGroup> layer_groups(const ModelSpec& spec) {
  std::vector<LayerGroup> groups;
  std::vector<std::vector<size_t>> members;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < spec.layers.size(); i++) {
    const LayerSpec& layer = spec.layers[i];
    const std::string what = (layer.recurs() ? recurrent_text(layer) : attention_text(layer)) + ", " +
                             ffn_text(layer.ffn) +
                             (spec.streams > 1 ? fmt::format(", {} residual streams", spec.streams) : "") +
                             (layer.input_dim > 0 ? fmt::format(", input of its own {}", layer.input_dim) : "");
    const auto [at, added] = known.try_emplace(what, groups.size());
    if (added) {
      groups.push_back({"", what});
      members.emplace_back();
    }
    members[at->second].push_back(i);
  }
  for (size_t g = 0; g < groups.size(); g++) groups[g].layers = range_text(members[g]);
  return groups;
}

}  // namespace kinglet::cli
