#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>

namespace kinglet {
namespace {

spdlog::logger& logger() {
  // Never destroyed: threads may still log while the process ends.
  static spdlog::logger* const instance = [] {
    const char* no_color = std::getenv("NO_COLOR");
    const auto mode =
        no_color != nullptr && *no_color != '\0' ? spdlog::color_mode::never : spdlog::color_mode::automatic;
    auto* created = new spdlog::logger("kinglet", std::make_shared<spdlog::sinks::stderr_color_sink_mt>(mode));
    created->set_pattern("%^%l%$: %v");
    created->set_level(spdlog::level::warn);
    created->flush_on(spdlog::level::info);
    return created;
  }();
  return *instance;
}

}  // namespace

void set_log_level(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return logger().set_level(spdlog::level::info);
    case LogLevel::kWarn:
      return logger().set_level(spdlog::level::warn);
    case LogLevel::kError:
      return logger().set_level(spdlog::level::err);
    case LogLevel::kOff:
      return logger().set_level(spdlog::level::off);
  }
}

// The overloads that take one argument print it as it is: braces in a message are not a format string.
void log_info(const std::string& message) {
  logger().log(spdlog::level::info, message);
}
void log_warn(const std::string& message) {
  logger().log(spdlog::level::warn, message);
}
void log_error(const std::string& message) {
  logger().log(spdlog::level::err, message);
}

}  // namespace kinglet
