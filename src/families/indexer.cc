#include "families/indexer.h"

#include <algorithm>

namespace kinglet {
namespace {

void use_indexer(FieldReader& r, std::string_view key, ModelSpec& spec, const IndexerSpec& indexer,
                 const std::vector<bool>& full) {
  const AttentionSpec& first = spec.layers[0].attention;
  if (first.rope.rotated > indexer.key_dim)
    r.fail(key, "found " + std::to_string(indexer.key_dim) + " dimensions of an index key, expected at least the " +
                    std::to_string(first.rope.rotated) + " rotated ones");
  if (first.latent.q_rank == 0) r.fail(key, "an indexer reads the queries' bottleneck, but there is none");
  if (full.size() < spec.layers.size() || !full[0]) {
    r.fail(key, "the first layer has no indexer of its own, or layers are missing from the list of those that do");
    return;
  }
  for (size_t i = 0; i < spec.layers.size(); i++) {
    spec.layers[i].attention.indexer = indexer;
    spec.layers[i].attention.indexer.shared = !full[i];
  }
}

// The layers with an indexer of their own by config.json.
std::vector<bool> full_layers(FieldReader& r, size_t layers) {
  std::vector<bool> full;
  if (r.has("indexer_types")) {
    for (const std::string& type : r.strings("indexer_types")) full.push_back(type == "full");
  } else if (r.has("index_topk_pattern")) {
    for (const char type : r.string_or("index_topk_pattern", "")) full.push_back(type == 'F');
  } else {
    const int64_t every = r.integer_or("index_topk_freq", 1, kMaxLayers, 1);
    const int64_t offset = r.integer_or("index_skip_topk_offset", 0, kMaxLayers, 2);
    for (int64_t i = 0; i < static_cast<int64_t>(layers); i++)
      full.push_back(std::max<int64_t>(i - offset + 1, 0) % every == 0);
  }
  return full;
}

}  // namespace

void indexer_from_gguf(const Checkpoint& checkpoint, FieldReader& r, ModelSpec& spec, bool interleaved) {
  IndexerSpec indexer;
  indexer.heads = r.integer("attention.indexer.head_count", 1, kMaxDimension);
  indexer.key_dim = r.integer("attention.indexer.key_length", 1, kMaxDimension);
  indexer.top_k = r.integer("attention.indexer.top_k", 1, kMaxContext);
  indexer.interleaved = interleaved;
  std::vector<bool> full;
  const MetadataValue* types = checkpoint.metadata.find(spec.architecture + ".attention.indexer.types");
  if (const auto* listed = types ? std::get_if<std::vector<bool>>(types) : nullptr)
    full = *listed;
  else
    for (size_t i = 0; i < spec.layers.size(); i++)
      full.push_back(checkpoint.find("blk." + std::to_string(i) + ".indexer.attn_q_b.weight") != nullptr);
  use_indexer(r, "attention.indexer.key_length", spec, indexer, full);
}

void indexer_from_config(FieldReader& r, ModelSpec& spec, bool interleaved) {
  IndexerSpec indexer;
  indexer.heads = r.integer("index_n_heads", 1, kMaxDimension);
  indexer.key_dim = r.integer("index_head_dim", 1, kMaxDimension);
  indexer.top_k = r.integer("index_topk", 1, kMaxContext);
  indexer.interleaved = r.boolean_or("indexer_rope_interleave", interleaved);
  use_indexer(r, "index_head_dim", spec, indexer, full_layers(r, spec.layers.size()));
}

}  // namespace kinglet
