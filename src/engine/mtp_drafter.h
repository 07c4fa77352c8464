// MtpDrafter: a model's own prediction layer (MTP) as its drafter. It sees the states of every step, and so has keys
// and values for the text as the model understood it; what it drafts beyond the first token builds on states of its
// own.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/result.h"
#include "cache/page_list.h"
#include "engine/drafter.h"
#include "engine/step_model.h"

namespace kinglet {

class MtpDrafter final : public Drafter {
 public:
  // `predictor` reads states of `width` numbers and keeps its own; its sequences share `pages` pages.
  static Result<std::unique_ptr<MtpDrafter>> create(std::unique_ptr<StepModel> predictor, int64_t width, int64_t pages);

  void observe(std::span<const SequenceId> ids, std::span<const StepSlice> slices,
               std::span<const float> states) override;
  void draft(std::span<DraftTask> tasks) override;
  void forget(SequenceId id) override;

 private:
  // The prediction layer's entry i of a text is made of the model's state at position begin + i and the token behind
  // that position. `begin` is not 0 where the model did not compute the beginning, which came from a cache: then the
  // layer sees the rest of the text only. Positions are relative to it, which rotary embeddings allow.
  struct Text {
    int64_t begin = 0;
    int64_t made = 0;             // entries in the pages
    std::vector<float> states;    // those behind, of the entries to come
    std::vector<int32_t> tokens;  // and their tokens, but for the last one's; drafts among them
    PageList pages;
    int64_t head() const { return begin + made; }  // position of the next entry's state
  };
  // A draft in the making: what the layer takes in next.
  struct Pending {
    DraftTask* task = nullptr;
    Text* text = nullptr;
    std::vector<int32_t> tokens;
    std::vector<float> states;
    size_t done = 0;  // of the tokens
    int64_t at = 0;   // entry of the first of them
  };
  MtpDrafter(std::unique_ptr<StepModel> predictor, int64_t width, BlockPool pages)
      : predictor_(std::move(predictor)), width_(static_cast<size_t>(width)), pages_(std::move(pages)) {}
  int64_t states_of(const Text& text) const { return static_cast<int64_t>(text.states.size() / width_); }
  void take_in(Text& text, const StepSlice& slice, std::span<const float> states) const;
  bool make_entries(Text& text, int64_t count);
  bool grow(Text& text, int64_t entries);
  bool start(DraftTask* task, Pending* pending);
  bool step(std::vector<Pending>& pending);
  void go_on(Pending& pending, std::span<const float> logits, std::span<const float> state) const;

  std::unique_ptr<StepModel> predictor_;
  size_t width_;
  BlockPool pages_;
  std::map<SequenceId, Text> texts_;
};

}  // namespace kinglet
