// ChunkPolicy: how many tokens of prompts a step may take while others wait for their next token, from what steps took.
// Values in, values out: it has no clock. How prompts are cut changes no answer, so that its choices show in the speed
// alone. Used by the engine thread alone. Internal to this folder.
#pragma once

#include <array>
#include <cstdint>

namespace kinglet {

class ChunkPolicy {
 public:
  // A step with prompts takes no longer than so many without.
  static constexpr double kMostGap = 2.2;
  static constexpr int64_t kFirst = 64;  // tokens, as long as nothing was measured
  static constexpr int64_t kMostDecodes = 64;

  // A step of so many decodes and tokens of prompts.
  void record(int64_t decodes, int64_t prompt_tokens, double seconds);
  // Tokens of prompts beside so many decodes: 1 at least, and any number beside none.
  int64_t most(int64_t decodes) const;

 private:
  struct Mean {
    double value = 0.0;
    bool known = false;
    void add(double sample);
  };
  const Mean* plain(int64_t decodes) const;

  static constexpr int kWidths = 16;               // 2^w tokens to 2^(w+1) - 1
  std::array<Mean, kMostDecodes + 1> plain_ = {};  // seconds of a step of decodes alone
  std::array<Mean, kWidths> cost_ = {};            // seconds that a prompt's token adds, by the tokens of its step
};

}  // namespace kinglet
