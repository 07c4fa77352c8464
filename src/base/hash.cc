#include "base/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

namespace kinglet {
namespace {

// Feeds a file to `sink` piece by piece. Plain reads, not a map: a file that shrinks meanwhile must not raise SIGBUS.
Status read_pieces(const std::string& path, const std::function<void(std::span<const std::byte>)>& sink) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) {
    const int number = errno;
    return Error{number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                 path + ": cannot be opened: " + std::strerror(number)};
  }
  std::vector<std::byte> buffer(size_t{1} << 20);
  while (true) {
    const size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get());
    sink(std::span(buffer.data(), got));
    if (got == buffer.size()) continue;
    if (std::ferror(file.get())) return Error{ErrorCode::kIo, path + ": cannot be read: " + std::strerror(errno)};
    return {};
  }
}

std::string to_hex(std::span<const unsigned char> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

std::string Hash128::hex() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH128_hash_t{low, high});
  return to_hex(canonical.digest);
}

Hash128 xxh3_128(std::span<const std::byte> bytes, uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed);
  return {hash.high64, hash.low64};
}

Result<Hash128> xxh3_128_file(const std::string& path) {
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  KL_CHECK(state && XXH3_128bits_reset(state.get()) == XXH_OK, "xxhash cannot start");
  KL_RETURN_IF_ERROR(read_pieces(
      path, [&](std::span<const std::byte> piece) { XXH3_128bits_update(state.get(), piece.data(), piece.size()); }));
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return Hash128{hash.high64, hash.low64};
}

struct Digest::State {
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

Digest::Digest(Kind kind) : state_(std::make_unique<State>()) {
  const EVP_MD* method = kind == Kind::kSha256 ? EVP_sha256() : EVP_sha1();
  KL_CHECK(state_->context && EVP_DigestInit_ex(state_->context.get(), method, nullptr) == 1, "OpenSSL cannot hash");
}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> bytes) {
  KL_CHECK(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1, "OpenSSL cannot hash");
}

void Digest::update(std::string_view text) {
  update(as_bytes(text));
}

std::string Digest::finish_hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  KL_CHECK(EVP_DigestFinal_ex(state_->context.get(), digest, &size) == 1, "OpenSSL cannot hash");
  return to_hex(std::span(digest, size));
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Digest digest;
  digest.update(bytes);
  return digest.finish_hex();
}

std::string sha256_hex(std::string_view text) {
  return sha256_hex(as_bytes(text));
}

Result<std::string> sha256_file(const std::string& path) {
  Digest digest;
  KL_RETURN_IF_ERROR(read_pieces(path, [&](std::span<const std::byte> piece) { digest.update(piece); }));
  return digest.finish_hex();
}

}  // namespace kinglet
