// LookupIndex: where a text's own end stood before in the same text, so that what followed there can be drafted as what
// follows here (prompt lookup). It knows token ids, prompt and answer alike; no probabilities, no model. A token costs
// O(1), and memory is a few integers a token. Used by the engine thread alone. Internal to this folder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kinglet {

class LookupIndex {
 public:
  // Ends shorter than this are not looked for, and longer matches are not told apart.
  static constexpr int64_t kShortest = 2, kLongest = 64;

  // Takes note of what was added to the text since the last call; `text` begins with what was given then.
  void extend(std::span<const int32_t> text);

  struct Match {
    int64_t length = 0;  // of the end that stood before, at most kLongest; 0: none did
    int64_t source = 0;  // the position that followed it there
  };
  // The longest end of the text that stood before in it; of several the latest, as far as a bounded search sees.
  const Match& match() const { return match_; }

  // What followed there, `count` tokens; where the text ends first, it goes on with the draft itself, so that a period
  // repeats. Empty without a match.
  std::vector<int32_t> draft(std::span<const int32_t> text, int64_t count) const;

 private:
  // Chains of the positions behind equal runs of `length` tokens, latest first (as in LZ77 compressors).
  struct Runs {
    explicit Runs(int64_t run_length) : length(run_length) {}
    void add(std::span<const int32_t> text, int64_t end);
    void rebuild(std::span<const int32_t> text, int64_t end);
    size_t bucket(std::span<const int32_t> text, int64_t end) const;

    int64_t length;
    std::vector<int32_t> latest;    // bucket of a run's hash -> the latest position behind one, -1: none
    std::vector<int32_t> previous;  // position -> the one before it in its chain
  };

  void search(std::span<const int32_t> text, const Runs& runs, int64_t most_visited);

  int64_t size_ = 0;
  Runs pairs_{kShortest}, fours_{4};
  Match match_;
};

}  // namespace kinglet
