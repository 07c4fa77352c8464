// What a request must fulfil before the engine takes it. Internal to this folder.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "engine/request.h"
#include "text/tokenizer.h"

namespace kinglet {

struct RequestLimits {
  int64_t vocabulary = 0;
  int64_t context = 0;
  const Tokenizer* tokenizer = nullptr;
};

// Checks every field and brings max_tokens down to what the context leaves. kInvalid names the field and the numbers.
Status check_request(Request* request, const RequestLimits& limits);

}  // namespace kinglet
