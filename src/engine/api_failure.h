// Errors of the inside as failures of the public C++ API. Internal to this folder.
#pragma once

#include <utility>

#include "base/result.h"
#include "kinglet/kinglet.h"

namespace kinglet::api {

inline Failure failure_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalid:
      return {Failure::Kind::kInvalid, error.message};
    case ErrorCode::kNotFound:
      return {Failure::Kind::kNotFound, error.message};
    case ErrorCode::kUnsupported:
      return {Failure::Kind::kUnsupported, error.message};
    case ErrorCode::kResource:
      return {Failure::Kind::kResource, error.message};
    case ErrorCode::kIo:
      return {Failure::Kind::kIo, error.message};
    case ErrorCode::kNetwork:
      return {Failure::Kind::kNetwork, error.message};
    case ErrorCode::kCancelled:
      return {Failure::Kind::kCancelled, error.message};
  }
  return {Failure::Kind::kInvalid, error.message};
}

template <class T>
Outcome<T> outcome_of(Result<T> result) {
  if (!result.ok()) return failure_of(result.error());
  return std::move(result).value();
}

}  // namespace kinglet::api
