#include "engine/mtp_drafter.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace kinglet {

namespace {
// States that wait until a draft is asked for: their entries are made with those of the draft. Where none is asked for
// any more, or a prompt is read, entries are made for many at once, so that weights are read seldom.
constexpr int64_t kMostWaiting = 64;
}  // namespace

Result<std::unique_ptr<MtpDrafter>> MtpDrafter::create(std::unique_ptr<StepModel> predictor, int64_t width,
                                                       int64_t pages) {
  KL_CHECK(predictor->state_bytes() == 0, "a prediction layer has no recurrent state");
  KL_TRY(BlockPool pool, BlockPool::create(predictor->page_bytes(), pages));
  return std::unique_ptr<MtpDrafter>(new MtpDrafter(std::move(predictor), width, std::move(pool)));
}

// States of the slice join those that wait. Positions that were computed before count no more: drafts that were
// rejected, or what a recurrent model repeats.
void MtpDrafter::take_in(Text& text, const StepSlice& slice, std::span<const float> states) const {
  const int64_t first = slice.first_position;
  if (first < text.begin || first > text.head() + states_of(text)) {  // something is missing in between
    text.begin = first;
    text.made = 0;
  }
  text.made = std::min(text.made, first - text.begin);
  const auto kept = static_cast<size_t>(std::min(states_of(text), first - text.head()));
  text.states.resize(kept * width_);
  text.tokens.resize(kept == 0 ? 0 : kept - 1);
  text.states.insert(text.states.end(), states.begin(), states.end());
  text.tokens.insert(text.tokens.end(), slice.tokens.begin() + (kept == 0 ? 1 : 0), slice.tokens.end());
}

void MtpDrafter::observe(std::span<const SequenceId> ids, std::span<const StepSlice> slices,
                         std::span<const float> states) {
  for (size_t i = 0; i < slices.size(); ++i) {
    const StepSlice& slice = slices[i];
    const size_t floats = slice.tokens.size() * width_;
    KL_CHECK(floats <= states.size(), "a model with a prediction layer keeps the states of its tokens");
    Text& text = texts_[ids[i]];
    take_in(text, slice, states.first(floats));
    states = states.subspan(floats);
    const int64_t drafts = slice.logits == LogitRows::kLast ? slice.last_rows - 1 : 0;  // not known to be right
    const int64_t ready = std::ssize(text.tokens) - drafts;
    if (ready > kMostWaiting && !make_entries(text, ready)) forget(ids[i]);
  }
}

bool MtpDrafter::grow(Text& text, int64_t entries) {
  const int64_t size = predictor_->page_positions();
  return entries <= predictor_->context() && text.pages.grow(pages_, (entries + size - 1) / size).ok();
}

// The first `count` that wait. False when there is no room.
bool MtpDrafter::make_entries(Text& text, int64_t count) {
  if (!grow(text, text.made + count)) return false;
  const auto all = static_cast<size_t>(count);
  for (size_t done = 0; done < all;) {
    const size_t some = std::min(all - done, static_cast<size_t>(predictor_->max_step_tokens()));
    StepSlice slice;
    slice.tokens = std::span<const int32_t>(text.tokens).subspan(done, some);
    slice.states = std::span<const float>(text.states).subspan(done * width_, some * width_);
    slice.first_position = text.made;
    slice.pages = text.pages.data();
    slice.logits = LogitRows::kNone;
    predictor_->forward({&slice, 1});
    text.made += static_cast<int64_t>(some);
    done += some;
  }
  // A copy: what a prompt took is not to be held for the whole answer.
  text.states = std::vector<float>(text.states.begin() + static_cast<std::ptrdiff_t>(all * width_), text.states.end());
  text.tokens.erase(text.tokens.begin(), text.tokens.begin() + count);
  return true;
}

// False where nothing can be drafted: states before the last known token are missing, or room.
bool MtpDrafter::start(DraftTask* task, Pending* pending) {
  task->draft.clear();
  const auto found = texts_.find(task->id);
  if (found == texts_.end()) return false;
  Text& text = found->second;
  const int64_t known = std::ssize(task->tokens), count = known - 1 - text.head();
  if (count < 1 || count > states_of(text)) return false;
  // The last drafted token is not taken in.
  const int64_t most = std::min(task->most, predictor_->context() - (text.made + count) + 1);
  if (most < 1 || !grow(text, text.made + count + most - 1)) return false;
  task->most = most;
  task->caught_up = count;
  pending->task = task;
  pending->text = &text;
  const auto tokens = task->tokens.last(static_cast<size_t>(count));
  pending->tokens.assign(tokens.begin(), tokens.end());
  text.states.resize(static_cast<size_t>(count) * width_);
  pending->states = std::exchange(text.states, {});
  text.tokens.clear();
  pending->at = text.made;
  text.made += count;
  return true;
}

// The likeliest token is drafted; it and the layer's own state are what it takes in next.
void MtpDrafter::go_on(Pending& p, std::span<const float> logits, std::span<const float> state) const {
  p.task->draft.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  p.at += std::ssize(p.tokens);
  p.tokens.clear();
  p.done = 0;
  if (std::ssize(p.task->draft) == p.task->most) return;
  p.tokens.push_back(p.task->draft.back());
  p.states.assign(state.begin(), state.end());
}

// One step of the layer, for as many drafts as it takes. False when nothing is left to do.
bool MtpDrafter::step(std::vector<Pending>& pending) {
  std::vector<StepSlice> slices;
  std::vector<Pending*> owners;
  auto room = static_cast<size_t>(predictor_->max_step_tokens());
  for (Pending& p : pending) {
    const size_t count = std::min(p.tokens.size() - p.done, room);
    if (count == 0) continue;
    room -= count;
    StepSlice slice;
    slice.tokens = std::span<const int32_t>(p.tokens).subspan(p.done, count);
    slice.states = std::span<const float>(p.states).subspan(p.done * width_, count * width_);
    slice.first_position = p.at + static_cast<int64_t>(p.done);
    slice.pages = p.text->pages.data();
    slice.logits = p.done + count == p.tokens.size() ? LogitRows::kLast : LogitRows::kNone;
    slices.push_back(slice);
    owners.push_back(&p);
  }
  if (slices.empty()) return false;
  std::span<const float> logits = predictor_->forward(slices), states = predictor_->last_states();
  const auto vocabulary = static_cast<size_t>(predictor_->vocabulary());
  for (size_t i = 0; i < slices.size(); ++i) {
    const size_t floats = slices[i].tokens.size() * width_;
    const auto state = states.first(floats).last(width_);
    states = states.subspan(floats);
    owners[i]->done += slices[i].tokens.size();
    if (slices[i].logits == LogitRows::kNone) continue;
    go_on(*owners[i], logits.first(vocabulary), state);
    logits = logits.subspan(vocabulary);
  }
  return true;
}

void MtpDrafter::draft(std::span<DraftTask> tasks) {
  std::vector<Pending> pending(tasks.size());
  size_t count = 0;
  for (DraftTask& task : tasks) count += start(&task, &pending[count]) ? 1 : 0;
  pending.resize(count);
  while (step(pending)) {
  }
}

void MtpDrafter::forget(SequenceId id) {
  const auto text = texts_.find(id);
  if (text == texts_.end()) return;
  text->second.pages.release(pages_);
  texts_.erase(text);
}

}  // namespace kinglet
