// A GGUF file of one mix out of a GGUF file of another: metadata kept, tensors quantised.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "convert/importance.h"
#include "convert/mix.h"
#include "convert/tensor_stream.h"
#include "formats/checkpoint.h"

namespace kinglet::convert {

struct QuantiseOptions {
  Mix mix;
  std::vector<TypeOverride> overrides;
  const Importance* importance = nullptr;      // may be absent
  std::function<bool(double share)> progress;  // false: stop; may be empty
};

// Writes `path`. The checkpoint is a GGUF file (or a split, which becomes one file). Errors: those of write_gguf and
// choose_types; kInvalid where `path` is one of the checkpoint's files, or an importance has another number of columns
// or knows none of the tensors.
Result<StreamReport> quantise_model(const Checkpoint& checkpoint, const std::string& path,
                                    const QuantiseOptions& options, ThreadPool& pool);

// Types for `jobs` and their importance by the mix, as quantise_model does it; for other makers of jobs.
Status apply_mix(std::vector<TensorJob>& jobs, MixFacts facts, const QuantiseOptions& options);

// check_output_file() of `path` against the files that are being read.
Status refuse_same_file(const Checkpoint& checkpoint, const std::string& path);

}  // namespace kinglet::convert
