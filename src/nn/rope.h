// Inverse frequencies of rotary embeddings, from a RopeSpec. Load-time only; rounded where the reference rounds.
#pragma once

#include <vector>

#include "families/model_spec.h"

namespace kinglet {

// One inverse frequency a rotated pair: theta^(-2p / rotated), scaled as the spec says, each rounded to float (as the
// reference implementations hold them) but returned as double.
// Sources: Su et al. 2021 (RoPE); Llama 3.1's and YaRN's (Peng et al. 2023) forms as in transformers'
// modeling_rope_utils.
// `context`: the longest sequence prepared for, which decides between LongRoPE's lists.
std::vector<double> rope_inverse_frequencies(const RopeSpec& rope, int64_t context);

// What cos and sin are multiplied by.
float rope_magnitude(const RopeSpec& rope);

// What q·k is multiplied by.
float attention_scale(const AttentionSpec& attention);

// What the query of a token is multiplied by (AttentionSpec::query_growth).
float query_factor(const AttentionSpec& attention, int64_t position);

}  // namespace kinglet
