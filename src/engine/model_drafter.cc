#include "engine/model_drafter.h"

#include <algorithm>
#include <string>
#include <utility>

namespace kinglet {

Result<std::unique_ptr<ModelDrafter>> ModelDrafter::create(std::unique_ptr<StepModel> model, int64_t pages,
                                                           int64_t context, int64_t vocabulary) {
  if (model->state_bytes() > 0) {
    return Error{ErrorCode::kUnsupported,
                 "the drafting model has recurrent layers, whose state can't go back to where a draft failed; expected "
                 "a model of attention layers alone"};
  }
  context = std::min(context, model->context());
  KL_TRY(BlockPool pool, BlockPool::create(model->page_bytes(), pages));
  return std::unique_ptr<ModelDrafter>(new ModelDrafter(std::move(model), std::move(pool), context, vocabulary));
}

// What the cache still holds of the text stays; the rest of the text is to be taken in. False where nothing can be
// drafted.
bool ModelDrafter::start(DraftTask* task, Pending* pending) {
  const auto known = static_cast<int64_t>(task->tokens.size());
  task->draft.clear();
  // The last drafted token is not taken in.
  const int64_t most = std::min(task->most, context_ - known + 1);
  Cache& cache = caches_[task->id];
  if (most < 1) return false;
  const auto same = std::mismatch(cache.tokens.begin(), cache.tokens.end(), task->tokens.begin(), task->tokens.end());
  // The last known token is computed in any case: its logits are wanted.
  const auto kept = std::min<int64_t>(same.first - cache.tokens.begin(), known - 1);
  // A text may hold tokens that this model has no row for: padding of the other's vocabulary, or words added to it.
  const auto rest = task->tokens.subspan(static_cast<size_t>(kept));
  const auto unknown = [this](int32_t token) { return token >= model_->vocabulary(); };
  if (std::any_of(rest.begin(), rest.end(), unknown)) return false;
  const int64_t size = model_->page_positions();
  if (!cache.pages.grow(pages_, (known + most - 1 + size - 1) / size).ok()) return false;
  cache.tokens.resize(static_cast<size_t>(kept));
  task->most = most;
  task->caught_up = known - kept;
  pending->task = task;
  pending->cache = &cache;
  pending->next.assign(rest.begin(), rest.end());
  return true;
}

int32_t ModelDrafter::likeliest(std::span<const float> logits) const {
  const auto row = logits.first(std::min(logits.size(), static_cast<size_t>(vocabulary_)));
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// One step of the model: the next tokens of as many tasks as it takes. False when nothing is left to do.
bool ModelDrafter::step(std::vector<Pending>& pending) {
  std::vector<StepSlice> slices;
  std::vector<Pending*> owners;
  auto room = static_cast<size_t>(model_->max_step_tokens());
  for (Pending& p : pending) {
    const size_t count = std::min(p.next.size() - p.done, room);
    if (count == 0) continue;
    room -= count;
    StepSlice slice;
    slice.tokens = std::span(p.next).subspan(p.done, count);
    slice.first_position = static_cast<int64_t>(p.cache->tokens.size());
    slice.pages = p.cache->pages.data();
    slice.logits = p.done + count == p.next.size() ? LogitRows::kLast : LogitRows::kNone;
    slices.push_back(slice);
    owners.push_back(&p);
  }
  if (slices.empty()) return false;
  std::span<const float> logits = model_->forward(slices);
  const auto width = static_cast<size_t>(model_->vocabulary());
  for (size_t i = 0; i < slices.size(); ++i) {
    Pending& p = *owners[i];
    p.cache->tokens.insert(p.cache->tokens.end(), slices[i].tokens.begin(), slices[i].tokens.end());
    p.done += slices[i].tokens.size();
    if (slices[i].logits == LogitRows::kNone) continue;
    const int32_t token = likeliest(logits.first(width));
    logits = logits.subspan(width);
    p.task->draft.push_back(token);
    p.next.clear();
    p.done = 0;
    if (static_cast<int64_t>(p.task->draft.size()) < p.task->most) p.next.push_back(token);
  }
  return true;
}

void ModelDrafter::draft(std::span<DraftTask> tasks) {
  std::vector<Pending> pending(tasks.size());
  size_t count = 0;
  for (DraftTask& task : tasks) count += start(&task, &pending[count]) ? 1 : 0;
  pending.resize(count);
  while (step(pending)) {
  }
}

void ModelDrafter::forget(SequenceId id) {
  const auto cache = caches_.find(id);
  if (cache == caches_.end()) return;
  cache->second.pages.release(pages_);
  caches_.erase(cache);
}

Status check_same_vocabulary(const Tokenizer& tokenizer, const Tokenizer& drafting) {
  const auto count = std::min(tokenizer.vocab_size(), drafting.vocab_size());
  for (int32_t id = 0; id < static_cast<int32_t>(count); ++id) {
    const std::string_view expected = tokenizer.token_text(id), found = drafting.token_text(id);
    if (expected == found) continue;
    return Error{ErrorCode::kInvalid, "the drafting model has another vocabulary: token " + std::to_string(id) +
                                          " is \"" + std::string(found) + "\" there and \"" + std::string(expected) +
                                          "\" in the model; expected a smaller model of the same family"};
  }
  return {};
}

}  // namespace kinglet
