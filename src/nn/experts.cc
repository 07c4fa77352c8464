// Mixtures of experts: a router picks a few of many small networks for each token. The tokens are sorted by expert, so
// that an expert's weights are read once for all of its tokens; a token's results are added up in the order of its
// choices. (Shazeer et al. 2017; DeepSeekMoE, Dai et al. 2024, for shared experts.)
#include <algorithm>
#include <vector>

#include "kernels/math.h"
#include "kernels/ops_experts.h"
#include "kernels/ops_recurrent.h"
#include "nn/forward_pass.h"

namespace kinglet {
namespace {

ExpertScoring scoring_of(MoeSpec::Scoring scoring) {
  switch (scoring) {
    case MoeSpec::Scoring::kSoftmax:
      return ExpertScoring::kSoftmax;
    case MoeSpec::Scoring::kSigmoid:
      return ExpertScoring::kSigmoid;
    case MoeSpec::Scoring::kSoftmaxSelected:
      return ExpertScoring::kSoftmaxSelected;
    case MoeSpec::Scoring::kSqrtSoftplus:
      return ExpertScoring::kSqrtSoftplus;
  }
  return ExpertScoring::kSoftmax;
}

RouterParams router_params(const MoeSpec& m, const std::vector<float>& selection_bias) {
  RouterParams p;
  p.experts = m.experts;
  p.used = m.used;
  p.scoring = scoring_of(m.scoring);
  p.bias = selection_bias.empty() ? nullptr : selection_bias.data();
  p.groups = m.groups;
  p.groups_used = m.groups_used;
  p.group_score = m.group_by_top2 ? GroupScore::kTop2Sum : GroupScore::kMax;
  if (m.masked_as_zero) p.masked_score = 0.0f;
  p.normalise = m.normalise;
  p.normalise_epsilon = static_cast<float>(m.normalise_epsilon);
  p.scale = static_cast<float>(m.scale);
  return p;
}

}  // namespace

void ForwardPass::expert_ffn(size_t layer) {
  const SlotWeights& w = weights(layer);
  const FfnSpec& f = spec_.layers[layer].ffn;
  const MoeSpec& m = f.moe;
  const int64_t rows = tokens_ * m.used;
  float* logits = work_.scratch.take(tokens_, m.experts);
  float* chosen_weights = work_.scratch.take(tokens_, m.used);
  auto* chosen = reinterpret_cast<int32_t*>(work_.scratch.take(tokens_, m.used));
  float* inputs = work_.scratch.take(rows, spec_.width);
  float* gate = work_.scratch.take(rows, m.hidden);
  float* up = work_.scratch.take(rows, m.hidden);
  float* outputs = work_.scratch.take(rows, spec_.width);

  score_experts(layer, logits);
  const RouterParams router = router_params(m, w.vector(Slot::kSelectionBias));
  if (m.by_token) {
    look_up_experts(layer, chosen);
    weigh_experts(compute_, router, logits, m.experts, tokens_, chosen, chosen_weights);
  } else {
    route_experts(compute_, router, logits, m.experts, tokens_, chosen, chosen_weights);
  }
  if (m.beside_dense)
    for (int64_t i = 0; i < rows; i++)
      chosen_weights[i] *= w.vector(Slot::kExpertScale)[static_cast<size_t>(chosen[i])];
  ExpertGroups& groups = work_.expert_groups;
  group_by_expert(m.experts, m.used, {chosen, static_cast<size_t>(rows)}, groups);
  gather_rows(compute_, normed(), spec_.width, groups.token.data(), rows, spec_.width, inputs, spec_.width);
  expert_products(w.stack(Slot::kExpertGate), w.vector(Slot::kExpertGateBias), inputs, gate);
  expert_products(w.stack(Slot::kExpertUp), w.vector(Slot::kExpertUpBias), inputs, up);
  run_expert_products();
  activate(f, gate, up, m.hidden, rows, m.hidden);
  expert_products(w.stack(Slot::kExpertDown), w.vector(Slot::kExpertDownBias), gate, outputs);
  run_expert_products();
  combine_experts(compute_, outputs, spec_.width, groups.row_of.data(), chosen_weights, tokens_, m.used, spec_.width,
                  branch(), spec_.width);
  if (m.shared_hidden > 0) add_shared_expert(layer);
}

// The experts of the step's tokens, from the layer's table.
void ForwardPass::look_up_experts(size_t layer, int32_t* chosen) {
  const int64_t used = spec_.layers[layer].ffn.moe.used;
  for (const StepSlice& slice : slices_)
    for (const int32_t token : slice.tokens)
      chosen = std::copy_n(weights(layer).table().data() + token * used, used, chosen);
}

// The router reads what the experts do, or (MoeSpec::beside_dense) the residual stream under a norm of its own.
void ForwardPass::score_experts(size_t layer, float* logits) {
  const SlotWeights& w = weights(layer);
  const MoeSpec& m = spec_.layers[layer].ffn.moe;
  if (m.beside_dense) {
    float* input = work_.scratch.take(tokens_, spec_.width);
    norm(residual(), w.vector(Slot::kRouterNorm), spec_.width, input);
    set_input(input, spec_.width);
  }
  product(w.matrix(Slot::kRouter), w.vector(Slot::kRouterBias), logits);
  if (m.beside_dense)
    scale(compute_, logits, m.experts, 1.0f / sqrt_f32(static_cast<float>(spec_.width)), tokens_, m.experts);
}

// branch = norm(dense(normed)) + norm(experts(norm(residual))), each norm with weights of its own (Gemma 4).
void ForwardPass::dense_and_expert_ffn(size_t layer) {
  const SlotWeights& w = weights(layer);
  float* dense = work_.scratch.take(tokens_, spec_.width);
  dense_ffn(layer);
  norm(branch(), w.vector(Slot::kDensePostNorm), spec_.width, dense);
  norm(residual(), w.vector(Slot::kExpertNorm), spec_.width, normed());
  expert_ffn(layer);
  norm(branch(), w.vector(Slot::kExpertPostNorm), spec_.width, branch());
  add(compute_, branch(), spec_.width, dense, spec_.width, tokens_, spec_.width);
}

// Puts down the products of one matrix an expert with the expert's rows of x, and its bias to be added.
void ForwardPass::expert_products(const std::vector<PackedMatrix>& stack, const std::vector<float>& bias,
                                  const float* x, float* y) {
  const std::vector<int32_t>& first = work_.expert_groups.first;
  for (size_t e = 0; e < stack.size(); e++) {
    const PackedMatrix& matrix = stack[e];
    const int64_t at = first[e], count = first[e + 1] - at;
    if (count == 0) continue;
    float* to = y + at * matrix.rows();
    work_.products.push_back({&matrix, x + at * matrix.columns(), matrix.columns(), count, to, matrix.rows()});
    work_.product_biases.push_back(bias.empty() ? nullptr : bias.data() + static_cast<int64_t>(e) * matrix.rows());
  }
}

void ForwardPass::run_expert_products() {
  for (const Product& p : work_.products) observe(*p.w, p.x, p.ldx, p.tokens);
  linear_many(compute_, model_.options.compute, work_.products, work_.product_scratch);
  for (size_t i = 0; i < work_.products.size(); i++) {
    const Product& p = work_.products[i];
    if (const float* bias = work_.product_biases[i]) add_bias(compute_, p.y, p.ldy, bias, p.tokens, p.w->rows());
  }
  work_.products.clear();
  work_.product_biases.clear();
}

// The experts that every token uses, as one network: branch += shared(normed) [* sigmoid(router · normed)].
void ForwardPass::add_shared_expert(size_t layer) {
  const SlotWeights& w = weights(layer);
  const FfnSpec& f = spec_.layers[layer].ffn;
  const int64_t hidden = f.moe.shared_hidden;
  float* gate = work_.scratch.take(tokens_, hidden);
  float* up = work_.scratch.take(tokens_, hidden);
  float* result = work_.scratch.take(tokens_, spec_.width);
  float* share = work_.scratch.take(tokens_, 1);
  set_input(normed(), spec_.width);
  product(w.matrix(Slot::kSharedGate), gate);
  product(w.matrix(Slot::kSharedUp), up);
  if (f.moe.shared_gated) product(w.matrix(Slot::kSharedRouter), share);
  activate(f, gate, up, hidden, tokens_, hidden);
  set_input(gate, hidden);
  product(w.matrix(Slot::kSharedDown), result);
  if (!f.moe.shared_gated) {
    add(compute_, branch(), spec_.width, result, spec_.width, tokens_, spec_.width);
    return;
  }
  sigmoid(compute_, share, 1, tokens_, 1);
  for (int64_t t = 0; t < tokens_; t++)
    residual_mix(compute_, 1.0f, branch() + t * spec_.width, spec_.width, share[t], result + t * spec_.width,
                 spec_.width, 1, spec_.width);
}

}  // namespace kinglet
