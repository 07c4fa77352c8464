#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace kinglet {
namespace {

Result<int> parse(int value) {
  if (value < 0) return Error{ErrorCode::kInvalid, "expected 0 or more"};
  return value;
}
Status check(int value) {
  KL_TRY(const int parsed, parse(value));
  if (parsed > 9) return Error{ErrorCode::kUnsupported, "too large"};
  return {};
}
Result<int> twice(int value) {
  KL_RETURN_IF_ERROR(check(value));
  KL_TRY(const int parsed, parse(value));
  return 2 * parsed;
}

TEST(Result, CarriesValuesAndErrorsThrough) {
  EXPECT_EQ(*twice(4), 8);
  EXPECT_EQ(twice(-1).error().message, "expected 0 or more");
  EXPECT_EQ(twice(10).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(twice(-1).error().with_context("a.gguf").message, "a.gguf: expected 0 or more");
}

TEST(Result, HoldsTypesThatOnlyMove) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 7);
}

TEST(ResultDeathTest, MisuseEndsTheProcess) {
  EXPECT_DEATH((void)parse(-1).value(), "failed Result");
  EXPECT_DEATH((void)parse(1).error(), "successful Result");
}

}  // namespace
}  // namespace kinglet
