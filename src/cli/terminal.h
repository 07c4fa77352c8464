// The terminal, or the lack of one: colours, width, progress bars, interrupts, output that notices a closed pipe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"

namespace kinglet::cli {

bool stdout_is_terminal();
bool stderr_is_terminal();
bool stdin_is_terminal();
// Escape codes for `what` on this stream, or nothing: not a terminal, NO_COLOR set, or TERM=dumb.
enum class Style { kPlain, kDim, kBold, kRed, kCyan };
std::string_view style_code(Style style, bool on_stderr);
int terminal_width();  // columns of stderr's or stdout's terminal, 80 where unknown, at least 10

// Writes to standard output, all of it. False when nobody reads any more (a closed pipe) or the disk is full:
// output_failure() knows.
bool write_out(std::string_view text);
// The errno of the first write_out() that failed, 0 when none did.
int output_failure();
// A file or stream that cannot be written, by errno.
Error cannot_write(const std::string& name, int code);
// Writes to standard error. Where that fails there is no one to tell.
void write_error(std::string_view text);
// Standard streams that whoever started us closed are opened, so that reads and writes fail as before, but no file can
// come to have their numbers.
void occupy_standard_streams();
// A line to standard error for people ("note: …"); dropped under --quiet.
void note(const std::string& text);
void set_quiet(bool quiet);
bool is_quiet();

// Ctrl-C and SIGTERM set flags instead of ending the process, from the first call on. A third one that nobody has
// cleared ends it all the same.
void catch_interrupts();
bool interrupted();  // Ctrl-C since the last clear_interrupt()
bool terminated();   // SIGTERM
void clear_interrupt();
int signals_caught();  // of both kinds, so far
// While it lives they end the process at once: for work that asks no flag and would leave nothing half done.
class EndOnSignal {
 public:
  EndOnSignal();
  ~EndOnSignal();
  EndOnSignal(const EndOnSignal&) = delete;
  EndOnSignal& operator=(const EndOnSignal&) = delete;
};

// A flag that Ctrl-C and SIGTERM set while this lives, for work that asks a flag.
class CancelOnInterrupt {
 public:
  // With `wake_reads`, blocking reads of the thread that creates this end with EINTR, even where the signal came after
  // the thread last asked and before it began to read.
  explicit CancelOnInterrupt(bool wake_reads = false);
  ~CancelOnInterrupt();
  const std::atomic<bool>* flag() const { return &flag_; }

 private:
  std::atomic<bool> flag_{false}, done_{false};
  std::thread watcher_;
};

// A bar on standard error, drawn only on a terminal, at most ten times a second, first after 300 ms. Otherwise, and
// under --quiet, silent. It needs no escape codes: spaces wipe out what was there.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();  // clears the line
  // Where the line is too narrow the last detail stays longest, then the share, the label, the other details.
  void update(double fraction, const std::vector<std::string>& details = {});
  void clear();

 private:
  std::string label_;
  std::chrono::steady_clock::time_point start_, drawn_at_{};
  int drawn_ = 0;  // columns of the line on the screen
};

std::string human_bytes(uint64_t bytes);     // "92.9 MB"
std::string human_duration(double seconds);  // "1m 20s"
// Columns a UTF-8 text takes on a terminal (wide characters two, combining marks none), by the C library's tables.
int display_width(std::string_view text);

}  // namespace kinglet::cli
