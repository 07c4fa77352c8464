// Log lines to standard error, for people: what runs, what was refused, what looks wrong. Not for a command's output.
#pragma once

#include <string>

namespace kinglet {

enum class LogLevel { kInfo, kWarn, kError, kOff };

// Lines below `level` are dropped. The default is kWarn. Thread-safe, as are all functions here.
void set_log_level(LogLevel level);

void log_info(const std::string& message);
void log_warn(const std::string& message);
void log_error(const std::string& message);

}  // namespace kinglet
