#include "cache/state_pool.h"

#include <cstring>
#include <string>

#include "base/check.h"

namespace kinglet {

Result<StatePool> StatePool::create(uint64_t state_bytes, int64_t states) {
  if (state_bytes == 0) return StatePool(std::nullopt);
  auto blocks = BlockPool::create(state_bytes, states);
  if (!blocks.ok()) {
    return Error{ErrorCode::kInvalid, "a pool of " + std::to_string(states) + " recurrent states of " +
                                          std::to_string(state_bytes) + " bytes can't be: expected at least one, and " +
                                          "no more than memory can have addresses for"};
  }
  return StatePool(std::move(blocks).value());
}

Result<StateId> StatePool::allocate() {
  KL_CHECK(blocks_.has_value(), "allocate() from a pool without states");
  if (blocks_->available() == 0) {
    return Error{ErrorCode::kResource, "all " + std::to_string(blocks_->capacity()) + " recurrent states are in use"};
  }
  return blocks_->allocate();
}

Result<StateId> StatePool::clone(StateId from) {
  KL_CHECK(references(from) > 0, "clone() of a state that is free");
  KL_TRY(const StateId copy, allocate());
  restore(copy, from);
  return copy;
}

void StatePool::restore(StateId to, StateId from) {
  if (to != from) std::memcpy(data(to), data(from), state_bytes());
}

void StatePool::retain(StateId id) {
  KL_CHECK(blocks_.has_value(), "retain() in a pool without states");
  blocks_->retain(id);
}

void StatePool::release(StateId id) {
  KL_CHECK(blocks_.has_value(), "release() in a pool without states");
  blocks_->release(id);
}

std::byte* StatePool::data(StateId id) const {
  KL_CHECK(blocks_.has_value(), "data() of a pool without states");
  return blocks_->page_data(id);
}

}  // namespace kinglet
