// ModelDrafter: a smaller model that drafts for a larger one: greedily, with KV pages of its own for each sequence. It
// is brought up to date when it is asked, so that drafts that were rejected, or sequences that were computed anew, need
// no word from the engine.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/result.h"
#include "cache/page_list.h"
#include "engine/drafter.h"
#include "engine/step_model.h"
#include "text/tokenizer.h"

namespace kinglet {

class ModelDrafter final : public Drafter {
 public:
  // For sequences of up to `context` tokens, which share `pages` pages, and tokens below `vocabulary`. kUnsupported for
  // a model with recurrent layers, whose state can't be cut back to where a draft failed.
  static Result<std::unique_ptr<ModelDrafter>> create(std::unique_ptr<StepModel> model, int64_t pages, int64_t context,
                                                      int64_t vocabulary);

  void draft(std::span<DraftTask> tasks) override;
  void forget(SequenceId id) override;

 private:
  struct Cache {
    std::vector<int32_t> tokens;  // whose keys and values lie in the pages
    PageList pages;
  };
  // A task in the making: what its cache has to take in next.
  struct Pending {
    DraftTask* task = nullptr;
    Cache* cache = nullptr;
    std::vector<int32_t> next;
    size_t done = 0;  // of `next`, in the cache
  };
  ModelDrafter(std::unique_ptr<StepModel> model, BlockPool pages, int64_t context, int64_t vocabulary)
      : model_(std::move(model)), pages_(std::move(pages)), context_(context), vocabulary_(vocabulary) {}
  bool start(DraftTask* task, Pending* pending);
  bool step(std::vector<Pending>& pending);
  int32_t likeliest(std::span<const float> logits) const;

  std::unique_ptr<StepModel> model_;
  BlockPool pages_;
  int64_t context_, vocabulary_;
  std::map<SequenceId, Cache> caches_;
};

// kInvalid, with the first token that differs, unless the drafting model's tokens are those of the other.
Status check_same_vocabulary(const Tokenizer& tokenizer, const Tokenizer& drafting);

}  // namespace kinglet
