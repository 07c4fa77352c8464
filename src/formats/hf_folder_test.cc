#include "formats/hf_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/test_files.h"

namespace kinglet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace testing_files;

// One tensor of four bytes.
std::string one_tensor(const std::string& name, const std::string& data) {
  return safetensors("{\"" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", data);
}

class HfFolderTest : public testing::Test {
 protected:
  HfFolderTest() { folder_.write("config.json", R"({"model_type":"llama","rope_scaling":{"factor":2}})"); }

  std::string refusal(const OpenOptions& options = {}) {
    const auto opened = open_checkpoint(folder_.path(), options);
    return opened.ok() ? "no error" : opened.error().message;
  }

  const TemporaryFolder folder_;
};

TEST_F(HfFolderTest, SingleFileAndSideFiles) {
  folder_.write("model.safetensors", small_safetensors());
  folder_.write("other.safetensors", "not looked at");
  folder_.write("generation_config.json", "gc");
  folder_.write("tokenizer.json", "tj");
  folder_.write("tokenizer_config.json", "tc");
  folder_.write("chat_template.jinja", "ct");
  folder_.write("special_tokens_map.json", "st");
  folder_.write("tokenizer.model", std::string_view("a\0b", 3));
  folder_.write("tiktoken.model", "tt");
  const auto opened = open_checkpoint(folder_.path());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const Checkpoint& c = **opened;
  EXPECT_EQ(c.format, CheckpointFormat::kHuggingFace);
  EXPECT_EQ(c.path, folder_.path());
  EXPECT_EQ(*c.metadata.get_int("rope_scaling.factor", 0, 9), 2);
  EXPECT_EQ(c.metadata.source(), folder_.path("config.json"));
  EXPECT_EQ(c.tensors.size(), 3u);
  EXPECT_EQ(c.total_bytes, 10u);
  EXPECT_EQ(static_cast<char>(c.find("a")->data[0]), '0');
  EXPECT_THAT(c.side_files.config_json, HasSubstr("model_type"));
  EXPECT_EQ(c.side_files.generation_config_json, "gc");
  EXPECT_EQ(c.side_files.tokenizer_json, "tj");
  EXPECT_EQ(c.side_files.tokenizer_config_json, "tc");
  EXPECT_EQ(c.side_files.chat_template, "ct");
  EXPECT_EQ(c.side_files.special_tokens_map_json, "st");
  EXPECT_EQ(c.side_files.tokenizer_model, std::string("a\0b", 3));
  EXPECT_EQ(c.side_files.tiktoken_model, "tt");
}

TEST_F(HfFolderTest, ShardsByIndex) {
  folder_.write("model-00001-of-00002.safetensors", one_tensor("x", "1111"));
  folder_.write("model-00002-of-00002.safetensors", one_tensor("y", "2222"));
  folder_.write(
      "model.safetensors.index.json",
      R"({"metadata":{"total_size":8},"weight_map":{"x":"model-00001-of-00002.safetensors","y":"model-00002-of-00002.safetensors"}})");
  const auto opened = open_checkpoint(folder_.path());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ((*opened)->tensors.size(), 2u);
  EXPECT_EQ((*opened)->files.size(), 2u);
  EXPECT_EQ(static_cast<char>((*opened)->find("y")->data[0]), '2');
}

TEST_F(HfFolderTest, ShardsWithoutIndex) {
  folder_.write("a.safetensors", one_tensor("x", "1111"));
  folder_.write("b.safetensors", one_tensor("y", "2222"));
  folder_.write("adapter_model.safetensors", "not part of the model");
  const auto opened = open_checkpoint(folder_.path());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_NE((*opened)->find("x"), nullptr);
  EXPECT_NE((*opened)->find("y"), nullptr);
  folder_.write("b.safetensors", one_tensor("x", "2222"));
  EXPECT_THAT(refusal(), HasSubstr("tensor \"x\": expected once, found in two files"));
}

TEST_F(HfFolderTest, MissingAndExtraShards) {
  folder_.write("model-00001-of-00002.safetensors", one_tensor("x", "1111"));
  EXPECT_THAT(refusal(), HasSubstr("expected the parts 1 to 2, found 1 files, part 2 is missing"));
  folder_.write("model-00002-of-00002.safetensors", one_tensor("y", "2222"));
  EXPECT_EQ(refusal(), "no error");
  folder_.write("model-00003-of-00002.safetensors", one_tensor("z", "3333"));
  EXPECT_THAT(refusal(), HasSubstr("part 3 is none of them"));
  folder_.write("consolidated.safetensors", one_tensor("x", "1111"));
  folder_.write("model.safetensors.index.json",
                R"({"weight_map":{"x":"model-00001-of-00002.safetensors","y":"model-00002-of-00002.safetensors"}})");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model-00003-of-00002.safetensors"), HasSubstr("does not name")));
  std::filesystem::remove(folder_.path("model-00003-of-00002.safetensors"));
  EXPECT_EQ(refusal(), "no error");
  std::filesystem::remove(folder_.path("model-00002-of-00002.safetensors"));
  EXPECT_THAT(refusal(), HasSubstr("model-00002-of-00002.safetensors"));
}

// The hub's cache holds links into a folder of blobs: those are followed.
TEST_F(HfFolderTest, LinksToBlobs) {
  const TemporaryFolder blobs;
  blobs.write("0123abcd", one_tensor("x", "1111"));
  std::filesystem::create_symlink(blobs.path("0123abcd"), folder_.path("model.safetensors"));
  EXPECT_TRUE(open_checkpoint(folder_.path()).ok());
}

TEST_F(HfFolderTest, IndexThatNamesFilesOutsideTheFolder) {
  const TemporaryFolder outside;
  outside.write("secret.safetensors", one_tensor("x", "1111"));
  const std::string sibling = "../" + std::filesystem::path(outside.path()).filename().string() + "/secret.safetensors";
  for (const std::string& name :
       {sibling, outside.path("secret.safetensors"), std::string("sub/a.safetensors"),
        std::string("..\\\\a.safetensors"), std::string("a\\u0000.safetensors"), std::string(""), std::string(".."),
        std::string("config.json"), std::string(".hidden.safetensors")}) {
    folder_.write("model.safetensors.index.json", R"({"weight_map":{"x":")" + name + "\"}}");
    EXPECT_THAT(refusal(),
                AllOf(HasSubstr("index.json: weight_map: \"x\""),
                      HasSubstr("expected the name of a .safetensors file in the same folder"), HasSubstr("found \"")))
        << name;
  }
}

TEST_F(HfFolderTest, DamagedIndex) {
  const auto with_index = [&](const std::string& index) {
    folder_.write("model.safetensors.index.json", index);
    return refusal();
  };
  folder_.write("a.safetensors", one_tensor("x", "1111"));
  EXPECT_THAT(with_index("{"), HasSubstr("index.json: expected JSON"));
  EXPECT_THAT(with_index("[]"), HasSubstr("weight_map: expected an object, found none"));
  EXPECT_THAT(with_index(R"({"weight_map":[]})"), HasSubstr("weight_map: expected an object"));
  EXPECT_THAT(with_index(R"({"weight_map":{"x":1}})"), HasSubstr("\"x\": expected a file name, found another value"));
  EXPECT_THAT(with_index(R"({"weight_map":{"x":"absent.safetensors"}})"),
              HasSubstr("absent.safetensors: cannot be opened"));
  EXPECT_THAT(with_index(R"({"weight_map":{"y":"a.safetensors"}})"),
              AllOf(HasSubstr("a.safetensors: expected the 1 tensors"), HasSubstr("found 0")));
  EXPECT_EQ(with_index(R"({"weight_map":{"x":"a.safetensors"}})"), "no error");
}

TEST_F(HfFolderTest, LoopsOfLinks) {
  std::filesystem::create_symlink("loop", folder_.path("loop"));
  const auto itself = open_checkpoint(folder_.path("loop"));
  ASSERT_FALSE(itself.ok());
  EXPECT_THAT(itself.error().message, AllOf(HasSubstr("loop: "), HasSubstr("symbolic links")));

  std::filesystem::create_symlink("model.safetensors", folder_.path("model.safetensors"));
  EXPECT_THAT(refusal(), HasSubstr("model.safetensors"));
  std::filesystem::remove(folder_.path("model.safetensors"));
  folder_.write("model.safetensors", small_safetensors());
  std::filesystem::create_symlink("tokenizer.json", folder_.path("tokenizer.json"));
  EXPECT_THAT(refusal(), AllOf(HasSubstr("tokenizer.json: "), HasSubstr("symbolic links")));
}

TEST_F(HfFolderTest, SideFileOfTheWrongKind) {
  folder_.write("model.safetensors", small_safetensors());
  std::filesystem::create_directory(folder_.path("tokenizer.json"));
  EXPECT_THAT(refusal(), HasSubstr("tokenizer.json: is not a regular file"));
  std::filesystem::remove(folder_.path("tokenizer.json"));
  folder_.write("config.json", std::string(size_t{4} << 20, ' ') + "{}");
  EXPECT_THAT(refusal(), HasSubstr("config.json: expected at most 4194304 bytes, found 4194306"));
}

TEST_F(HfFolderTest, MissingParts) {
  EXPECT_THAT(refusal(), HasSubstr("expected *.safetensors files with tensors, found none"));
  EXPECT_EQ(refusal({.vocabulary_only = true}), "no error");
  std::filesystem::remove(folder_.path("config.json"));
  EXPECT_THAT(refusal({.vocabulary_only = true}), HasSubstr("expected a model folder with config.json, found none"));
  folder_.write("tokenizer.json", "{}");
  EXPECT_EQ(refusal({.vocabulary_only = true}), "no error");
  EXPECT_THAT(refusal(), HasSubstr("config.json"));
}

TEST(OpenCheckpoint, PathsThatAreNoModels) {
  const TemporaryFolder folder;
  const auto refusal = [](const std::string& path) {
    const auto opened = open_checkpoint(path);
    return opened.ok() ? Error{ErrorCode::kIo, "no error"} : opened.error();
  };
  EXPECT_EQ(refusal(folder.path("absent.gguf")).code, ErrorCode::kNotFound);
  EXPECT_THAT(refusal(folder.path("absent.gguf")).message, HasSubstr("absent.gguf: no such file or folder"));
  EXPECT_THAT(refusal("").message, HasSubstr("expected the name of a model"));
  EXPECT_THAT(refusal(std::string("a\0b", 3)).message, HasSubstr("found \"a\\x00b\""));
  EXPECT_THAT(refusal(folder.write("x.safetensors", "")).message, HasSubstr("name the folder"));
  EXPECT_THAT(refusal(folder.write("empty.gguf", "")).message, HasSubstr("empty.gguf: magic: expected 4 more bytes"));
  EXPECT_THAT(refusal(std::string(5000, 'a')).message, HasSubstr("cannot be opened"));
}

TEST(OpenCheckpoint, MapsLiveAsLongAsTheCheckpoint) {
  const TemporaryFolder folder;
  auto opened = open_checkpoint(folder.write("m.gguf", small_gguf().build()));
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const std::shared_ptr<const Checkpoint> copy = *opened;
  opened = Error{};
  std::filesystem::remove(folder.path("m.gguf"));
  EXPECT_EQ(static_cast<char>(copy->find("a.weight")->data[0]), '\1');
}

}  // namespace
}  // namespace kinglet
