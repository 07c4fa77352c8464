// How the tokens that a step has for prompts are shared out. Values in, values out. Internal to this folder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kinglet {

// A prompt that could go on.
struct PromptClaim {
  int64_t tokens = 0;  // at most in this step
  int64_t left = 0;    // until the prompt's end
  int priority = 0;    // higher goes first
  int64_t user = 0;    // whose prompt it is
  int64_t served = 0;  // tokens that the user has had
};

// What each claim gets of `budget`; all of it is given out as long as somebody wants it. `claims`: the most senior
// first. That one gets an eighth (a token at least) whatever the others are, so that it ends. The rest goes to the
// highest priority; there to the user who has had least, a little at a time; and of a user's prompts in turn to the
// most senior and to the one that is done soonest: so a short question need not wait for a long text, and a long text
// goes on at half the speed at least.
std::vector<int64_t> share_tokens(std::span<const PromptClaim> claims, int64_t budget);

}  // namespace kinglet
