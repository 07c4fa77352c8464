// The families' data, one object a data file. Only families.cc includes this.
#pragma once

#include "families/family.h"

namespace kinglet {

extern const Family kLlama, kMistral, kMistral3, kMixtral, kSmolLM3, kPhi3;
extern const Family kQwen2, kQwen3, kQwen2Moe, kQwen3Moe, kQwen3Next, kQwen35;
extern const Family kGemma2, kGemma3, kGemma4;
extern const Family kDeepSeek, kDeepSeekSparse, kDeepSeekV4, kGlmSparse;
extern const Family kKimiLinear;
extern const Family kGlm, kGlm4, kGlm4Moe;
extern const Family kHunyuanDense, kHunyuanMoe, kHunyuanV3;
extern const Family kMiniMax01, kMiniMaxM2, kMiniMaxM3;
extern const Family kGptOss;
extern const Family kBert;

}  // namespace kinglet
