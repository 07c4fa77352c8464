#include "formats/quantised.h"

#include <unordered_set>
#include <utility>

#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/quant_parts.h"

namespace kinglet {
namespace {

class Assembler {
 public:
  Assembler(Checkpoint& checkpoint, const QuantConfig& config) : checkpoint_(checkpoint), config_(config) {}

  Status run() {
    for (const TensorView& tensor : checkpoint_.tensors) KL_RETURN_IF_ERROR(look_at(tensor));
    if (matrices_.empty()) return {};
    std::unordered_set<const TensorView*> parts;
    for (const QuantMatrix& matrix : matrices_) parts.insert(matrix.parts.begin(), matrix.parts.end());
    std::vector<TensorView> tensors;
    for (TensorView& tensor : checkpoint_.tensors) {
      if (!parts.contains(&tensor)) tensors.push_back(std::move(tensor));
    }
    for (QuantMatrix& matrix : matrices_) {
      matrix.view.source = matrix.source.get();
      tensors.push_back(std::move(matrix.view));
      checkpoint_.sources.push_back(std::move(matrix.source));
    }
    checkpoint_.index.clear();
    checkpoint_.total_bytes = 0;
    checkpoint_.tensors = std::move(tensors);
    return index_tensors(checkpoint_);
  }

 private:
  Status add(Result<QuantMatrix> matrix) {
    if (!matrix.ok()) return matrix.error();
    matrices_.push_back(std::move(matrix).value());
    return {};
  }
  // Not used up: only looked for.
  const TensorView* find(const std::string& name) const { return checkpoint_.find(name); }

  // Adds the matrix whose weights lie in `tensor`, if it is such a part.
  Status look_at(const TensorView& tensor) {
    const std::string& name = tensor.name;
    const auto stem = [&](std::string_view suffix) { return name.substr(0, name.size() - suffix.size()); };
    if (name.ends_with(".qweight")) return words(tensor, stem(".qweight"));
    if (name.ends_with(".weight_packed")) return packed(tensor, stem(".weight_packed"));
    if (name.ends_with("_blocks") && find(stem("_blocks") + "_scales")) {
      QuantParts parts(checkpoint_, config_, tensor, stem("_blocks"));
      return add(mxfp4_matrix(parts, *parts.find("_scales"), stem("_blocks") + ".weight"));
    }
    if (tensor.dtype == DType::kF8_E4M3) return fp8(tensor);
    if (name.ends_with(".weight")) return bytes(tensor, stem(".weight"));
    return {};
  }

  Status words(const TensorView& tensor, const std::string& module) {
    QuantParts parts(checkpoint_, config_, tensor, module);
    if (config_.method == "gptq") return add(gptq_matrix(parts, module + ".weight"));
    if (config_.method == "awq") return add(awq_matrix(parts, module + ".weight"));
    return parts.unsupported(tensor, "expected a quantization_config with quant_method gptq or awq, found " +
                                         (config_.method.empty() ? "none" : quote(config_.method)));
  }

  Status packed(const TensorView& tensor, const std::string& module) {
    QuantParts parts(checkpoint_, config_, tensor, module);
    if (tensor.dtype != DType::kU8) {
      KL_RETURN_IF_ERROR(parts.expect_type(tensor, {DType::kI32, DType::kU8}));
      return add(packed_int_matrix(parts, module + ".weight"));
    }
    KL_TRY(const TensorView* scales, parts.need(".weight_scale"));
    if (scales->dtype == DType::kF8_E4M3) return add(nvfp4_matrix(parts, module + ".weight"));
    return add(mxfp4_matrix(parts, *scales, module + ".weight"));
  }

  // Scales stand beside "X.weight" under one of three names, and beside "X", a stack of experts, under one of two.
  Status fp8(const TensorView& tensor) {
    const std::string& name = tensor.name;
    if (name.ends_with("scale")) return {};  // of NVFP4
    const bool module = name.ends_with(".weight");
    const std::string stem = module ? name.substr(0, name.size() - 7) : name;
    QuantParts parts(checkpoint_, config_, tensor, stem);
    for (const char* suffix : {".weight_scale_inv", ".weight_scale", ".scale", "_scale_inv", "_scale"}) {
      if (module != (suffix[0] == '.')) continue;
      const TensorView* scales = parts.find(suffix);
      if (scales && parts.find(".pre_quant_scale")) {
        return parts.unsupported(tensor, "a pre_quant_scale of its inputs is not supported");
      }
      if (scales) return add(fp8_matrix(parts, *scales, name));
    }
    if (config_.method.empty() || tensor.shape.size() < 2) return {};  // an ordinary tensor of small floats
    return parts.need(module ? ".weight_scale_inv" : "_scale_inv").error();
  }

  // Bytes in "X.weight" mean what their companions say.
  Status bytes(const TensorView& tensor, const std::string& module) {
    const bool is_signed = tensor.dtype == DType::kI8;
    if (!is_signed && tensor.dtype != DType::kU8 && tensor.dtype != DType::kF8_E5M2) return {};
    QuantParts parts(checkpoint_, config_, tensor, module);
    const TensorView* scales = find(module + ".weight_scale");
    if (tensor.dtype == DType::kF8_E5M2) {
      return scales ? Status(parts.unsupported(tensor, "F8_E5M2 with scales is not supported; supported: F8_E4M3"))
                    : Status();
    }
    if (const TensorView* powers = parts.find(".scale")) return add(mxfp4_matrix(parts, *powers, tensor.name));
    if (is_signed && find(module + ".SCB")) {
      return parts.unsupported(tensor, "LLM.int8() of bitsandbytes is not supported; supported: nf4");
    }
    if (is_signed && scales) return add(int8_matrix(parts, tensor.name));
    if (find(tensor.name + ".quant_state.bitsandbytes__fp4")) {
      return parts.unsupported(tensor, "fp4 of bitsandbytes is not supported; supported: nf4");
    }
    if (find(tensor.name + ".absmax")) return add(nf4_matrix(parts, tensor.name));
    if (scales && scales->dtype == DType::kF8_E4M3) return add(nvfp4_matrix(parts, tensor.name));
    return {};
  }

  Checkpoint& checkpoint_;
  const QuantConfig& config_;
  std::vector<QuantMatrix> matrices_;
};

}  // namespace

Status assemble_quantised(Checkpoint& checkpoint) {
  KL_TRY(const QuantConfig config, read_quant_config(checkpoint.metadata));
  checkpoint.quantisation = config.description;
  return Assembler(checkpoint, config).run();
}

}  // namespace kinglet
