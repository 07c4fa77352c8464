// The stored parts of one quantised matrix of a Hugging Face folder, checked as they are taken. Internal to formats/.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/checkpoint.h"
#include "formats/quant_config.h"
#include "formats/quant_sources.h"

namespace kinglet {

// A quantised matrix as one tensor.
struct QuantMatrix {
  TensorView view;  // without its source's address, which is set where the source comes to rest
  std::unique_ptr<RowSource> source;
  std::vector<const TensorView*> parts;  // tensors that it stands for
};

// A stack of matrices; `matrices` is 1 for two dimensions.
struct StackShape {
  int64_t matrices, rows, columns;
};

class QuantParts {
 public:
  // `main` is the tensor with the weights, `module` what the names of its companions start with.
  QuantParts(const Checkpoint& checkpoint, const QuantConfig& config, const TensorView& main, std::string module);

  const TensorView& main() const { return main_; }
  const QuantConfig& config() const { return config_; }
  const std::string& module() const { return module_; }

  const TensorView* find(std::string_view suffix);          // nullptr where absent
  Result<const TensorView*> need(std::string_view suffix);  // an error where absent

  Error invalid(const TensorView& tensor, const std::string& what) const;
  Error unsupported(const TensorView& tensor, const std::string& what) const;
  Status expect_type(const TensorView& tensor, std::initializer_list<DType> types) const;
  Status expect_shape(const TensorView& tensor, const std::vector<int64_t>& shape) const;
  // At least two dimensions, none of them 0.
  Result<StackShape> stack_shape(const TensorView& tensor) const;
  Result<StackShape> matrix_shape(const TensorView& tensor) const;  // two dimensions
  // Scales with one of the tilings that the config names, or one for a row, or one for all.
  Result<ScaleGrid> grid(const TensorView& scales, const StackShape& shape) const;

  // The parts as one tensor of this shape; several matrices make a third dimension.
  QuantMatrix finish(std::string name, DType dtype, const StackShape& shape, std::unique_ptr<RowSource> source);

 private:
  const Checkpoint& checkpoint_;
  const QuantConfig& config_;
  const TensorView& main_;
  std::string module_;
  std::vector<const TensorView*> used_;
};

// What the schemes make of their parts. `name` is the name of the matrix.
Result<QuantMatrix> gptq_matrix(QuantParts& parts, std::string name);
Result<QuantMatrix> awq_matrix(QuantParts& parts, std::string name);
Result<QuantMatrix> packed_int_matrix(QuantParts& parts, std::string name);  // compressed-tensors
Result<QuantMatrix> int8_matrix(QuantParts& parts, std::string name);
Result<QuantMatrix> fp8_matrix(QuantParts& parts, const TensorView& scales, std::string name);
Result<QuantMatrix> mxfp4_matrix(QuantParts& parts, const TensorView& scales, std::string name);
Result<QuantMatrix> nvfp4_matrix(QuantParts& parts, std::string name);
Result<QuantMatrix> nf4_matrix(QuantParts& parts, std::string name);

}  // namespace kinglet
