// What a loaded model is made of: private to nn/.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "families/family.h"
#include "kernels/ops_compress.h"
#include "kernels/ops_experts.h"
#include "kernels/ops_recurrent.h"
#include "nn/model.h"
#include "nn/observer.h"
#include "nn/scratch.h"
#include "nn/weights.h"

namespace kinglet {

// Memory of one step, kMaxStepTokens rows each; only rows in use are ever touched.
struct Workspace {
  AlignedBuffer residual;                // [streams][width]
  AlignedBuffer normed;                  // [width]
  AlignedBuffer branch;                  // [width]: what a block adds to the residual stream
  AlignedBuffer selected;                // [streams][width]: the rows whose logits are wanted
  AlignedBuffer logits;                  // [vocabulary]
  AlignedBuffer kept_states;             // [width]: of all tokens, where they are to be kept
  std::span<const float> last_states;    // the rows in use
  AlignedBuffer layer_inputs;            // [layer][input_dim]
  AlignedBuffer chosen;                  // a bit for each position, set by the last indexer for those to read
  int64_t chosen_words = 0;              // 64-bit words of a row of these; a token has one, or one a kv head
  Scratch scratch;                       // of the block at hand
  Activations input;                     // of the product at hand
  std::vector<int32_t> positions;        // of the step's tokens
  std::vector<SequenceSlice> sequences;  // of the layer at hand
  std::vector<std::byte*> layer_pages;   // what `sequences` point into
  // Of layers with compressed entries: the slices with their states, positions of the entries made, copies of entries
  // whose pages are not in order, and the pages that hold entries, one list a slice.
  std::vector<CompressedSlice> compressed;
  std::vector<int32_t> entry_positions;
  AlignedBuffer entries, index_entries;
  std::vector<std::byte*> entry_pages;
  std::vector<std::byte* const*> entry_lists;
  std::vector<SequenceSlice> index_slices;
  std::vector<RecurrentSlice> states;  // of the recurrent layer at hand
  ExpertGroups expert_groups;          // of the expert layer at hand
  std::vector<Product> products;       // put down for one pass
  std::vector<const float*> product_biases;
  ProductScratch product_scratch;
};

// 64-bit words that hold a bit for each of `context` positions.
inline int64_t words_of_bits(int64_t context) {
  return (context + 63) / 64;
}
// Bytes of a layer's state, a multiple of 64; 0 for layers whose cache is all.
uint64_t recurrent_state_bytes(const LayerSpec& layer);
uint64_t compression_state_bytes(const LayerSpec& layer);  // that of compressed attention
// The running mixtures of a layer's entries, and of its index keys.
PoolParams pool_of(const AttentionSpec& attention);
PoolParams index_pool_of(const AttentionSpec& attention);
// The constant factor of each head of a lightning attention layer; empty for others.
std::vector<float> lightning_decay(const LayerSpec& layer);

using MatrixPlaces = std::unordered_map<const PackedMatrix*, MatrixPlace>;
MatrixPlaces places_of(const ModelWeights& weights);  // of the layers' matrices

struct Model::State {
  std::shared_ptr<const Checkpoint> checkpoint;
  BoundModel bound;
  ModelOptions options;
  MemoryPlan plan;
  int64_t context = 0;
  int64_t step_tokens = 0;  // at most
  IsaLevel isa = IsaLevel::kPortable;
  std::shared_ptr<ThreadPool> pool;  // a predictor's is its model's
  Compute compute;
  ModelWeights weights;
  std::vector<RopeTable> rope_tables;   // one a distinct RopeSpec
  std::vector<int> rope_of_layer;       // index into rope_tables; -1: no rotary embedding
  std::vector<KvLayout> kv_layouts;     // one a layer: of the keys and values that it reads
  std::vector<uint64_t> kv_offsets;     // of those within a page
  std::vector<KvLayout> index_layouts;  // of the indexer's keys, one a layer
  std::vector<uint64_t> index_offsets;
  std::vector<EntryLayout> entry_layouts;  // of compressed entries, one a layer
  std::vector<uint64_t> entry_offsets;
  std::vector<uint64_t> state_offsets;              // of a recurrent layer within a sequence's state
  std::vector<std::vector<float>> lightning_decay;  // one a layer
  MatrixPlaces places;                              // made when an observer asks first
  Workspace work;
  std::vector<std::string> notes;
};

}  // namespace kinglet
