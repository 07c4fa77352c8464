// DraftPolicy: how many tokens to draft, from what steps cost and how often drafts held. Values in, values out: it has
// no clock and knows no tokens; since drafts never change an answer, its choices show in the speed alone. Used by the
// engine thread alone. Internal to this folder.
//
// Time is counted in plain steps: those of as many sequences without drafts. A step with drafts is worth the tokens it
// is expected to give over what steps of its width took in comparison. What drafts lost is kept in a ledger: they have
// to earn it back, or wait until a hundredth of the plain steps has made up for it. So where drafts fail, they cost
// about one step in a hundred, however wrong the expectations are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kinglet {

// What a draft builds on: the better the reason, the likelier its tokens hold.
enum class DraftReason { kPair, kFew, kSentence, kPassage, kLongPassage, kModel };
inline constexpr int kDraftReasons = 6;
DraftReason reason_of_match(int64_t length);  // of a LookupIndex

// How often one sequence's drafts held, lately.
class DraftOdds {
 public:
  double chance(DraftReason reason) const;  // that a token holds, where those before it did
  void record(DraftReason reason, int64_t drafted, int64_t accepted);
  // There was a draft and it was not tried: what failed becomes doubtful with time.
  void pass(DraftReason reason);

 private:
  struct Count {
    double held = 0.0, tried = 0.0;
  };
  Count counts_[kDraftReasons];
};

// The longest draft that may be had for a sequence, and its odds.
struct DraftOffer {
  int64_t tokens = 0;
  double chance = 0.0;
};

// A step of decoding sequences alone, as it was.
struct DecodeStep {
  int64_t sequences = 0;
  int64_t extra = 0;   // tokens in it beyond one a sequence
  int64_t chosen = 0;  // tokens that it gave
  bool by_model = false;
  double seconds = 0.0;
};

class DraftPolicy {
 public:
  DraftPolicy();

  struct Choice {
    std::vector<int64_t> tokens;  // of each offer
    double worth = 1.0;           // expected tokens per time, compared with a plain step
  };
  // One offer for each sequence that decodes. `by_model`: drafts that cost time of their own. `repeats`: a sequence
  // whose draft fails computes what held once more, in its next step.
  Choice choose(std::span<const DraftOffer> offers, bool by_model, bool repeats) const;
  void record(const DecodeStep& step);

  // What a step with `extra` tokens more is thought to take, in plain steps.
  double cost(int64_t sequences, int64_t extra, bool by_model) const;
  double ledger() const { return ledger_; }  // plain steps that drafts may lose from here on

  static constexpr int64_t kMostSequences = 64, kMostExtra = 128;

 private:
  // The lower one of the last few samples: what held a step up says nothing about the next.
  class Quartile {
   public:
    void add(double sample);
    double value() const { return value_; }
    double weight = 0.0;  // of the samples

   private:
    static constexpr size_t kSamples = 9;
    std::vector<double> samples_;
    size_t next_ = 0;
    double value_ = 0.0;
  };
  struct Costs {
    Quartile plain;                   // seconds
    int64_t steps_since_plain = 0;    // with drafts
    int64_t plain_due = 0;            // after so many; more of them the better plain steps are known
    std::vector<Quartile> widths[2];  // by extra tokens: steps of this width in plain steps; without, with a model
  };
  const Costs* costs_of(int64_t sequences) const;
  static int64_t widest(const Costs& costs, bool by_model);

  std::vector<Costs> costs_;  // by sequences
  double ledger_;
};

}  // namespace kinglet
