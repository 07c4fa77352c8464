#include "cli/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <cwchar>

namespace kinglet::cli {
namespace {

std::atomic<int> g_interrupts{0}, g_terminations{0};
std::atomic<bool> g_quiet{false};
std::atomic<int> g_output_failure{0};
std::atomic<bool> g_end_at_once{false}, g_bar_drawn{false};
constexpr int kPatience = 3;

// Everything in here may be called in a signal handler.
[[noreturn]] void end_at_once(int signal) {
  constexpr std::string_view kWords = "\nerror: interrupted\n";
  const size_t skipped = g_bar_drawn.load(std::memory_order_relaxed) ? 0 : 1;
  [[maybe_unused]] const ssize_t told = ::write(STDERR_FILENO, kWords.data() + skipped, kWords.size() - skipped);
  ::_exit(128 + signal);
}

void on_signal(int signal) {
  if (g_end_at_once.load(std::memory_order_relaxed)) end_at_once(signal);
  std::atomic<int>& count = signal == SIGINT ? g_interrupts : g_terminations;
  if (count.fetch_add(1, std::memory_order_relaxed) + 1 < kPatience) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

bool colours_wanted() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return !(no_color && *no_color) && term && std::strcmp(term, "dumb") != 0;
}

// As much of a text as fits into some columns, whole characters only.
std::string cut_to_columns(std::string_view text, int columns) {
  size_t end = 0;
  while (end < text.size()) {
    size_t next = end + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0) == 0x80) next++;
    if (display_width(text.substr(0, next)) > columns) break;
    end = next;
  }
  return std::string(text.substr(0, end));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

std::string progress_line(const std::string& label, double fraction, std::vector<std::string> parts, int width) {
  constexpr int kSmallestBar = 8, kLargestBar = 40;
  parts.insert(parts.begin(), {label, fmt::format("{:.0f}%", fraction * 100.0)});
  std::vector<size_t> order;  // the most important first
  if (parts.size() > 2) order.push_back(parts.size() - 1);
  order.insert(order.end(), {1, 0});
  for (size_t i = parts.size(); i-- > 3;) order.push_back(i - 1);
  std::vector<bool> kept(parts.size());
  int used = 0;
  for (const size_t i : order) {
    if (used == 0) parts[i] = cut_to_columns(parts[i], width);
    const int needed = display_width(parts[i]) + (used == 0 ? 0 : 2);
    if (parts[i].empty() || used + needed > width) continue;
    kept[i] = true;
    used += needed;
  }
  std::string line;
  for (size_t i = 0; i < parts.size(); i++) {
    if (kept[i]) line += (line.empty() ? "" : "  ") + parts[i];
    const int room = width - used - 3;
    if (i != 0 || !kept[0] || room < kSmallestBar) continue;
    const int cells = std::min(room, kLargestBar), filled = static_cast<int>(fraction * cells);
    line += " [" + std::string(static_cast<size_t>(filled), '#') +
            std::string(static_cast<size_t>(cells - filled), '.') + "]";
  }
  return line;
}

}  // namespace

bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}
bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) == 1;
}
bool stdin_is_terminal() {
  return isatty(STDIN_FILENO) == 1;
}

std::string_view style_code(Style style, bool on_stderr) {
  if (!(on_stderr ? stderr_is_terminal() : stdout_is_terminal()) || !colours_wanted()) return "";
  switch (style) {
    case Style::kPlain:
      return "\x1b[0m";
    case Style::kDim:
      return "\x1b[2m";
    case Style::kBold:
      return "\x1b[1m";
    case Style::kRed:
      return "\x1b[31m";
    case Style::kCyan:
      return "\x1b[36m";
  }
  return "";
}

int terminal_width() {
  winsize size{};
  for (int fd : {STDERR_FILENO, STDOUT_FILENO})
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return std::max<int>(size.ws_col, 10);
  return 80;
}

bool write_out(std::string_view text) {
  if (write_all(STDOUT_FILENO, text)) return true;
  int none = 0;
  g_output_failure.compare_exchange_strong(none, errno);
  return false;
}

int output_failure() {
  return g_output_failure;
}

Error cannot_write(const std::string& name, int code) {
  const bool full = code == ENOSPC || code == EDQUOT;
  return {full ? ErrorCode::kResource : ErrorCode::kIo, name + ": cannot be written: " + std::strerror(code)};
}

void write_error(std::string_view text) {
  write_all(STDERR_FILENO, text);
}

void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
}

void set_quiet(bool quiet) {
  g_quiet = quiet;
}
bool is_quiet() {
  return g_quiet;
}

void note(const std::string& text) {
  if (g_quiet) return;
  write_error(fmt::format("{}note: {}{}\n", style_code(Style::kDim, true), text, style_code(Style::kPlain, true)));
}

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);  // no SA_RESTART: a blocked read returns
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = [](int) {};
  sigaction(SIGUSR1, &action, nullptr);  // only interrupts reads: CancelOnInterrupt
}
bool interrupted() {
  return g_interrupts.load(std::memory_order_relaxed) > 0;
}
bool terminated() {
  return g_terminations.load(std::memory_order_relaxed) > 0;
}
int signals_caught() {
  return g_interrupts.load(std::memory_order_relaxed) + g_terminations.load(std::memory_order_relaxed);
}
void clear_interrupt() {
  g_interrupts.store(0, std::memory_order_relaxed);
}

EndOnSignal::EndOnSignal() {
  g_end_at_once = true;
  // One that came before, and that nobody has asked about.
  if (interrupted() || terminated()) end_at_once(terminated() ? SIGTERM : SIGINT);
}
EndOnSignal::~EndOnSignal() {
  g_end_at_once = false;
}

CancelOnInterrupt::CancelOnInterrupt(bool wake_reads) {
  watcher_ = std::thread([this, wake_reads, thread = pthread_self()] {
    while (!done_) {
      if (interrupted() || terminated()) {
        flag_ = true;
        if (wake_reads) pthread_kill(thread, SIGUSR1);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
}
CancelOnInterrupt::~CancelOnInterrupt() {
  done_ = true;
  watcher_.join();
}

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), start_(std::chrono::steady_clock::now()) {}
ProgressBar::~ProgressBar() {
  clear();
}

void ProgressBar::update(double fraction, const std::vector<std::string>& details) {
  using namespace std::chrono_literals;
  if (g_quiet || !stderr_is_terminal()) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - start_ < 300ms || (drawn_ > 0 && now - drawn_at_ < 100ms)) return;
  const int width = terminal_width() - 1;
  if (drawn_ > width) clear();  // the terminal became narrower
  const std::string line = progress_line(label_, std::clamp(fraction, 0.0, 1.0), details, width);
  const int columns = display_width(line);
  write_error(fmt::format("\r{}{:{}}", line, "", std::max(drawn_ - columns, 0)));
  drawn_ = std::max(columns, 1);
  g_bar_drawn = true;
  drawn_at_ = now;
}

void ProgressBar::clear() {
  if (drawn_ == 0) return;
  write_error(fmt::format("\r{:{}}\r", "", std::min(drawn_, terminal_width() - 1)));
  drawn_ = 0;
  g_bar_drawn = false;
}

std::string human_bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000.0;
    unit++;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.{}f} {}", value, value < 9.95 ? 2 : 1, kUnits[unit]);
}

std::string human_duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}h {:02}m", whole / 3600, whole / 60 % 60);
}

int display_width(std::string_view text) {
  std::mbstate_t state{};
  int columns = 0;
  while (!text.empty()) {
    wchar_t wide = 0;
    const size_t used = std::mbrtowc(&wide, text.data(), text.size(), &state);
    if (used == 0 || used > text.size()) {  // NUL, incomplete or invalid: one column a byte
      state = {};
      columns++;
      text.remove_prefix(1);
      continue;
    }
    columns += std::max(wcwidth(wide), 0);
    text.remove_prefix(used);
  }
  return columns;
}

}  // namespace kinglet::cli
