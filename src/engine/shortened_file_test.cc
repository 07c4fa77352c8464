// A model file that another program shortens while the engine works.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "engine/loader.h"
#include "engine/score.h"

namespace kinglet {
namespace {

namespace fs = std::filesystem;

class ShortenedFile : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "shortened" + std::to_string(::getpid()) + ".gguf";
    fs::copy_file(KINGLET_SOURCE_DIR "/tests/golden/models/gguf/gemma2-caps.gguf", path_,
                  fs::copy_options::overwrite_existing);
    auto opened = open_checkpoint(path_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    options_.need_tokenizer = false;
    checkpoint_ = *opened;
  }
  void TearDown() override { fs::remove(path_); }
  void shorten() { fs::resize_file(path_, 100); }

  // How a request of some tokens ends.
  static std::optional<Error> ask(Engine& engine) {
    Request request;
    request.prompt = {1, 2, 3, 125, 126};
    request.max_tokens = 3;
    request.ignore_eos = true;
    auto generation = engine.submit(std::move(request));
    if (!generation.ok()) return generation.error();
    while (auto event = (*generation)->next_event())
      if (event->finish) return event->finish->error;
    return Error{ErrorCode::kInvalid, "no last event"};
  }

  std::string path_;
  LoadOptions options_;
  std::shared_ptr<const Checkpoint> checkpoint_;
};

TEST_F(ShortenedFile, FailsTheRequestsAndNotTheProcess) {
  auto engine = load_engine(checkpoint_, options_);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  const auto before = ask(**engine);
  EXPECT_FALSE(before.has_value()) << before->message;
  shorten();
  for (int again = 0; again < 2; ++again) {
    const auto after = ask(**engine);
    ASSERT_TRUE(after.has_value());
    EXPECT_EQ(after->code, ErrorCode::kIo);
    EXPECT_NE(after->message.find(path_ + ": became shorter"), std::string::npos) << after->message;
  }
}

TEST_F(ShortenedFile, IsNoticedWhileLoading) {
  shorten();
  const auto engine = load_engine(checkpoint_, options_);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::kIo);
}

TEST_F(ShortenedFile, FailsAScore) {
  auto model = load_step_model(checkpoint_, {}, 8);
  ASSERT_TRUE(model.ok()) << model.error().message;
  shorten();
  const std::vector<int32_t> tokens{1, 2, 3, 125};
  const auto scored = token_logprobs(**model, tokens, {});
  ASSERT_FALSE(scored.ok());
  EXPECT_EQ(scored.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace kinglet
