#include "formats/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <functional>
#include <system_error>

#include "base/memory.h"
#include "base/quote.h"
#include "formats/checkpoint_parts.h"
#include "formats/gguf.h"
#include "formats/hf_folder.h"
#include "formats/intact.h"

namespace kinglet {

std::optional<int64_t> shape_elements(const std::vector<int64_t>& shape) {
  // Zeros count last: any order of multiplication must stay within int64.
  int64_t product = 1;
  bool empty = false;
  for (int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, dimension, &product)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : product;
}

std::optional<uint64_t> tensor_bytes(DType dtype, int64_t elements) {
  const DTypeInfo& info = dtype_info(dtype);
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / info.block_values, int64_t{info.block_bytes}, &bytes)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Status index_tensors(Checkpoint& checkpoint) {
  checkpoint.index.reserve(checkpoint.tensors.size());
  for (size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    const TensorView& tensor = checkpoint.tensors[i];
    if (!checkpoint.index.emplace(tensor.name, i).second) {
      return Error{ErrorCode::kInvalid,
                   checkpoint.path + ": tensor " + quote(tensor.name) + ": expected once, found in two files"};
    }
    checkpoint.total_bytes += tensor.stored_bytes();
  }
  return {};
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto found = index.find(name);
  return found == index.end() ? nullptr : &tensors[found->second];
}

void Checkpoint::release(std::span<const std::byte> data) const {
  const std::less_equal<const std::byte*> before;
  for (const auto& file : files) {
    const std::span<const std::byte> all = file->bytes();
    if (before(all.data(), data.data()) && before(data.data() + data.size(), all.data() + all.size()))
      file->release(data);
  }
}

Result<std::shared_ptr<const Checkpoint>> open_checkpoint(const std::string& path, const OpenOptions& options) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Error{ErrorCode::kInvalid, "expected the name of a model file or folder, found " + quote(path)};
  }
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return Error{ErrorCode::kNotFound, path + ": no such file or folder"};
  }
  if (error) return Error{ErrorCode::kIo, path + ": cannot be opened: " + error.message()};
  const bool folder = std::filesystem::is_directory(status);
  if (!folder && path.ends_with(".safetensors")) {
    return Error{ErrorCode::kInvalid, path +
                                          ": expected a GGUF file or a folder; for safetensors, name the folder that "
                                          "holds config.json"};
  }
  KL_TRY(std::shared_ptr<const Checkpoint> opened, folder ? open_hf_folder(path, options) : open_gguf(path, options));
  KL_RETURN_IF_ERROR(check_intact(*opened));
  return opened;
}

}  // namespace kinglet
