#include "engine/fair_share.h"

#include <algorithm>
#include <map>

namespace kinglet {

namespace {

constexpr int64_t kQuantum = 32;  // tokens given at a time

class Sharing {
 public:
  Sharing(std::span<const PromptClaim> claims, int64_t budget)
      : claims_(claims), given_(claims.size()), budget_(budget) {
    for (const PromptClaim& claim : claims) served_[claim.user] = claim.served;
  }

  std::vector<int64_t> run() {
    if (claims_.empty()) return given_;
    give(0, std::max<int64_t>(1, budget_ / 8));
    while (budget_ > 0) {
      const int64_t user = neediest();
      if (user < 0) break;
      const bool soonest = turns_[user]++ % 2 == 1;
      give(best_of(user, soonest), kQuantum);
    }
    return given_;
  }

 private:
  int64_t open(size_t i) const { return claims_[i].tokens - given_[i]; }

  void give(size_t i, int64_t tokens) {
    tokens = std::min({tokens, open(i), budget_});
    given_[i] += tokens;
    budget_ -= tokens;
    served_[claims_[i].user] += tokens;
  }

  // The user to be served next; their claim of the priority that is served now is found by best_of(). -1: none.
  int64_t neediest() {
    const PromptClaim* best = nullptr;
    for (size_t i = 0; i < claims_.size(); ++i) {
      if (open(i) == 0) continue;
      const PromptClaim& claim = claims_[i];
      if (best == nullptr || claim.priority > best->priority ||
          (claim.priority == best->priority && served_[claim.user] < served_[best->user])) {
        best = &claim;
      }
    }
    if (best == nullptr) return -1;
    priority_ = best->priority;
    return best->user;
  }

  size_t best_of(int64_t user, bool soonest) const {
    size_t best = claims_.size();
    for (size_t i = 0; i < claims_.size(); ++i) {
      if (claims_[i].user != user || claims_[i].priority != priority_ || open(i) == 0) continue;
      if (best == claims_.size() || (soonest && claims_[i].left < claims_[best].left)) best = i;
    }
    return best;
  }

  std::span<const PromptClaim> claims_;
  std::vector<int64_t> given_;
  int64_t budget_;
  int priority_ = 0;
  std::map<int64_t, int64_t> served_, turns_;
};

}  // namespace

std::vector<int64_t> share_tokens(std::span<const PromptClaim> claims, int64_t budget) {
  return Sharing(claims, budget).run();
}

}  // namespace kinglet
