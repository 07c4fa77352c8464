// Rerankers of Qwen3's kind as GGUF files hold them: a head of two rows, for "yes" and "no", in place of an output
// head, and their question as a chat template. Internal to convert/.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/gguf_writer.h"
#include "families/family.h"

namespace kinglet::convert {

struct JudgeHead {
  TensorView yes, no;
  std::vector<std::byte> zeros;  // what `no` shows in a model of one label
};

// Nothing where the model is no such reranker: it has one label (Qwen3ForSequenceClassification), or it writes text and
// `name`, its folder's or its README's is Qwen3-Reranker. A label s becomes the rows of s and 0: readers take the
// difference, or the first of a softmax, which is the sigmoid of s.
Result<std::optional<JudgeHead>> judge_head(const Checkpoint& checkpoint, const BoundModel& model,
                                            const std::string& name);

void add_judge_keys(const std::string& architecture, GgufKeys& keys);

}  // namespace kinglet::convert
