// Hashes of bytes and files: XXH3-128 to recognise contents quickly (no defence against an adversary), SHA-256 to
// verify downloads, SHA-1 because git object ids are made of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kinglet {

struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
  std::string hex() const;  // 32 lower-case digits, high half first (xxhsum's canonical form)
};

Hash128 xxh3_128(std::span<const std::byte> bytes, uint64_t seed = 0);
Result<Hash128> xxh3_128_file(const std::string& path);

// A cryptographic digest built up piece by piece.
class Digest {
 public:
  enum class Kind { kSha256, kSha1 };
  explicit Digest(Kind kind = Kind::kSha256);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  std::string finish_hex();  // lower-case; the object is spent afterwards

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);
Result<std::string> sha256_file(const std::string& path);  // errors: kNotFound, kIo

}  // namespace kinglet
