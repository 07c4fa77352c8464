#include "convert/tensor_stream.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>

#include "base/check.h"
#include "base/memory.h"
#include "base/quote.h"
#include "convert/quantise.h"
#include "formats/decode.h"
#include "formats/intact.h"
#include "kernels/math.h"

namespace kinglet::convert {
namespace {

constexpr int64_t kSlabBytes = int64_t{8} << 20;  // of the values of a slab as floats

// Squares of a row, weighted: of the error and of the values.
struct Squares {
  double error = 0, values = 0, weight = 0;
};

int64_t rows_taken(const TensorJob& job, const TensorView& source) {
  return job.row_order.empty() ? source.rows() : std::ssize(job.row_order);
}

float stepped(ValueStep step, float value) {
  switch (step) {
    case ValueStep::kNone:
      return value;
    case ValueStep::kAddOne:
      return value + 1.0f;
    case ValueStep::kNegativeExp:
      return static_cast<float>(-exp_f64(static_cast<double>(value)));
  }
  return value;
}

// Blocks that need no decoding: quantising what they decode to might choose other ones.
bool keeps_blocks(const TensorJob& job, const TensorView& source) {
  return source.dtype == job.planned.type && dtype_info(source.dtype).block_values > 1 && source.multiplier == 1.0f &&
         source.column_order.empty() && job.values == ValueStep::kNone;
}

class Stream {
 public:
  Stream(GgufWriter& writer, const Checkpoint& checkpoint, ThreadPool& pool,
         const std::function<bool(double)>& progress, uint64_t total)
      : writer_(writer), checkpoint_(checkpoint), pool_(pool), progress_(progress), total_(total) {}

  Result<TensorReport> send(const TensorJob& job) {
    TensorReport report{job.planned.name, job.sources.front().dtype, job.planned.type, job.planned.bytes(), 0, 0};
    squares_ = {};
    int64_t first_row = 0;
    for (const TensorView& source : job.sources) {
      const bool as_it_is = source.source == nullptr && source.multiplier == 1.0f && source.column_order.empty() &&
                            source.dtype == job.planned.type && job.row_order.empty() && job.values == ValueStep::kNone;
      KL_RETURN_IF_ERROR(as_it_is ? copy(source) : encode(job, source, first_row));
      checkpoint_.release(source.data);
      first_row += rows_taken(job, source);
    }
    if (squares_.weight > 0) report.rmse = std::sqrt(squares_.error / squares_.weight);
    if (squares_.values > 0) report.relative_rmse = std::sqrt(squares_.error / squares_.values);
    return report;
  }

 private:
  Status advance(uint64_t source_bytes) {
    done_ += source_bytes;
    const double share = total_ == 0 ? 1.0 : static_cast<double>(done_) / static_cast<double>(total_);
    if (progress_ && !progress_(share)) return Error{ErrorCode::kCancelled, "interrupted; nothing was written"};
    return {};
  }

  Status copy(const TensorView& source) {
    for (size_t at = 0; at < source.data.size();) {
      const size_t count = std::min(source.data.size() - at, static_cast<size_t>(kSlabBytes));
      KL_RETURN_IF_ERROR(writer_.write(source.data.subspan(at, count)));
      KL_RETURN_IF_ERROR(advance(count));
      at += count;
    }
    return {};
  }

  Status encode(const TensorJob& job, const TensorView& source, int64_t first_row) {
    const int64_t columns = source.columns(), rows = rows_taken(job, source);
    if (columns == 0) return {};
    const uint64_t row_size = row_bytes(job.planned.type, static_cast<uint64_t>(columns));
    const int64_t slab = std::clamp<int64_t>(kSlabBytes / (columns * 4), 1, std::max<int64_t>(rows, 1));
    bytes_.resize(static_cast<size_t>(slab) * row_size);
    row_squares_.resize(static_cast<size_t>(slab));
    for (int64_t begin = 0; begin < rows; begin += slab) {
      const int64_t count = std::min(slab, rows - begin);
      not_finite_.store(-1);
      pool_.parallel_for(count, std::max<int64_t>(1, 4096 / columns), [&](int64_t from, int64_t to) {
        std::vector<float> values(static_cast<size_t>(columns)), decoded(values.size());
        for (int64_t i = from; i < to; ++i)
          row_squares_[static_cast<size_t>(i)] = encode_row(job, source, first_row, begin + i, values, decoded,
                                                            bytes_.data() + static_cast<uint64_t>(i) * row_size);
      });
      if (const int64_t row = not_finite_.load(); row >= 0)
        return Error{ErrorCode::kInvalid, "tensor " + quote(source.name) + ": row " + std::to_string(row) +
                                              " has a value that is not finite; the model is damaged"};
      for (int64_t i = 0; i < count; ++i) {
        const Squares& row = row_squares_[static_cast<size_t>(i)];
        squares_.error += row.error;
        squares_.values += row.values;
        squares_.weight += row.weight;
      }
      KL_RETURN_IF_ERROR(writer_.write(std::span(bytes_.data(), static_cast<size_t>(count) * row_size)));
      KL_RETURN_IF_ERROR(advance(source.stored_bytes() * static_cast<uint64_t>(count) / static_cast<uint64_t>(rows)));
    }
    return {};
  }

  Squares encode_row(const TensorJob& job, const TensorView& source, int64_t first_row, int64_t row,
                     std::vector<float>& values, std::vector<float>& decoded, std::byte* out) {
    const auto columns = static_cast<int64_t>(values.size());
    const int64_t from = job.row_order.empty() ? row : job.row_order[static_cast<size_t>(row)];
    if (keeps_blocks(job, source)) {
      std::vector<std::byte> scratch;
      std::memcpy(out, source.row(from, scratch), row_bytes(source.dtype, static_cast<uint64_t>(columns)));
      return {};
    }
    decode_row(source, from, values);
    bool finite = true;
    for (float& value : values) {
      value = stepped(job.values, value);
      finite = finite && std::isfinite(value);
    }
    if (!finite) {
      not_finite_.store(row);
      std::fill(values.begin(), values.end(), 0.0f);
    }
    const float* importance = nullptr;
    if (!job.importance.empty()) {
      const auto sets = static_cast<int64_t>(job.importance.size()) / columns;
      const int64_t rows_of_set = rows_taken(job, source) * std::ssize(job.sources) / sets;
      importance = job.importance.data() + (first_row + row) / rows_of_set * columns;
    }
    quantise_row(job.planned.type, values.data(), columns, importance, out);
    decode_row(job.planned.type, out, columns, decoded.data());
    Squares squares;
    for (size_t i = 0; i < values.size(); ++i) {
      const double weight = importance ? static_cast<double>(importance[i]) : 1.0;
      const double value = static_cast<double>(values[i]), missing = value - static_cast<double>(decoded[i]);
      squares.error += weight * missing * missing;
      squares.values += weight * value * value;
      squares.weight += weight;
    }
    return squares;
  }

  GgufWriter& writer_;
  const Checkpoint& checkpoint_;
  ThreadPool& pool_;
  const std::function<bool(double)>& progress_;
  uint64_t total_, done_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<Squares> row_squares_;
  Squares squares_;  // of the tensor so far
  std::atomic<int64_t> not_finite_{-1};
};

}  // namespace

Result<StreamReport> write_gguf(const std::string& path, const GgufKeys& keys, const Checkpoint& checkpoint,
                                std::span<const TensorJob> jobs, ThreadPool& pool,
                                const std::function<bool(double)>& progress) {
  StreamReport report;
  std::vector<PlannedTensor> planned;
  for (const TensorJob& job : jobs) {
    KL_CHECK(!job.sources.empty(), "a tensor without a source");
    planned.push_back(job.planned);
    for (const TensorView& source : job.sources) report.source_bytes += source.stored_bytes();
  }
  KL_TRY(GgufWriter writer, GgufWriter::create(path, keys, planned));
  Stream stream(writer, checkpoint, pool, progress, report.source_bytes);
  for (const TensorJob& job : jobs) {
    KL_TRY(TensorReport tensor, stream.send(job));
    report.tensors.push_back(std::move(tensor));
  }
  KL_RETURN_IF_ERROR(check_intact(checkpoint));
  KL_RETURN_IF_ERROR(writer.finish());
  report.file_bytes = writer.file_bytes();
  return report;
}

}  // namespace kinglet::convert
