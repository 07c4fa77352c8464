#include "base/output_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace kinglet {
namespace {

namespace fs = std::filesystem;

class OutputFile : public testing::Test {
 protected:
  OutputFile() {
    std::string pattern = (fs::temp_directory_path() / "kinglet-output-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~OutputFile() override { fs::remove_all(folder_); }

  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  std::string file(const std::string& name) const {
    std::ofstream(at(name)) << "text";
    return at(name);
  }
  static void refused(const std::string& path, const std::vector<std::string>& inputs, ErrorCode code,
                      const std::string& words) {
    const Status status = check_output_file(path, inputs);
    ASSERT_FALSE(status.ok()) << path;
    EXPECT_EQ(status.error().code, code);
    EXPECT_NE(status.error().message.find(words), std::string::npos) << status.error().message;
    EXPECT_TRUE(status.error().message.starts_with(path)) << status.error().message;
  }

  std::string folder_;
};

TEST_F(OutputFile, NewAndOlderFilesAreFine) {
  const std::vector<std::string> inputs{file("in"), at("not there")};
  EXPECT_TRUE(check_output_file(at("new"), inputs).ok());
  EXPECT_TRUE(check_output_file(file("older"), inputs).ok());
  EXPECT_TRUE(check_output_file(at("not there"), inputs).ok());
  fs::create_symlink(at("gone"), at("dangling"));
  EXPECT_TRUE(check_output_file(at("dangling"), inputs).ok());
}

TEST_F(OutputFile, AnInputUnderWhateverName) {
  const std::vector<std::string> inputs{file("first"), file("second")};
  fs::create_directory(at("sub"));
  fs::create_symlink(at("second"), at("sub/link"));
  fs::create_symlink(at("sub"), at("folder link"));
  fs::create_hard_link(at("second"), at("hard"));
  for (const char* name : {"second", "sub/../second", "./second", "sub/link", "folder link/link", "hard"})
    refused(at(name), inputs, ErrorCode::kInvalid, "files that are read");
  refused(at("hard"), inputs, ErrorCode::kInvalid, at("second"));
}

TEST_F(OutputFile, WhatARenameWouldHarm) {
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
  fs::create_symlink("/dev/null", at("device link"));
  for (const std::string& path : {at("pipe"), std::string("/dev/null"), at("device link")})
    refused(path, {}, ErrorCode::kIo, "device or a pipe");
  refused(folder_, {}, ErrorCode::kIo, "folder");
  EXPECT_EQ(check_output_file("").error().message, "the output file's name is empty");
}

TEST_F(OutputFile, FoldersThatTakeNoFiles) {
  refused(at("none/new"), {}, ErrorCode::kNotFound, "no folder " + at("none"));
  refused(at("none/"), {}, ErrorCode::kNotFound, "no folder " + at("none"));
  file("plain");
  refused(at("plain/new"), {}, ErrorCode::kIo, "no folder");
}

TEST_F(OutputFile, FileModes) {
  const std::string older = file("older");
  ASSERT_EQ(::chmod(older.c_str(), 0444), 0);
  if (::access(older.c_str(), W_OK) == 0)
    GTEST_SKIP() << "file modes do not bind this user; tests/files has its own way";
  refused(older, {}, ErrorCode::kIo, "protected: Permission denied");
  ASSERT_EQ(::chmod(folder_.c_str(), 0555), 0);
  refused(at("new"), {}, ErrorCode::kIo, "Permission denied");
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
}

TEST_F(OutputFile, TemporaryNamesLieBeside) {
  EXPECT_TRUE(temporary_name(at("x")).starts_with(at("x") + ".part-"));
}

}  // namespace
}  // namespace kinglet
