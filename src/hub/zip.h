// Reads one member of a zip archive (a wheel). Bounded and checked; knows stored and deflated members, neither zip64
// nor encryption. Not a general unpacker. Internal to hub/.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kinglet::hub {

// Hands the unpacked bytes of `member` to `sink` in order. They are exactly `expected_bytes` long and match the
// archive's CRC-32, or an error follows (kInvalid; kNotFound without such a member; what `sink` returned).
Status extract_zip_member(const std::string& archive, const std::string& member, uint64_t expected_bytes,
                          const std::function<Status(std::string_view)>& sink);

}  // namespace kinglet::hub
