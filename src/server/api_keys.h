// ApiKeys: who may use the server. Only hashes of keys are kept, and looking one up takes as long for a wrong one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kinglet::server {

class ApiKeys {
 public:
  // Lines "NAME SHA256", the hash in 64 hexadecimal digits; empty lines and those that begin with # don't count.
  // `source` starts the message of an error.
  static Result<ApiKeys> parse(std::string_view text, const std::string& source);

  bool empty() const { return keys_.empty(); }
  // The name that the key belongs to.
  std::optional<std::string> find(std::string_view key) const;

 private:
  struct Key {
    std::string name, hash;
  };
  std::vector<Key> keys_;
};

}  // namespace kinglet::server
