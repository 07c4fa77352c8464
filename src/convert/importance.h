// Importance of matrix columns: how large the activations are that meet them, measured over a text. Kept in llama.cpp's
// importance-matrix files (GGUF of general.type "imatrix": for each matrix sums of squares and counts), so that files
// of either program serve both. Not the measuring itself.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace kinglet::convert {

class Importance {
 public:
  // kInvalid for a file of another kind, or one whose entries make no sense.
  static Result<Importance> read(const std::string& path);

  // Mean squares of a matrix's inputs, one set of columns for each of its parts (experts). Empty where the text never
  // met the matrix.
  std::span<const float> find(const std::string& tensor) const;
  size_t size() const { return means_.size(); }
  const std::string& source() const { return source_; }  // the file

 private:
  std::string source_;
  std::map<std::string, std::vector<float>, std::less<>> means_;
};

// What was measured of one matrix: sums of squares, `parts` sets of columns, and how many inputs each part had.
struct MeasuredInputs {
  std::vector<double> sums;
  std::vector<int64_t> counts;
};

// Writes a file that Importance::read and llama.cpp read. `chunk_size`: tokens of a window, `source`: the text's name.
Status write_importance(const std::string& path, const std::map<std::string, MeasuredInputs>& measured,
                        int64_t chunk_size, const std::string& source);

}  // namespace kinglet::convert
