// Heads over one state: Model::classify and Model::token_logit, and what a label's logit means.
#pragma once

#include "nn/model.h"

namespace kinglet {

float probability_of(float logit);  // 1 / (1 + exp(-logit))

}  // namespace kinglet
