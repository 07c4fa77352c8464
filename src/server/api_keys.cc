#include "server/api_keys.h"

#include <openssl/crypto.h>

#include <sstream>

#include "base/hash.h"

namespace kinglet::server {

Result<ApiKeys> ApiKeys::parse(std::string_view text, const std::string& source) {
  ApiKeys keys;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line);
    Key key;
    std::string more;
    if (!(words >> key.name) || key.name.front() == '#') continue;
    words >> key.hash;
    const bool hex = key.hash.size() == 64 && key.hash.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hex || words >> more) {
      // The line is not shown: somebody may have put a key into it.
      return Error{ErrorCode::kInvalid, source + ", line " + std::to_string(number) +
                                            ": expected NAME and the key's SHA-256 in 64 hexadecimal digits "
                                            "(printf %s KEY | sha256sum)"};
    }
    keys.keys_.push_back(std::move(key));
  }
  if (keys.empty()) return Error{ErrorCode::kInvalid, source + ": there is no key in it"};
  return keys;
}

std::optional<std::string> ApiKeys::find(std::string_view key) const {
  const std::string hash = sha256_hex(key);
  const Key* found = nullptr;
  for (const Key& candidate : keys_) {
    if (CRYPTO_memcmp(candidate.hash.data(), hash.data(), hash.size()) == 0) found = &candidate;
  }
  return found ? std::optional(found->name) : std::nullopt;
}

}  // namespace kinglet::server
