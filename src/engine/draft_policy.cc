#include "engine/draft_policy.h"

#include <algorithm>
#include <cmath>

namespace kinglet {

namespace {

// Expectations before anything was seen, and how many trials they are worth.
constexpr double kFirstChance[kDraftReasons] = {0.35, 0.5, 0.65, 0.8, 0.9, 0.65};
constexpr double kFirstWeight = 2.0;
constexpr double kForget = 0.96;  // of a trial, with each later one
constexpr double kForgetUntried = 0.995;

constexpr double kLeastWorth = 1.03;      // below it, noise decides
constexpr double kFirstLedger = 1.5;      // plain steps
constexpr double kMostLedger = 4.0;       // gains of long ago are no reason to lose now
constexpr double kLedgerPerPlain = 0.01;  // what a plain step makes up for
constexpr double kPlainNeeded = 4.0;      // plain steps measured before the first draft
constexpr int64_t kPlainDueGrowth = 3, kPlainDueMost = 64;
constexpr double kDoubt = 1.03;  // a measured gain smaller than this may be none
constexpr double kMostWeight = 9.0;
constexpr double kCostFading = 0.998;  // of a width's weight, with each step: what isn't seen gets doubtful
constexpr double kGuessWeight = 0.05;  // of the guess beside measured samples
constexpr double kGuessedSlope = 0.05;
constexpr int64_t kFirstWidth = 4;  // extra tokens of the first step with drafts; later at most twice what is known
constexpr double kBoldness = 0.6;   // plain steps that a step may cost beyond its first whatever the ledger holds

constexpr double kModelMost = 4.0;  // plain steps that drafting itself is believed to take at most

}  // namespace

DraftReason reason_of_match(int64_t length) {
  if (length < 4) return DraftReason::kPair;
  if (length < 8) return DraftReason::kFew;
  if (length < 16) return DraftReason::kSentence;
  return length < 32 ? DraftReason::kPassage : DraftReason::kLongPassage;
}

double DraftOdds::chance(DraftReason reason) const {
  const Count& count = counts_[static_cast<int>(reason)];
  return (count.held + kFirstWeight * kFirstChance[static_cast<int>(reason)]) / (count.tried + kFirstWeight);
}

void DraftOdds::record(DraftReason reason, int64_t drafted, int64_t accepted) {
  Count& count = counts_[static_cast<int>(reason)];
  const int64_t trials = accepted + (accepted < drafted ? 1 : 0);
  for (int64_t i = 0; i < trials; ++i) {
    count.tried = count.tried * kForget + 1.0;
    count.held = count.held * kForget + (i < accepted ? 1.0 : 0.0);
  }
}

void DraftOdds::pass(DraftReason reason) {
  Count& count = counts_[static_cast<int>(reason)];
  count.tried *= kForgetUntried;
  count.held *= kForgetUntried;
}

void DraftPolicy::Quartile::add(double sample) {
  if (samples_.size() < kSamples) {
    samples_.push_back(sample);
  } else {
    samples_[next_++ % kSamples] = sample;
  }
  weight = std::min(weight + 1.0, kMostWeight);
  std::vector<double> sorted = samples_;
  std::sort(sorted.begin(), sorted.end());
  value_ = sorted[(sorted.size() - 1) / 4];
}

DraftPolicy::DraftPolicy() : costs_(kMostSequences + 1), ledger_(kFirstLedger) {}

const DraftPolicy::Costs* DraftPolicy::costs_of(int64_t sequences) const {
  if (sequences < 1 || sequences > kMostSequences) return nullptr;
  return &costs_[static_cast<size_t>(sequences)];
}

// Measured widths, a line between the nearest two, beyond the widest its slope; what is faded gives way to the guess.
double DraftPolicy::cost(int64_t sequences, int64_t extra, bool by_model) const {
  const Costs* costs = costs_of(sequences);
  double below = 1.0, slope = kGuessedSlope;
  int64_t below_at = 0;
  if (costs == nullptr || extra == 0) return 1.0;
  const auto& widths = costs->widths[by_model ? 1 : 0];
  for (int64_t at = 1; at < static_cast<int64_t>(widths.size()); ++at) {
    const Quartile& width = widths[static_cast<size_t>(at)];
    if (width.weight < kGuessWeight) continue;
    const double guess = below + slope * static_cast<double>(at - below_at);
    const double value = (width.value() * width.weight + guess * kGuessWeight) / (width.weight + kGuessWeight);
    if (at == extra) return value;
    if (at > extra) {
      const double part = static_cast<double>(extra - below_at) / static_cast<double>(at - below_at);
      return below + (value - below) * part;
    }
    slope = std::max(0.0, (value - 1.0) / static_cast<double>(at));
    below = value;
    below_at = at;
  }
  return below + slope * static_cast<double>(extra - below_at);
}

// As far as the guess of a step's cost is followed.
int64_t DraftPolicy::widest(const Costs& costs, bool by_model) {
  const auto& widths = costs.widths[by_model ? 1 : 0];
  auto known = static_cast<int64_t>(widths.size()) - 1;
  while (known > 0 && widths[static_cast<size_t>(known)].weight < kGuessWeight) --known;
  return std::min(kFirstWidth + 2 * std::max<int64_t>(known, 0), kMostExtra);
}

DraftPolicy::Choice DraftPolicy::choose(std::span<const DraftOffer> offers, bool by_model, bool repeats) const {
  const auto sequences = static_cast<int64_t>(offers.size());
  Choice choice;
  choice.tokens.assign(offers.size(), 0);
  const Costs* costs = costs_of(sequences);
  if (costs == nullptr || costs->plain.weight < kPlainNeeded || costs->steps_since_plain >= costs->plain_due ||
      ledger_ <= 0.0) {
    return choice;
  }
  // The likeliest token of all goes next: the best draft of each width is the one before and one token more.
  std::vector<int64_t> taken(offers.size(), 0);
  std::vector<double> holds(offers.size(), 1.0);  // the chance that all taken tokens of the sequence hold
  std::vector<double> kept(offers.size(), 0.0);   // of them, those expected to hold
  double expected = static_cast<double>(sequences);
  for (int64_t extra = 1; extra <= widest(*costs, by_model); ++extra) {
    size_t best = offers.size();
    double best_chance = 0.0;
    for (size_t i = 0; i < offers.size(); ++i) {
      const double next = holds[i] * offers[i].chance;
      if (taken[i] == offers[i].tokens || next <= best_chance) continue;
      best = i;
      best_chance = next;
    }
    if (best == offers.size()) break;
    ++taken[best];
    holds[best] = best_chance;
    kept[best] += best_chance;
    expected += best_chance;
    double spent = cost(sequences, extra, by_model);
    if (spent - 1.0 > std::max(kBoldness, ledger_)) break;
    if (repeats) {
      for (size_t i = 0; i < offers.size(); ++i) {
        if (taken[i] == 0) continue;
        const int64_t again = 1 + static_cast<int64_t>(std::lround(kept[i]));
        spent += (1.0 - holds[i]) * (cost(sequences, again, false) - 1.0);
      }
    }
    const double worth = expected / static_cast<double>(sequences) / spent;
    if (worth < kLeastWorth || worth <= choice.worth) continue;
    choice.worth = worth;
    choice.tokens = taken;
  }
  return choice;
}

void DraftPolicy::record(const DecodeStep& step) {
  if (step.sequences < 1 || step.sequences > kMostSequences || step.extra > kMostExtra || !(step.seconds > 0.0)) return;
  Costs& costs = costs_[static_cast<size_t>(step.sequences)];
  for (auto& widths : costs.widths) {
    for (Quartile& width : widths) width.weight *= kCostFading;
  }
  if (step.extra == 0 && !step.by_model) {
    costs.plain.add(step.seconds);
    costs.plain_due = std::min(costs.plain_due + kPlainDueGrowth, kPlainDueMost);
    costs.steps_since_plain = 0;
    ledger_ = std::min(ledger_ + kLedgerPerPlain, kMostLedger);
    return;
  }
  if (costs.plain.weight < 1.0) return;
  ++costs.steps_since_plain;
  // More than as many plain steps as it has tokens was a disturbance.
  const double most = 1.0 + static_cast<double>(step.extra) / static_cast<double>(step.sequences);
  const double took = std::min(step.seconds / costs.plain.value(), step.by_model ? most + kModelMost : most);
  auto& widths = costs.widths[step.by_model ? 1 : 0];
  if (step.extra > 0) {
    if (static_cast<int64_t>(widths.size()) <= step.extra) widths.resize(static_cast<size_t>(step.extra) + 1);
    widths[static_cast<size_t>(step.extra)].add(took);
  }
  const double gave = static_cast<double>(step.chosen) / static_cast<double>(step.sequences);
  ledger_ = std::min(ledger_ + gave - took * kDoubt, kMostLedger);
}

}  // namespace kinglet
