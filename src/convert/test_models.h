// Golden models for the tests of this folder: what they are, and what they compute.
#pragma once

#include <gtest/gtest.h>
#include <algorithm>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "formats/checkpoint.h"
#include "nn/model.h"

namespace kinglet::convert {

inline const std::string kGolden = KINGLET_SOURCE_DIR "/tests/golden/models/";

inline std::shared_ptr<const Checkpoint> open(const std::string& path) {
  auto opened = open_checkpoint(path);
  EXPECT_TRUE(opened.ok()) << opened.error().message;
  return opened.ok() ? *opened : nullptr;
}

// Of 48 tokens in one pass, in f32 mode.
inline std::vector<float> logits_of(const std::string& path) {
  ModelOptions options;
  options.threads = 1;
  options.context = 64;
  options.compute = ComputeMode::kF32;
  auto model = Model::load(open(path), options);
  EXPECT_TRUE(model.ok()) << path << ": " << (model.ok() ? "" : model.error().message);
  if (!model.ok()) return {};
  auto page = AlignedBuffer::allocate((*model)->plan().page_bytes);
  auto state = AlignedBuffer::allocate((*model)->state_bytes() + 64);
  std::memset(page->as<std::byte>(), 0, page->size());
  std::memset(state->as<std::byte>(), 0, state->size());
  std::byte* const pages[] = {page->as<std::byte>()};
  std::vector<int32_t> tokens;
  const auto some = static_cast<int32_t>(std::min<int64_t>((*model)->spec().vocabulary, 61));
  for (int32_t i = 0; i < 48; ++i) tokens.push_back(i * 31 % some);
  StepSlice slice;
  slice.tokens = tokens;
  slice.pages = pages;
  slice.logits = LogitRows::kAll;
  slice.state = (*model)->state_bytes() > 0 ? state->as<std::byte>() : nullptr;
  const std::span<const float> logits = (*model)->forward({&slice, 1});
  return {logits.begin(), logits.end()};
}

}  // namespace kinglet::convert
