// KL_CHECK: ends the process on a broken invariant of our own code. Never for anything that a user, a file or a peer
// can cause: that is what Result<T> is for.
#pragma once

namespace kinglet {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* message);

}  // namespace kinglet

#define KL_CHECK(condition, message) \
  (static_cast<bool>(condition) ? (void)0 : ::kinglet::check_failed(__FILE__, __LINE__, #condition, message))
