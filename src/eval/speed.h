// Speed of a model: prompts and generation at a depth, for several sequences at once. Measures; prints nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/step_model.h"

namespace kinglet {

struct SpeedTest {
  enum class Kind { kPrompt, kGeneration } kind = Kind::kPrompt;
  int64_t tokens = 0;        // of a sequence: the prompt's, or those generated one a step
  int64_t depth = 0;         // tokens that are in the cache before
  int64_t batch = 1;         // sequences at once
  std::string name() const;  // "pp128", "tg64"
};

struct SpeedResult {
  SpeedTest test;
  // All sequences' tokens a second, over the repetitions.
  double median = 0.0, min = 0.0, max = 0.0;
};

// Runs a test `repetitions` times after one warm-up. `keep_going` is asked between steps; false ends with kCancelled.
// kInvalid when depth + tokens exceed the model's context; kResource when the pages cannot be had.
Result<SpeedResult> measure_speed(StepModel& model, const SpeedTest& test, int repetitions,
                                  const std::function<bool()>& keep_going);

}  // namespace kinglet
