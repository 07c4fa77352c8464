// Chat templates against transformers' apply_chat_template: 320 conversations by every template at hand. Our own
// templates are committed; others are looked for in the folder of test models.
#include <gtest/gtest.h>

#include "formats/checkpoint.h"
#include "text/chat_template.h"
#include "text/golden_test_support.h"

namespace kinglet {
namespace {

using Json = nlohmann::ordered_json;

const std::map<std::string, std::string> kVariables{
    {"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};

// Empty when the template is not on this machine.
std::string find_source(const std::string& name) {
  std::filesystem::path ours = golden::folder() / "templates" / (name + ".jinja");
  if (std::filesystem::exists(ours)) return golden::read_file(ours);
  if (name.starts_with("gguf-")) {
    std::string model = golden::model(name.substr(5)).string();
    auto opened = open_checkpoint(model, {.vocabulary_only = true});
    if (!opened.ok()) return "";
    auto loaded = ChatTemplate::from_checkpoint(**opened);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    return loaded.ok() ? (*loaded)->source() : "";
  }
  return golden::read_file(golden::third_party_template(name));
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden::folder() / "rendered")) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class TemplateGolden : public testing::TestWithParam<std::string> {};

TEST_P(TemplateGolden, RendersAsTransformersDoes) {
  std::string source = find_source(GetParam());
  if (source.empty()) GTEST_SKIP() << "SKIPPED: the template " << GetParam() << " is not on this machine";
  auto compiled = ChatTemplate::from_source(source, kVariables);
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  Json golden = Json::parse(golden::read_file(golden::folder() / "rendered" / (GetParam() + ".json")));
  std::ifstream conversations(golden::folder() / "conversations.jsonl");
  size_t count = 0;
  int wrong = 0;
  for (std::string line; std::getline(conversations, line) && wrong < 5; ++count) {
    Json test = Json::parse(line);
    RenderRequest request{.messages_json = test["messages"].dump(),
                          .tools_json = test["tools"].is_null() ? "" : test["tools"].dump(),
                          .args_json = test["args"].dump(),
                          .add_generation_prompt = test["add_generation_prompt"],
                          .now = golden["now"].get<int64_t>()};
    auto rendered = (*compiled)->render(request);
    std::string want = golden["results"][count];
    std::string found = rendered.ok() ? "ok:" + golden::hash_text(*rendered) : "raise:" + rendered.error().message;
    if (want == "fail" && !rendered.ok()) continue;
    wrong += found == want ? 0 : 1;
    EXPECT_EQ(found, want) << "conversation " << count << "\n"
                           << (rendered.ok() ? *rendered : rendered.error().message);
    if (rendered.ok() && found != want && count < golden["full"].size()) {
      EXPECT_EQ(*rendered, golden["full"][count].get<std::string>());
    }
  }
  EXPECT_TRUE(wrong > 0 || count >= 300);
}

INSTANTIATE_TEST_SUITE_P(All, TemplateGolden, testing::ValuesIn(names()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

}  // namespace
}  // namespace kinglet
