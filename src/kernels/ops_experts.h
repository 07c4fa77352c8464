// The operations of mixtures of experts and of other layers made of many small matrices. As in ops.h, each has one
// meaning for every instruction set, number of threads and grouping; docs/NUMERICS.md and docs/numerics-rows.md fix the
// arithmetic.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace kinglet {

// ---- many products

// y[t][r] = sum over k of w[r][k] * x[t][k], t < tokens: one linear() among others.
struct Product {
  const PackedMatrix* w = nullptr;
  const float* x = nullptr;
  int64_t ldx = 0, tokens = 0;
  float* y = nullptr;
  int64_t ldy = 0;
};

// What linear_many works with besides its operands; reused from call to call.
class ProductScratch {
 public:
  ProductScratch();
  ~ProductScratch();
  ProductScratch(const ProductScratch&) = delete;
  ProductScratch& operator=(const ProductScratch&) = delete;

 private:
  friend void linear_many(const Compute&, ComputeMode, std::span<const Product>, ProductScratch&);
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;
};

// All products in one pass over the pool, each with the bits of linear(). No output may overlap an input or another
// output. Products of the same x, ldx, tokens and columns share its quantised form.
void linear_many(const Compute& compute, ComputeMode mode, std::span<const Product> products, ProductScratch& scratch);

// ---- routing

enum class ExpertScoring {
  kSoftmax,          // over all experts
  kSigmoid,          //
  kSoftmaxSelected,  // selected by the logits, softmax over the selected ones (gpt-oss)
  kSqrtSoftplus,     // sqrt(log(1 + exp(x))) (DeepSeek-V4)
};
enum class GroupScore {
  kMax,      // the best expert's (DeepSeek-V2)
  kTop2Sum,  // the sum of the two best (DeepSeek-V3)
};

struct RouterParams {
  int64_t experts = 0, used = 0;
  ExpertScoring scoring = ExpertScoring::kSoftmax;
  const float* bias = nullptr;  // [experts], added to the scores for the selection only; null: none
  // Experts are chosen from the best `groups_used` of `groups` runs of experts / groups; what the others' score becomes
  // is `masked_score`: they still can be chosen where it is finite and too few are better.
  int64_t groups = 1, groups_used = 1;
  GroupScore group_score = GroupScore::kMax;
  float masked_score = -std::numeric_limits<float>::infinity();
  // weight = score [/ (sum of the chosen ones' scores + normalise_epsilon)] * scale
  bool normalise = false;
  float normalise_epsilon = 0.0f;
  float scale = 1.0f;
};

// Chooses the `used` experts with the highest scores of each row of logits [tokens][experts] (ld floats a row): chosen
// and weights are [tokens][used], in descending order of the score that they are chosen by; of equal ones, and of equal
// groups, the lower index comes first. A NaN counts as the lowest score in a choice; the weights tell.
void route_experts(const Compute& compute, const RouterParams& params, const float* logits, int64_t ld, int64_t tokens,
                   int32_t* chosen, float* weights);

// The weights that route_experts gives to the experts in `chosen`, whatever chose them (DeepSeek-V4's hash layers).
void weigh_experts(const Compute& compute, const RouterParams& params, const float* logits, int64_t ld, int64_t tokens,
                   const int32_t* chosen, float* weights);

// The batch sorted by experts: row r of the sorted batch is token `token[r]`; expert e has rows [first[e], first[e+1]),
// in the order of tokens (and of slots); row_of [tokens][used] is the way back.
struct ExpertGroups {
  std::vector<int32_t> first, token, row_of;
};
void group_by_expert(int64_t experts, int64_t used, std::span<const int32_t> chosen, ExpertGroups& groups);

// y[r] = x[row[r]], rows of n floats.
void gather_rows(const Compute& compute, const float* x, int64_t ldx, const int32_t* row, int64_t rows, int64_t n,
                 float* y, int64_t ldy);

// out[t] = sum over the slots s, in order, of weights[t][s] * rows[row_of[t][s]], rows of n floats: a chain of fused
// multiply-adds from 0. weights and row_of are [tokens][slots].
void combine_experts(const Compute& compute, const float* rows, int64_t ld, const int32_t* row_of, const float* weights,
                     int64_t tokens, int64_t slots, int64_t n, float* out, int64_t ldo);

}  // namespace kinglet
