// A tiny model with pages that are soon full.
#pragma once

#include <memory>

#include "engine/loader.h"
#include "tests/support/golden.h"

namespace kinglet::test {

inline Result<std::unique_ptr<StepModel>> load(const GoldenModel& golden, KvType kv) {
  KL_TRY(const auto checkpoint, open_checkpoint(golden.gguf.empty() ? golden.folder : golden.gguf));
  ModelOptions options;
  options.context = 192;
  options.page_positions = 16;
  options.threads = 1;
  options.kv_type = kv;
  return load_step_model(checkpoint, options);
}

}  // namespace kinglet::test
