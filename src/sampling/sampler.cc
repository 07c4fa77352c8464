#include "sampling/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"
#include "sampling/random.h"

namespace kinglet {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// NaN and +infinity: above every finite number when the sign of a NaN is dropped.
bool is_broken(float value) {
  return std::isnan(value) || value == std::numeric_limits<float>::infinity();
}

Status check_logits(std::span<const float> logits, int64_t position) {
  uint32_t broken = 0;  // without a branch, so that it becomes vector code
  for (float logit : logits) {
    const auto bits = std::bit_cast<uint32_t>(logit);
    broken |= static_cast<uint32_t>((bits & 0x7f800000u) == 0x7f800000u && bits != 0xff800000u);
  }
  if (broken == 0) return {};
  const auto at = std::find_if(logits.begin(), logits.end(), is_broken);
  return Error{ErrorCode::kInvalid,
               "the model's logits at position " + std::to_string(position) + " are not finite (token " +
                   std::to_string(at - logits.begin()) + " has " + (std::isnan(*at) ? "NaN" : "infinity") +
                   "): the model's weights are damaged, or the text drives it out of the range of floats"};
}

// The first of the largest. The maximum of 16 streams becomes vector code; std::max_element does not.
size_t argmax(std::span<const float> logits) {
  std::array<float, 16> lanes;
  lanes.fill(kForbidden);
  const size_t whole = logits.size() / lanes.size() * lanes.size();
  for (size_t i = 0; i < whole; i += lanes.size()) {
    for (size_t lane = 0; lane < lanes.size(); ++lane) lanes[lane] = std::max(lanes[lane], logits[i + lane]);
  }
  float largest = *std::max_element(lanes.begin(), lanes.end());
  for (float logit : logits.subspan(whole)) largest = std::max(largest, logit);
  return static_cast<size_t>(std::find(logits.begin(), logits.end(), largest) - logits.begin());
}

void apply_mask(std::span<const uint32_t> mask, std::span<float> logits) {
  for (size_t begin = 0; begin < logits.size(); begin += 32) {
    const uint32_t word = begin / 32 < mask.size() ? mask[begin / 32] : 0;
    if (word == ~uint32_t{0}) continue;
    const size_t end = std::min(begin + 32, logits.size());
    for (size_t i = begin; i < end; ++i) {
      if (((word >> (i - begin)) & 1u) == 0) logits[i] = kForbidden;
    }
  }
}

void add_logprobs(const Compute& compute, std::span<const float> logits, int count, std::vector<uint64_t>* keys,
                  SampledToken* sampled) {
  const float normalizer = log_sum_exp(compute, logits.data(), static_cast<int64_t>(logits.size()));
  sampled->logprob = logits[static_cast<size_t>(sampled->token)] - normalizer;
  for (int32_t id : largest_indices(logits, count, keys)) {
    sampled->top.push_back({id, logits[static_cast<size_t>(id)] - normalizer});
  }
}

}  // namespace

Sampler::Sampler(SamplingParams params, uint64_t seed, std::span<const int32_t> prompt)
    : params_(std::move(params)), seed_(params_.seed.value_or(seed)) {
  for (int32_t token : prompt) remember_recent(token);
}

void Sampler::remember_recent(int32_t token) {
  if (params_.repetition_penalty == 1.0f || params_.penalty_last_n == 0) return;
  ++recent_[token];
  if (params_.penalty_last_n < 0) return;
  window_.push_back(token);
  if (static_cast<int64_t>(window_.size()) <= params_.penalty_last_n) return;
  const auto oldest = recent_.find(window_.front());
  if (--oldest->second == 0) recent_.erase(oldest);
  window_.pop_front();
}

void Sampler::accept(int32_t token) {
  remember_recent(token);
  if (params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f) ++generated_[token];
}

bool Sampler::alters_logits() const {
  return !params_.logit_bias.empty() || !recent_.empty() || !generated_.empty();
}

void Sampler::adjust(std::span<float> logits) const {
  const auto at = [&](int32_t token) { return static_cast<size_t>(token) < logits.size(); };
  for (const auto& [token, bias] : params_.logit_bias) {
    if (at(token)) logits[static_cast<size_t>(token)] += bias;
  }
  // Each token is touched once, so the order of the tables does not matter.
  for (const auto& [token, count] : recent_) {
    if (!at(token)) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0.0f ? logit / params_.repetition_penalty : logit * params_.repetition_penalty;
  }
  for (const auto& [token, count] : generated_) {
    if (!at(token)) continue;
    const float times = params_.frequency_penalty * static_cast<float>(count);
    logits[static_cast<size_t>(token)] -= params_.presence_penalty + times;
  }
}

Result<SampledToken> Sampler::sample(const Compute& compute, SamplingScratch& scratch, std::span<const float> logits,
                                     int64_t position, std::span<const uint32_t> mask) const {
  KL_CHECK(!logits.empty(), "a vocabulary has tokens");
  KL_RETURN_IF_ERROR(check_logits(logits, position));
  std::span<const float> adjusted = logits;
  if (alters_logits() || !mask.empty()) {
    scratch.logits.assign(logits.begin(), logits.end());
    adjust(scratch.logits);
    if (!mask.empty()) apply_mask(mask, scratch.logits);
    adjusted = scratch.logits;
  }
  const size_t best = argmax(adjusted);
  const float largest = adjusted[best];
  if (std::isinf(largest) || std::isnan(largest)) {
    return Error{ErrorCode::kInvalid, "no token can follow at position " + std::to_string(position) +
                                          ": grammar, bias and penalties leave none"};
  }
  SampledToken sampled;
  if (params_.temperature == 0.0f) {
    sampled.token = static_cast<int32_t>(best);
  } else {
    Candidates& candidates = scratch.candidates;
    candidates.assign(compute, adjusted, largest, params_.temperature, params_.top_k);
    candidates.keep_top_p(params_.top_p);
    candidates.keep_min_p(params_.min_p);
    candidates.keep_typical(params_.typical_p);
    sampled.token = candidates.draw(uniform_at(seed_, static_cast<uint64_t>(position)));
  }
  if (params_.logprobs >= 0) add_logprobs(compute, logits, params_.logprobs, &scratch.keys, &sampled);
  return sampled;
}

}  // namespace kinglet
