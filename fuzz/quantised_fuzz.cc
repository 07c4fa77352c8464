// Quantised folders of any content: the text of a config.json, a zero byte, a safetensors file. Putting the matrices
// together must give an error or rows that can be decoded.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "formats/checkpoint_parts.h"
#include "formats/config_json.h"
#include "formats/decode.h"
#include "formats/quantised.h"
#include "formats/safetensors.h"

namespace {

// More columns than the bytes of a part hold would be a bug; more than this only takes time.
constexpr int64_t kMostColumns = 1 << 20;

kinglet::Status assemble(std::string_view config, std::span<const std::byte> tensors, kinglet::Checkpoint& checkpoint) {
  KL_TRY(checkpoint.metadata, kinglet::flatten_config(config, "config.json"));
  KL_TRY(checkpoint.tensors, kinglet::parse_safetensors(tensors, "fuzz.safetensors"));
  KL_RETURN_IF_ERROR(kinglet::index_tensors(checkpoint));
  return kinglet::assemble_quantised(checkpoint);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.find('\0');
  if (end == std::string_view::npos) return 0;
  kinglet::Checkpoint checkpoint;
  const auto done = assemble(text.substr(0, end), std::as_bytes(std::span(data + end + 1, size - end - 1)), checkpoint);
  if (!done.ok()) {
    KL_CHECK(!done.error().message.empty(), "an error without a message");
    return 0;
  }
  for (const kinglet::TensorView& tensor : checkpoint.tensors) {
    if (tensor.source == nullptr || tensor.columns() > kMostColumns) continue;
    std::vector<float> row(static_cast<size_t>(tensor.columns()));
    for (const int64_t r : {int64_t{0}, tensor.rows() / 2, tensor.rows() - 1}) kinglet::decode_row(tensor, r, row);
  }
  return 0;
}
