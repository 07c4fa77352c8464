// What a loaded model is made of: private to nn/.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "families/family.h"
#include "nn/model.h"
#include "nn/scratch.h"
#include "nn/weights.h"

namespace kinglet {

// Memory of one step, kMaxStepTokens rows each; only rows in use are ever touched.
struct Workspace {
  AlignedBuffer residual, normed;        // [width]
  AlignedBuffer branch;                  // [width]: what a block adds to the residual stream
  AlignedBuffer selected;                // [width]: the rows whose logits are wanted
  AlignedBuffer logits;                  // [vocabulary]
  Scratch scratch;                       // of the block at hand
  Activations input;                     // of the product at hand
  std::vector<int32_t> positions;        // of the step's tokens
  std::vector<SequenceSlice> sequences;  // of the layer at hand
  std::vector<std::byte*> layer_pages;   // what `sequences` point into
};

struct Model::State {
  std::shared_ptr<const Checkpoint> checkpoint;
  BoundModel bound;
  ModelOptions options;
  MemoryPlan plan;
  int64_t context = 0;
  IsaLevel isa = IsaLevel::kPortable;
  std::unique_ptr<ThreadPool> pool;
  Compute compute;
  ModelWeights weights;
  std::vector<RopeTable> rope_tables;  // one a distinct RopeSpec
  std::vector<int> rope_of_layer;      // index into rope_tables; -1: no rotary embedding
  std::vector<KvLayout> kv_layouts;    // one a layer
  std::vector<uint64_t> kv_offsets;    // of the layer within a page
  Workspace work;
  std::vector<std::string> notes;
};

}  // namespace kinglet
