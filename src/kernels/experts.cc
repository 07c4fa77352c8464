// Routing of tokens to experts, and what brings rows to the experts and back.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/ops_experts.h"
#include "kernels/table.h"

namespace kinglet {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
// Elements worth waking another worker for.
constexpr int64_t kGrainElements = 16384;
constexpr int64_t kGrainScores = 512;  // each with an exponential

float comparable(float x) {
  return x == x ? x : kLowest;
}

// The positions of the `count` highest of `scores` to the front of `order`; of equal ones the lower position first.
void choose_highest(std::span<const float> scores, int64_t count, std::vector<int32_t>& order) {
  order.resize(scores.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int32_t a, int32_t b) {
    const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  });
}

// One worker's view of one token after the other.
class Router {
 public:
  Router(const Compute& compute, const RouterParams& params)
      : compute_(compute), p_(params), scores_(static_cast<size_t>(params.experts)) {}

  void choose(const float* logits, int32_t* chosen);
  void weigh(const float* logits, const int32_t* chosen, float* weights);

 private:
  void score(const float* logits);
  void mask_groups();

  const Compute& compute_;
  const RouterParams& p_;
  std::vector<float> scores_;     // as the weights see them
  std::vector<float> selection_;  // as the choice sees them
  std::vector<float> group_scores_;
  std::vector<int32_t> order_;
};

// Scores of all experts. Softmax takes the fixed order of 16 lanes that softmax has everywhere.
void Router::score(const float* logits) {
  switch (p_.scoring) {
    case ExpertScoring::kSoftmax: {
      const float sum = exp_minus_max(compute_, logits, p_.experts, scores_.data());
      for (float& s : scores_) s = s / sum;
      return;
    }
    case ExpertScoring::kSigmoid:
      for (size_t e = 0; e < scores_.size(); ++e) scores_[e] = sigmoid_f32(logits[e]);
      return;
    case ExpertScoring::kSoftmaxSelected:
      std::copy_n(logits, p_.experts, scores_.begin());
      return;
    case ExpertScoring::kSqrtSoftplus:
      for (size_t e = 0; e < scores_.size(); ++e) scores_[e] = sqrt_f32(softplus_f32(logits[e]));
      return;
  }
}

void Router::mask_groups() {
  const auto size = static_cast<size_t>(p_.experts / p_.groups);
  group_scores_.clear();
  for (size_t first = 0; first < selection_.size(); first += size) {
    float best = kLowest, second = kLowest;
    for (size_t e = first; e < first + size; ++e) {
      const float s = selection_[e];
      second = s > best ? best : s > second ? s : second;
      best = s > best ? s : best;
    }
    group_scores_.push_back(comparable(p_.group_score == GroupScore::kTop2Sum ? best + second : best));
  }
  choose_highest(group_scores_, p_.groups, order_);
  for (size_t g = static_cast<size_t>(p_.groups_used); g < order_.size(); ++g) {
    std::fill_n(selection_.begin() + static_cast<int64_t>(size) * order_[g], size, p_.masked_score);
  }
}

void Router::choose(const float* logits, int32_t* chosen) {
  score(logits);
  selection_.resize(scores_.size());
  for (size_t e = 0; e < scores_.size(); ++e) {
    selection_[e] = comparable(p_.bias == nullptr ? scores_[e] : scores_[e] + p_.bias[e]);
  }
  if (p_.groups_used < p_.groups) mask_groups();
  choose_highest(selection_, p_.used, order_);
  std::copy_n(order_.begin(), p_.used, chosen);
}

void Router::weigh(const float* logits, const int32_t* chosen, float* weights) {
  score(logits);
  for (int64_t s = 0; s < p_.used; ++s) weights[s] = scores_[static_cast<size_t>(chosen[s])];
  const auto total = [&] {
    float sum = 0.0f;
    for (int64_t s = 0; s < p_.used; ++s) sum += weights[s];
    return sum;
  };
  if (p_.scoring == ExpertScoring::kSoftmaxSelected) {
    const float most = *std::max_element(weights, weights + p_.used);
    for (int64_t s = 0; s < p_.used; ++s) weights[s] = exp_f32(weights[s] - most);
    const float sum = total();
    for (int64_t s = 0; s < p_.used; ++s) weights[s] = weights[s] / sum;
  }
  if (p_.normalise) {
    const float divisor = total() + p_.normalise_epsilon;
    for (int64_t s = 0; s < p_.used; ++s) weights[s] = weights[s] / divisor;
  }
  for (int64_t s = 0; s < p_.used; ++s) weights[s] = weights[s] * p_.scale;
}

void check_params(const RouterParams& p) {
  KL_CHECK(p.experts > 0 && p.used > 0 && p.used <= p.experts, "a router without experts to choose from");
  KL_CHECK(p.groups > 0 && p.experts % p.groups == 0, "experts do not split into the groups");
  KL_CHECK(p.groups_used > 0 && p.groups_used <= p.groups, "a router that uses no groups, or too many");
  KL_CHECK(p.group_score == GroupScore::kMax || p.groups_used == p.groups || p.experts / p.groups >= 2,
           "groups without two best experts");
}

template <class Body>
void for_tokens(const Compute& compute, const RouterParams& params, int64_t tokens, const Body& body) {
  check_params(params);
  const int64_t grain = std::max<int64_t>(1, kGrainScores / params.experts);
  compute.pool->parallel_for(tokens, grain, [&](int64_t first, int64_t last) {
    Router router(compute, params);
    for (int64_t t = first; t < last; ++t) body(router, t);
  });
}

}  // namespace

void route_experts(const Compute& compute, const RouterParams& params, const float* logits, int64_t ld, int64_t tokens,
                   int32_t* chosen, float* weights) {
  for_tokens(compute, params, tokens, [&](Router& router, int64_t t) {
    router.choose(logits + t * ld, chosen + t * params.used);
    router.weigh(logits + t * ld, chosen + t * params.used, weights + t * params.used);
  });
}

void weigh_experts(const Compute& compute, const RouterParams& params, const float* logits, int64_t ld, int64_t tokens,
                   const int32_t* chosen, float* weights) {
  for_tokens(compute, params, tokens, [&](Router& router, int64_t t) {
    router.weigh(logits + t * ld, chosen + t * params.used, weights + t * params.used);
  });
}

void group_by_expert(int64_t experts, int64_t used, std::span<const int32_t> chosen, ExpertGroups& groups) {
  groups.first.assign(static_cast<size_t>(experts) + 1, 0);
  groups.token.resize(chosen.size());
  groups.row_of.resize(chosen.size());
  for (int32_t e : chosen) {
    KL_CHECK(e >= 0 && e < experts, "a choice of an expert that there is not");
    ++groups.first[static_cast<size_t>(e) + 1];
  }
  for (size_t e = 1; e < groups.first.size(); ++e) groups.first[e] += groups.first[e - 1];
  std::vector<int32_t> next(groups.first.begin(), groups.first.end() - 1);
  for (size_t i = 0; i < chosen.size(); ++i) {
    const int32_t row = next[static_cast<size_t>(chosen[i])]++;
    groups.row_of[i] = row;
    groups.token[static_cast<size_t>(row)] = static_cast<int32_t>(i / static_cast<size_t>(used));
  }
}

void gather_rows(const Compute& compute, const float* x, int64_t ldx, const int32_t* row, int64_t rows, int64_t n,
                 float* y, int64_t ldy) {
  if (rows <= 0 || n <= 0) return;
  compute.pool->parallel_for(rows, std::max<int64_t>(1, kGrainElements / n), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      std::memcpy(y + r * ldy, x + row[r] * ldx, static_cast<size_t>(n) * sizeof(float));
    }
  });
}

void combine_experts(const Compute& compute, const float* rows, int64_t ld, const int32_t* row_of, const float* weights,
                     int64_t tokens, int64_t slots, int64_t n, float* out, int64_t ldo) {
  if (tokens <= 0 || n <= 0) return;
  const int64_t grain = std::max<int64_t>(1, kGrainElements / (n * std::max<int64_t>(slots, 1)));
  compute.pool->parallel_for(tokens, grain, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      compute.kernels->rows.combine(rows, ld, row_of + t * slots, weights + t * slots, slots, n, out + t * ldo);
    }
  });
}

}  // namespace kinglet
