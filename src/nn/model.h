// Model: a bound checkpoint with its weights packed for this machine, and the forward pass over a batch of sequences.
// It knows tokens, positions and KV pages; not requests, text or sampling. The forward pass is one page: forward.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "families/model_spec.h"
#include "formats/checkpoint.h"
#include "kernels/ops.h"

namespace kinglet {

struct ModelOptions {
  ComputeMode compute = ComputeMode::kInt8;
  KvType kv_type = KvType::kF16;
  int64_t page_positions = 64;  // positions in a KV page, a multiple of 16
  int64_t context = 0;          // longest sequence to prepare for (rope tables); 0: what the model was trained for
  bool states_only = false;     // no logits will be asked for: the output head stays in the file
  bool keep_states = false;     // last_states() will be asked for
  std::string isa;              // forces an instruction set level by name; empty: the best
  int threads = 0;              // 0: default_thread_count()
  uint64_t memory_limit = 0;    // bytes the model may take; 0: what the machine has available
  std::function<void(double fraction)> progress;  // while weights are packed; may be empty
};

// What a model needs, known before anything is allocated.
struct MemoryPlan {
  uint64_t weight_bytes = 0;        // packed
  uint64_t kv_bytes_per_token = 0;  // all layers
  uint64_t page_bytes = 0;          // one KV page, all layers
  uint64_t state_bytes = 0;         // recurrent state of one sequence, all layers; 0: the model has none
  uint64_t rope_bytes = 0;
  uint64_t working_bytes = 0;  // activations of the largest step
};

enum class LogitRows { kNone, kLast, kAll };

// One sequence's share of a step: its next tokens, where they stand, and the pages its keys and values live in (at
// least enough for first_position + tokens.size() positions; each `page_bytes` long, aligned to 64 bytes, zeroed when
// handed out). A model with recurrent layers or compressed entries keeps what it knows of the sequence in `state` too:
// `state_bytes` long, aligned to 64 bytes, all zeros before position 0, then as the step before left it. It is null
// where there is none.
struct StepSlice {
  std::span<const int32_t> tokens;
  int64_t first_position = 0;
  std::span<std::byte* const> pages;
  LogitRows logits = LogitRows::kLast;
  std::byte* state = nullptr;
  std::span<const int32_t> types = {};  // of an encoder's tokens, in [0, token_types); empty: all 0
  int64_t last_rows = 1;                // with LogitRows::kLast: of so many tokens at the end
  std::span<const float> states = {};   // a predictor's: for each token the state before it, [tokens][width]
};

class Model {
 public:
  // Refuses (kResource, with the plan's numbers) what cannot fit into memory.
  static Result<std::unique_ptr<Model>> load(std::shared_ptr<const Checkpoint> checkpoint,
                                             const ModelOptions& options = {});
  // The model's own prediction layer (MTP) as a model: its token at a position and the state of the model before that
  // token give logits of the token behind it. It keeps its states, shares the other's threads and output head, and has
  // KV pages of its own; it has the same options. kUnsupported where there is none (families/family.h, bind_predictor).
  static Result<std::unique_ptr<Model>> load_predictor(const Model& model);
  ~Model();

  const ModelSpec& spec() const;
  const ModelOptions& options() const;
  const MemoryPlan& plan() const;
  uint64_t state_bytes() const { return plan().state_bytes; }  // of one sequence; 0 where the pages hold all
  IsaLevel isa() const;
  int threads() const;
  int64_t context() const;                 // longest sequence, in positions
  std::vector<std::string> notes() const;  // what a user should know: types widened, tensors ignored
  // Bytes of weights a token's generation reads (embedding rows excluded): for bench and the roofline.
  uint64_t weight_bytes_per_token() const;

  // Tokens in a step at most; forward() KL_CHECKs it. More are split by the caller; an encoder's text is one slice, the
  // whole of it, and a step takes the longest.
  static constexpr int64_t kMaxStepTokens = 512;
  int64_t max_step_tokens() const;

  // Runs one step. Token ids must be in [0, vocabulary) and positions below context() (checked by the caller: engine).
  // Returns the logits of the rows asked for, slice by slice, [rows][vocabulary], valid until the next call. Not
  // thread-safe: one caller (the engine thread) at a time.
  std::span<const float> forward(std::span<const StepSlice> slices);

  // Of each token of the last forward(), where the output head would read it, [tokens][width]; with keep_states.
  std::span<const float> last_states() const;

  // As forward(), but returns the rows' states where the output head would read them, [rows][width]: for embeddings.
  std::span<const float> states(std::span<const StepSlice> slices);
  // What the classification head makes of one state, [labels]; spec().labels is not 0.
  std::vector<float> classify(std::span<const float> state);
  // The logit of one token, by the output head's row as it is stored: also where no head was packed.
  float token_logit(std::span<const float> state, int32_t token);

  // The compute context, for sampling's row operations on the same thread.
  Compute compute() const;
  // kIo when a file that rows are read from was shortened: what was computed since is worth nothing.
  Status intact() const;

  struct State;  // nn/state.h; private to this folder

 private:
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The plan for a checkpoint without loading it.
Result<MemoryPlan> plan_memory(const Checkpoint& checkpoint, const ModelOptions& options);

}  // namespace kinglet
