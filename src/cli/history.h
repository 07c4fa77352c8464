// What was typed in earlier conversations, for the arrow keys. A file of the configuration folder that only its owner
// can read; without one, or where it can't be used, a conversation remembers its own lines alone.
#pragma once

#include <string>

namespace kinglet::cli {

class History {
 public:
  // Reads FOLDER/history; `folder` may be empty.
  explicit History(const std::string& folder);
  // Adds a line and writes the file anew. Says once where that fails.
  void add(const std::string& line);

 private:
  bool write() const;
  std::string path_;  // empty: not kept
};

}  // namespace kinglet::cli
