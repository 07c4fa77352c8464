#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "text/test_vocabularies.h"

namespace kinglet {
namespace {

// Whether `text` is complete UTF-8.
bool is_complete(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    auto lead = static_cast<unsigned char>(text[at]);
    size_t size = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
    if (size == 0 || at + size > text.size()) return false;
    for (size_t i = 1; i < size; ++i) {
      if ((static_cast<unsigned char>(text[at + i]) & 0xc0) != 0x80) return false;
    }
    at += size;
  }
  return true;
}

TEST(Detokenizer, HoldsHalfCharactersBack) {
  auto tokenizer = test::load(test::byte_level());
  StreamingDetokenizer stream(tokenizer);
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.push(0xac), "€");
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.push('x'), "\uFFFDx");
  EXPECT_EQ(stream.push(0xf0), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Detokenizer, DropsTheFirstSpaceOnly) {
  auto tokenizer = test::load(test::sentencepiece());
  StreamingDetokenizer stream(tokenizer);
  EXPECT_EQ(stream.push(1), "");  // <s>
  EXPECT_EQ(stream.push(260), "hi");
  EXPECT_EQ(stream.push(260), " hi");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push(260), "hi");
}

class Property : public testing::TestWithParam<int> {};

TEST_P(Property, AnyIdsGiveWholeTextDecodingInCompletePieces) {
  auto tokenizer = GetParam() == 0   ? test::load(test::byte_level())
                   : GetParam() == 1 ? test::load(test::sentencepiece())
                                     : test::load(test::sentencepiece(false));
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const std::vector<int32_t> valid{0xf0, 0x9f, 0x98, 0x80};
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> ids;
    for (auto n = random() % 20; n > 0; --n) {
      if (random() % 3 == 0) {
        for (int32_t byte : valid) ids.push_back(byte + (GetParam() == 0 ? 0 : 3));
      } else {
        ids.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(tokenizer->vocab_size() + 2)) - 1);
      }
    }
    for (bool skip : {false, true}) {
      StreamingDetokenizer stream(tokenizer, skip);
      std::string text;
      for (int32_t id : ids) {
        std::string piece = stream.push(id);
        EXPECT_TRUE(is_complete(piece));
        text += piece;
      }
      text += stream.finish();
      EXPECT_EQ(text, tokenizer->decode(ids, skip));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Property, testing::Values(0, 1, 2));

}  // namespace
}  // namespace kinglet
