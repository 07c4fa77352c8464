// StatePool: the recurrent states of sequences, beside their KV pages: blocks of one fixed size, handed out by id and
// reference-counted. A state is what a model with recurrent layers knows of the tokens so far; a snapshot is a clone
// that keeps it for a prefix. It knows bytes; not layers or tokens. Not thread-safe: the engine thread owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/result.h"
#include "cache/block_pool.h"

namespace kinglet {

using StateId = int32_t;
inline constexpr StateId kNoState = -1;

class StatePool {
 public:
  // Memory is reserved as states are handed out. `state_bytes` may be 0, for models without recurrent layers: such a
  // pool hands out nothing. kInvalid for no states or sizes that overflow.
  static Result<StatePool> create(uint64_t state_bytes, int64_t states);

  // A state of zeros, what there is before a sequence's first token, with one reference. kResource when all are in use
  // or the system refuses memory.
  Result<StateId> allocate();
  // A new state with the content of `from`. Errors as allocate().
  Result<StateId> clone(StateId from);
  // `to` gets the content of `from`.
  void restore(StateId to, StateId from);
  void retain(StateId id);   // one more reference; KL_CHECKs that the state is in use
  void release(StateId id);  // one less; the state is free when none is left

  // Aligned to 64 bytes, state_bytes() long. Stable as long as the state is in use.
  std::byte* data(StateId id) const;
  int64_t references(StateId id) const { return blocks_ ? blocks_->references(id) : 0; }  // 0: free

  uint64_t state_bytes() const { return blocks_ ? blocks_->page_bytes() : 0; }
  int64_t used() const { return blocks_ ? blocks_->used() : 0; }

 private:
  explicit StatePool(std::optional<BlockPool> blocks) : blocks_(std::move(blocks)) {}

  std::optional<BlockPool> blocks_;  // none: states have no bytes
};

}  // namespace kinglet
