#include "hub/test_support.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace kinglet::hub_test {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "kinglet-hub-XXXXXX").string();
  const char* made = ::mkdtemp(pattern.data());
  path_ = made == nullptr ? "" : made;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

ScopedVariable::ScopedVariable(const char* name, const std::string& value) : name_(name) {
  if (const char* before = ::getenv(name)) {
    before_ = before;
    was_set_ = true;
  }
  if (value.empty()) {
    ::unsetenv(name);
  } else {
    ::setenv(name, value.c_str(), 1);
  }
}

ScopedVariable::~ScopedVariable() {
  if (was_set_) {
    ::setenv(name_.c_str(), before_.c_str(), 1);
  } else {
    ::unsetenv(name_.c_str());
  }
}

void write_file(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string random_bytes(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& c : bytes) c = static_cast<char>(random() & 0xff);
  return bytes;
}

std::map<std::string, std::string> read_tree(const std::string& folder) {
  std::map<std::string, std::string> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder).string()] = read_file(entry.path().string());
  }
  return files;
}

FakeHub::FakeHub() {
  const std::string script = std::string(KINGLET_SOURCE_DIR) + "/tests/hub/fake_hub.py";
  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) return;
  child_ = ::fork();
  if (child_ == 0) {
    ::dup2(input[0], 0);
    ::dup2(output[1], 1);
    ::execlp("python3", "python3", script.c_str(), folder_.path().c_str(), nullptr);
    ::_exit(127);
  }
  ::close(input[0]);
  ::close(output[1]);
  stdin_ = input[1];
  FILE* lines = ::fdopen(output[0], "r");
  char hub[16] = "";
  char storage[16] = "";
  if (lines != nullptr && ::fscanf(lines, "%15s %15s", hub, storage) == 2) {
    hub_port_ = hub;
    storage_port_ = storage;
  }
  if (lines != nullptr) ::fclose(lines);
  EXPECT_FALSE(storage_port_.empty()) << "the fake hub did not start: " << script;
}

FakeHub::~FakeHub() {
  if (stdin_ >= 0) ::close(stdin_);
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
}

void FakeHub::reset() {
  fs::remove_all(folder_.path() + "/repos");
  forget_requests();
  set_scenario("{}");
}

void FakeHub::add_file(const std::string& repo, const std::string& path, const std::string& contents) {
  write_file(folder_.path() + "/repos/" + repo + "/" + path, contents);
}

void FakeHub::set_scenario(const std::string& json) {
  const std::string path = folder_.path() + "/scenario.json";
  // The number makes the server count its rules anew.
  write_file(path + ".new", "{\"epoch\": " + std::to_string(++epoch_) + (json == "{}" ? "" : ", ") + json.substr(1));
  fs::rename(path + ".new", path);
}

std::vector<std::string> FakeHub::requests(const std::vector<std::string>& words) const {
  std::vector<std::string> found;
  std::istringstream log(read_file(folder_.path() + "/requests.log"));
  for (std::string line; std::getline(log, line);) {
    bool all = true;
    for (const std::string& word : words) all = all && line.find(word) != std::string::npos;
    if (all) found.push_back(line);
  }
  return found;
}

void FakeHub::forget_requests() {
  fs::remove(folder_.path() + "/requests.log");
}

PullOptions FakeHub::options() const {
  PullOptions options;
  options.endpoint = url();
  options.connections = 4;
  options.piece_bytes = 64 * 1024;
  options.backoff_ms = 1;
  options.stall_s = 2;
  return options;
}

FakeHub& fresh_hub() {
  static FakeHub hub;
  hub.reset();
  return hub;
}

ModelReference remote(const std::string& text) {
  auto reference = parse_remote_reference(text);
  EXPECT_TRUE(reference.ok()) << (reference.ok() ? "" : reference.error().message);
  return reference.ok() ? *reference : ModelReference{};
}

}  // namespace kinglet::hub_test
