// The safetensors reader on any bytes: it must give an error or a file whose tensors can be decoded.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "formats/decode.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = kinglet::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz.safetensors");
  if (!parsed.ok()) {
    KL_CHECK(!parsed.error().message.empty(), "an error without a message");
    return 0;
  }
  for (const kinglet::TensorView& tensor : *parsed) {
    if (!kinglet::can_decode(tensor.dtype)) continue;
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    kinglet::decode_tensor(tensor, values);
  }
  return 0;
}
