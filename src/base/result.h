// Result<T>: a value or an Error, for whatever a user, a file or a peer can cause.
// Not for our own bugs (KL_CHECK, check.h) and not for control flow inside one function.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace kinglet {

// What kind of thing went wrong; the command line turns it into an exit code, the server into an HTTP status.
enum class ErrorCode {
  kInvalid,      // malformed input: a file, a flag, a request
  kNotFound,     // a file, model, tensor or key that does not exist
  kUnsupported,  // well-formed, but something Kinglet cannot do
  kResource,     // memory, disk or another budget is exhausted
  kIo,           // the operating system refused
  kNetwork,      // a peer refused or went away
  kCancelled,    // the caller gave up
};

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  // A sentence a user can act on: names the file and the field, what was found, what was expected.
  std::string message;

  // The same error with "context: " in front, for callers that know more (the file's name, say).
  Error with_context(const std::string& context) const { return {code, context + ": " + message}; }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    KL_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(state_);
  }
  const T& value() const& {
    KL_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(state_);
  }
  T&& value() && {
    KL_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    KL_CHECK(!ok(), "error() of a successful Result");
    return std::get<1>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    KL_CHECK(!ok(), "error() of a successful Result");
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

#define KL_CONCAT_INNER(a, b) a##b
#define KL_CONCAT(a, b) KL_CONCAT_INNER(a, b)

// KL_TRY(auto x, f()); -- x becomes the value of f(), or the enclosing function returns f()'s error.
#define KL_TRY(declaration, expression) KL_TRY_IMPL(KL_CONCAT(kl_result_, __LINE__), declaration, expression)
#define KL_TRY_IMPL(name, declaration, expression) \
  auto name = (expression);                        \
  if (!name.ok()) return name.error();             \
  declaration = std::move(name).value()

// KL_RETURN_IF_ERROR(f()); -- the same for a Status.
#define KL_RETURN_IF_ERROR(expression)             \
  do {                                             \
    auto kl_status = (expression);                 \
    if (!kl_status.ok()) return kl_status.error(); \
  } while (false)

}  // namespace kinglet
