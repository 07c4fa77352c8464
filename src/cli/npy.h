// Writing NumPy's .npy files: float32, two dimensions, row by row, complete or not at all.
#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "base/result.h"

namespace kinglet::cli {

// Writes beside PATH and renames at finish(); an unfinished file is removed. "-" is standard output.
class NpyWriter {
 public:
  static Result<NpyWriter> create(const std::string& path, int64_t rows, int64_t columns);
  NpyWriter(NpyWriter&& other) noexcept;
  NpyWriter& operator=(NpyWriter&&) = delete;
  ~NpyWriter();

  Status write_row(std::span<const float> row);
  Status finish();

 private:
  NpyWriter() = default;
  Status put(const char* data, size_t size);
  Error failed() const;
  std::string path_, temporary_;
  FILE* file_ = nullptr;  // null: standard output
};

}  // namespace kinglet::cli
