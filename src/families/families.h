// The families' data, one object a data file. Only families.cc includes this.
#pragma once

#include "families/family.h"

namespace kinglet {

extern const Family kLlama, kMistral, kSmolLM3, kQwen2, kQwen3, kGemma3;

}  // namespace kinglet
