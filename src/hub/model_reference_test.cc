#include "hub/model_reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/hash.h"
#include "hub/files.h"
#include "hub/selection.h"
#include "hub/test_support.h"

namespace kinglet {
namespace {

using namespace hub_test;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = ModelReference::Kind;
namespace fs = std::filesystem;

TEST(RemoteReference, Forms) {
  ModelReference reference = remote("hf:Org/Repo-GGUF:q4_k_m@v1.0");
  EXPECT_EQ(reference.kind, Kind::kHub);
  EXPECT_EQ(reference.name, "Org/Repo-GGUF:Q4_K_M@v1.0");
  EXPECT_EQ(reference.hub.repo, "Org/Repo-GGUF");
  EXPECT_EQ(reference.hub.selector, "Q4_K_M");
  EXPECT_EQ(reference.hub.revision, "v1.0");
  reference = remote("org/repo:sub/file-00001-of-00002.gguf@refs/pr/57");
  EXPECT_EQ(reference.hub.selector, "sub/file-00001-of-00002.gguf");
  EXPECT_EQ(reference.hub.revision, "refs/pr/57");
  reference = remote("org/repo");
  EXPECT_EQ(reference.name, "org/repo");
  EXPECT_EQ(reference.hub.revision, "main");
  reference = remote("Qwen3:0.6B");
  EXPECT_EQ(reference.name, "qwen3:0.6b");
  EXPECT_EQ(reference.hub.repo, "Qwen/Qwen3-0.6B-GGUF");
  EXPECT_EQ(remote("qwen3:0.6b@abc").name, "qwen3:0.6b@abc");
  reference = remote("smollm2");
  EXPECT_EQ(reference.kind, Kind::kPackage);
  EXPECT_EQ(reference.package->parts.size(), 1u);
}

TEST(RemoteReference, Malformed) {
  for (const char* text :
       {"",      "hf:",      "hf:repo",    "hf:a/b/c", "hf:../b",      "hf:a/..",       "hf:-a/b",
        "a/b@",  "a/b@../x", "a/b@x y",    "a/b@/x",   "a/b:",         "a/b:../c.gguf", "a/b:/c.gguf",
        "a b/c", "a/b\n",    "hf:a/b?x=1", "hf:a/b#c", "smollm2@main", "qwen3:0.6b@"}) {
    EXPECT_FALSE(parse_remote_reference(text).ok()) << text;
  }
}

TEST(RemoteReference, UnknownNamesSuggestNearOnes) {
  EXPECT_THAT(parse_remote_reference("qwen3:0.6").error().message, HasSubstr("did you mean qwen3:0.6b"));
  EXPECT_THAT(parse_remote_reference("smolm2").error().message, HasSubstr("did you mean smollm2"));
  EXPECT_THAT(parse_remote_reference("lamma3.2:1b").error().message, HasSubstr("llama3.2:1b"));
  const Error family = parse_remote_reference("gemma3").error();
  EXPECT_EQ(family.code, ErrorCode::kNotFound);
  EXPECT_THAT(family.message, HasSubstr("gemma3:1b"));
  const Error nothing = parse_remote_reference("zzzzzzzzzzzzzz").error();
  EXPECT_THAT(nothing.message, testing::Not(HasSubstr("did you mean")));
  EXPECT_THAT(nothing.message, HasSubstr("org/repo"));
}

TEST(ShortNames, AreWellFormedAndUnique) {
  std::set<std::string> names;
  for (const ShortName& entry : short_names()) {
    EXPECT_TRUE(names.insert(std::string(entry.name)).second) << entry.name;
    const ModelReference reference = remote("hf:" + std::string(entry.repo) + ":" + std::string(entry.selector));
    EXPECT_EQ(reference.hub.repo, entry.repo);
    EXPECT_TRUE(hub::is_quantisation(entry.selector)) << entry.selector;
  }
  for (const PackageModel& package : package_models()) {
    EXPECT_TRUE(names.insert(std::string(package.name)).second) << package.name;
    uint64_t bytes = 0;
    for (const PackagePart& part : package.parts) {
      bytes += part.member_bytes;
      EXPECT_TRUE(hub::is_lower_hex(part.wheel_sha256, 64));
    }
    EXPECT_EQ(bytes, package.bytes);
    EXPECT_TRUE(hub::is_lower_hex(package.sha256, 64));
  }
  EXPECT_NE(find_package_model(kDefaultModel), nullptr);
}

class ResolveTest : public testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    fs::current_path(folder_.path());
  }
  void TearDown() override { fs::current_path(before_); }

  void store_model(const std::string& name) {
    ASSERT_TRUE(store_.create_folders().ok());
    write_file(store_.staging_files_dir(name) + "/m.gguf", "x");
    StoredModel model{name, "test", "", {{"m.gguf", 1, sha256_hex("x")}}, "m.gguf", 0, ""};
    ASSERT_TRUE(store_.commit(model).ok());
  }
  Kind kind_of(const std::string& text) {
    auto reference = resolve_model(text, store_);
    EXPECT_TRUE(reference.ok()) << reference.error().message;
    return reference.ok() ? reference->kind : Kind::kHub;
  }

  TemporaryFolder folder_;
  Store store_{folder_.path() + "/store"};
  fs::path before_;
};

TEST_F(ResolveTest, Order) {
  EXPECT_EQ(kind_of("smollm2"), Kind::kPackage);
  EXPECT_EQ(kind_of("org/repo"), Kind::kHub);
  write_file("org/repo/model.gguf", "x");
  EXPECT_EQ(kind_of("org/repo"), Kind::kPath) << "an existing path goes before the hub";
  EXPECT_EQ(kind_of("hf:org/repo"), Kind::kHub) << "hf: always means the hub";
  write_file("smollm2/model.gguf", "x");
  EXPECT_EQ(kind_of("smollm2"), Kind::kPackage) << "a plain word is a name first";
  EXPECT_EQ(kind_of("./smollm2"), Kind::kPath);
  store_model("smollm2");
  EXPECT_EQ(kind_of("smollm2"), Kind::kStored);
  EXPECT_EQ(kind_of("SmolLM2"), Kind::kStored);
  store_model("org/repo");
  EXPECT_EQ(kind_of("hf:org/repo"), Kind::kStored) << "what is stored need not be pulled";
  write_file("plain/model.gguf", "x");
  EXPECT_EQ(kind_of("plain"), Kind::kPath);
  EXPECT_EQ(resolve_model("plain", store_)->path, "plain/model.gguf");
  store_model("my-own-model");
  EXPECT_THAT(resolve_model("my-own-modle", store_).error().message, HasSubstr("did you mean my-own-model"));
}

TEST_F(ResolveTest, BrokenStoreEntriesAreErrorsNotDownloads) {
  store_model("smollm2");
  fs::remove(store_.find("smollm2")->path());
  auto reference = resolve_model("smollm2", store_);
  ASSERT_FALSE(reference.ok());
  EXPECT_THAT(reference.error().message, HasSubstr("kinglet rm smollm2"));
}

TEST_F(ResolveTest, Paths) {
  EXPECT_EQ(resolve_model("missing.gguf", store_).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(resolve_model("./missing", store_).error().code, ErrorCode::kNotFound);
  fs::create_directory("empty");
  EXPECT_EQ(resolve_model_path("empty").error().code, ErrorCode::kNotFound);
  write_file("two/a.gguf", "x");
  write_file("two/b.gguf", "x");
  EXPECT_THAT(resolve_model_path("two").error().message, HasSubstr("a.gguf b.gguf"));
  write_file("hf/config.json", "{}");
  write_file("hf/model.safetensors", "x");
  EXPECT_EQ(*resolve_model_path("hf"), "hf");
  write_file("hf/x.gguf", "x");
  EXPECT_FALSE(resolve_model_path("hf").ok());
  write_file("gguf/m-Q4_0.gguf", "x");
  write_file("gguf/mmproj-f16.gguf", "x");
  EXPECT_EQ(*resolve_model_path("gguf/"), "gguf/m-Q4_0.gguf");
  for (const char* part : {"1", "3"}) write_file("s/m-0000" + std::string(part) + "-of-00003.gguf", "x");
  EXPECT_THAT(resolve_model_path("s/m-00001-of-00003.gguf").error().message, HasSubstr("m-00002-of-00003.gguf"));
  EXPECT_THAT(resolve_model_path("s/m-00003-of-00003.gguf").error().message, HasSubstr("name the first one"));
  write_file("s/m-00002-of-00003.gguf", "x");
  EXPECT_EQ(*resolve_model_path("s"), "s/m-00001-of-00003.gguf");
  EXPECT_FALSE(resolve_model_path("/dev/null").ok());
  const ScopedVariable home("HOME", folder_.path());
  EXPECT_EQ(*resolve_model_path("~/gguf/m-Q4_0.gguf"), folder_.path() + "/gguf/m-Q4_0.gguf");
}

TEST(Selection, QuantisationsOfNames) {
  using hub::quantisation_of;
  EXPECT_EQ(quantisation_of("SmolLM2-135M-Instruct.Q4_1.gguf"), "Q4_1");
  EXPECT_EQ(quantisation_of("qwen2.5-0.5b-instruct-q4_k_m.gguf"), "Q4_K_M");
  EXPECT_EQ(quantisation_of("d/Model-UD-Q4_K_XL-00001-of-00002.gguf"), "Q4_K_XL");
  EXPECT_EQ(quantisation_of("model_Q5_K_S.gguf"), "Q5_K_S");
  EXPECT_EQ(quantisation_of("m-iq2_xxs.gguf"), "IQ2_XXS");
  EXPECT_EQ(quantisation_of("m-bf16.gguf"), "BF16");
  EXPECT_EQ(quantisation_of("m.fp16.gguf"), "F16");
  EXPECT_EQ(quantisation_of("gpt-mxfp4.gguf"), "MXFP4");
  EXPECT_EQ(quantisation_of("Q4_K_M/other.gguf"), "") << "the file's name counts, not its folder's";
  EXPECT_EQ(quantisation_of("Qwen3-8B.gguf"), "");
  EXPECT_FALSE(hub::is_quantisation("Q9_0"));
  EXPECT_FALSE(hub::is_quantisation("Q4_K_ZZ"));
}

TEST(Selection, TheDocumentedOrderDecides) {
  auto pick = [](const std::vector<std::string>& paths, const std::string& selector = "") {
    auto chosen = hub::select_model_files(paths, selector, "org/repo");
    return chosen.ok() ? chosen->entry : "error: " + chosen.error().message;
  };
  EXPECT_EQ(pick({"m-F16.gguf", "m-Q8_0.gguf", "m-Q4_K_S.gguf", "m-Q4_K_M.gguf"}), "m-Q4_K_M.gguf");
  EXPECT_EQ(pick({"m-F16.gguf", "m-Q8_0.gguf", "m-Q4_K_S.gguf"}), "m-Q4_K_S.gguf");
  EXPECT_EQ(pick({"m-F16.gguf", "m-Q8_0.gguf", "m-Q4_0.gguf"}), "m-Q4_0.gguf");
  EXPECT_EQ(pick({"m-F16.gguf", "m-Q8_0.gguf"}), "m-Q8_0.gguf");
  EXPECT_EQ(pick({"m-F16.gguf", "m-BF16.gguf"}), "m-BF16.gguf");
  EXPECT_EQ(pick({"m-F16.gguf", "m-Q2_K.gguf"}), "m-Q2_K.gguf");
  EXPECT_EQ(pick({"anything.gguf", "mmproj-m-f16.gguf", "README.md"}), "anything.gguf");
  EXPECT_EQ(pick({"m-F16.gguf", "m-Q8_0.gguf"}, "f16"), "m-F16.gguf");
  EXPECT_EQ(pick({"a/m-F16.gguf", "m-Q8_0.gguf"}, "a/m-F16.gguf"), "a/m-F16.gguf");
  EXPECT_THAT(pick({"m-F16.gguf"}, "Q4_0"), HasSubstr("m-F16.gguf"));
  EXPECT_THAT(pick({"a-Q4_0.gguf", "b-Q4_0.gguf"}), HasSubstr("a-Q4_0.gguf, b-Q4_0.gguf"));
  EXPECT_THAT(pick({"README.md", "pytorch_model.bin"}), HasSubstr("pytorch_model.bin"));
  EXPECT_EQ(pick({"m-Q4_0-00001-of-00002.gguf", "m-Q8_0.gguf"}), "m-Q8_0.gguf") << "an incomplete split is no choice";
  EXPECT_EQ(pick({"m-q4_0-00001-of-00002.gguf", "m-q4_0-00002-of-00002.gguf", "m-q4_0.gguf"}), "m-q4_0.gguf");
  EXPECT_EQ(pick({"m-Q4_0.gguf", "config.json", "model.safetensors"}), "m-Q4_0.gguf");
}

TEST(Selection, SafetensorsCheckpoints) {
  auto chosen = hub::select_model_files({"config.json", "model.safetensors", "tokenizer.json", "README.md", "evil.py",
                                         "consolidated.safetensors", "chat_template.jinja", "m-Q4_0.gguf"},
                                        "safetensors", "org/repo");
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(chosen->entry, "");
  EXPECT_THAT(chosen->files, ElementsAre("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"));
  EXPECT_FALSE(hub::select_model_files({"model.safetensors"}, "", "org/repo").ok()) << "needs config.json";
}

TEST(Selection, SplitNames) {
  auto split = hub::parse_split_name("d/m-00002-of-00005.gguf", ".gguf");
  ASSERT_TRUE(split.has_value());
  EXPECT_EQ(split->stem, "d/m");
  EXPECT_EQ(hub::format_split_name(*split, 5, ".gguf"), "d/m-00005-of-00005.gguf");
  for (const char* name : {"m-00000-of-00005.gguf", "m-00006-of-00005.gguf", "m-0001-of-0005.gguf",
                           "-00001-of-00005.gguf", "m-00001-of-00005.bin", "m-0000x-of-00005.gguf", ""}) {
    EXPECT_FALSE(hub::parse_split_name(name, ".gguf").has_value()) << name;
  }
}

}  // namespace
}  // namespace kinglet
