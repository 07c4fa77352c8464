// What the tests of hub/ share: temporary folders, environment changes that undo themselves, and the fake hub
// (tests/hub/fake_hub.py) as a child process. Only for *_test.cc.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "hub/model_reference.h"
#include "hub/pull.h"
#include "hub/store.h"

namespace kinglet::hub_test {

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Sets (or, with an empty value, removes) an environment variable for its lifetime.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value);
  ~ScopedVariable();
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  std::string name_;
  std::string before_;
  bool was_set_ = false;
};

void write_file(const std::string& path, const std::string& text);  // makes the folders
std::string read_file(const std::string& path);
std::string random_bytes(size_t count, unsigned seed);
// Every regular file below a folder: relative path -> contents.
std::map<std::string, std::string> read_tree(const std::string& folder);

class FakeHub {
 public:
  FakeHub();
  ~FakeHub();
  FakeHub(const FakeHub&) = delete;
  FakeHub& operator=(const FakeHub&) = delete;

  void reset();  // no repositories, no scenario, no log
  void add_file(const std::string& repo, const std::string& path, const std::string& contents);
  void set_scenario(const std::string& json);  // an object, see the script
  std::string url() const { return "http://127.0.0.1:" + hub_port_; }
  const std::string& storage_port() const { return storage_port_; }
  // Lines of the request log that contain every one of `words`.
  std::vector<std::string> requests(const std::vector<std::string>& words = {}) const;
  void forget_requests();
  // Options that suit loopback: short waits, small pieces, no cache.
  PullOptions options() const;

 private:
  TemporaryFolder folder_;
  int epoch_ = 0;
  pid_t child_ = -1;
  int stdin_ = -1;
  std::string hub_port_;
  std::string storage_port_;
};

// One fake hub for the whole program (starting one costs more than most tests), reset.
FakeHub& fresh_hub();

ModelReference remote(const std::string& text);  // parse_remote_reference, which must succeed

}  // namespace kinglet::hub_test
