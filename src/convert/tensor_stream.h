// Tensors on their way into a GGUF file: decoded, brought into the form the file wants, quantised, written, slab by
// slab and in parallel over rows. Memory stays at some slabs, whatever the tensors' sizes. It chooses neither types nor
// names.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"
#include "base/threads.h"
#include "convert/gguf_writer.h"
#include "formats/checkpoint.h"

namespace kinglet::convert {

// What happens to every value on the way.
enum class ValueStep { kNone, kAddOne, kNegativeExp };

struct TensorJob {
  PlannedTensor planned;
  // Their rows one after another are the tensor's (the experts of a layer are several tensors in some files).
  std::vector<TensorView> sources;
  std::vector<int32_t> row_order;  // the rows of every source to take, in order; empty: all as they are
  ValueStep values = ValueStep::kNone;
  std::span<const float> importance;  // of columns, one set for each of the tensor's matrices or for all; may be empty
};

struct TensorReport {
  std::string name;
  DType from = DType::kF32, to = DType::kF32;
  uint64_t bytes = 0;
  double rmse = 0;           // of the decoded values against the source's, weighted by importance where there is one
  double relative_rmse = 0;  // rmse over the values' own root mean square
};

struct StreamReport {
  uint64_t source_bytes = 0, file_bytes = 0;
  std::vector<TensorReport> tensors;
  std::vector<std::string> left_out;  // tensors of the source that the file has no place for
};

// `checkpoint` is where the sources lie; pages that have been read are given back to the system. `progress` gets the
// share that is done; false ends with kCancelled. kInvalid where a value is not finite.
Result<StreamReport> write_gguf(const std::string& path, const GgufKeys& keys, const Checkpoint& checkpoint,
                                std::span<const TensorJob> jobs, ThreadPool& pool,
                                const std::function<bool(double)>& progress);

}  // namespace kinglet::convert
