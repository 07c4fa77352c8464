#include "base/log.h"

#include <gtest/gtest.h>

namespace kinglet {
namespace {

TEST(Log, LevelsAndBraces) {
  testing::internal::CaptureStderr();
  set_log_level(LogLevel::kInfo);
  log_info("isa {} avx2");
  set_log_level(LogLevel::kWarn);
  log_info("hidden");
  log_warn("shown");
  set_log_level(LogLevel::kOff);
  log_error("silenced");
  set_log_level(LogLevel::kWarn);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("info: isa {} avx2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("shown"), std::string::npos);
  EXPECT_EQ(text.find("hidden"), std::string::npos);
  EXPECT_EQ(text.find("silenced"), std::string::npos);
}

}  // namespace
}  // namespace kinglet
