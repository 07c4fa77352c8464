#include "hub/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "hub/files.h"

extern char** environ;

namespace kinglet::hub {
namespace {

constexpr size_t kKeptOutput = 32 * 1024;
constexpr int kTickMs = 100;

std::vector<std::string> merged_environment(const ProcessRequest& request) {
  std::vector<std::string> merged;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const bool replaced = std::ranges::any_of(request.environment,
                                              [&](const auto& entry) { return text.starts_with(entry.first + "="); });
    if (!replaced) merged.push_back(text);
  }
  for (const auto& [name, value] : request.environment) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The child, between fork and exec: only async-signal-safe calls. Reports errno through `report` when exec fails.
[[noreturn]] void become(char* const* arguments, char* const* environment, int output, int input, int report,
                         pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGXFSZ}) ::signal(number, SIG_DFL);
  if (::dup2(input, 0) >= 0 && ::dup2(output, 1) >= 0 && ::dup2(output, 2) >= 0) {
    ::execve(arguments[0], arguments, environment);
  }
  const int error_number = errno;
  (void)!::write(report, &error_number, sizeof(error_number));
  ::_exit(127);
}

// Reads what is there; false at the end.
bool drain(int fd, std::string& output) {
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n > 0) {
      output.append(buffer.data(), static_cast<size_t>(n));
      if (output.size() > 2 * kKeptOutput) output.erase(0, output.size() - kKeptOutput);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    return n < 0 && errno == EAGAIN;
  }
}

int wait_blocking(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

void end_group(pid_t child) {
  ::kill(-child, SIGTERM);
  for (int i = 0; i < 40; ++i) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      ::kill(-child, SIGKILL);  // what it left behind
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ::kill(-child, SIGKILL);
  wait_blocking(child);
}

Result<ProcessResult> supervise(const ProcessRequest& request, pid_t child, int output_fd) {
  ProcessResult result;
  bool open = true;
  while (true) {
    if (is_cancelled(request.cancel)) {
      end_group(child);
      return cancelled_error();
    }
    pollfd waiting{output_fd, POLLIN, 0};
    if (open) {
      ::poll(&waiting, 1, kTickMs);
      if (waiting.revents != 0) open = drain(output_fd, result.output);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (request.tick) request.tick();
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended != child) continue;
    drain(output_fd, result.output);
    if (result.output.size() > kKeptOutput) result.output.erase(0, result.output.size() - kKeptOutput);
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
  }
}

}  // namespace

Result<ProcessResult> run_process(const ProcessRequest& request) {
  std::vector<std::string> arguments = request.arguments;
  std::vector<std::string> variables = merged_environment(request);
  const std::vector<char*> argument_pointers = pointers_to(arguments);
  const std::vector<char*> variable_pointers = pointers_to(variables);
  const std::string& program = request.arguments.front();
  int output[2];
  int report[2];
  if (::pipe2(output, O_CLOEXEC) != 0) return io_error("cannot run", program, errno);
  const FileHandle output_read(output[0]);
  FileHandle output_write(output[1]);
  if (::pipe2(report, O_CLOEXEC) != 0) return io_error("cannot run", program, errno);
  const FileHandle report_read(report[0]);
  FileHandle report_write(report[1]);
  KL_TRY(const FileHandle input, open_file("/dev/null", O_RDONLY));
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return io_error("cannot run", program, errno);
  if (child == 0) {
    become(argument_pointers.data(), variable_pointers.data(), output[1], input.get(), report[1], parent);
  }
  ::setpgid(child, child);
  output_write.reset();
  report_write.reset();
  int exec_error = 0;
  ssize_t n = 0;
  do {
    n = ::read(report_read.get(), &exec_error, sizeof(exec_error));
  } while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(sizeof(exec_error))) {
    wait_blocking(child);
    return io_error("cannot run", program, exec_error);
  }
  ::fcntl(output_read.get(), F_SETFL, O_NONBLOCK);
  return supervise(request, child, output_read.get());
}

std::vector<std::string> find_programs(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  std::vector<std::string> found;
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string folder = rest.substr(0, colon);
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
    // An empty or relative entry means the current folder: nothing is run from there.
    if (!folder.starts_with('/')) continue;
    const std::string program = folder + "/" + name;
    if (is_regular_file(program) && ::access(program.c_str(), X_OK) == 0) found.push_back(program);
  }
  return found;
}

}  // namespace kinglet::hub
