// Any bytes as a tokenizer: tokenizer.json, SentencePiece's and tiktoken's files, and GGUF metadata. What loads must
// encode, decode, and stream the same text as it decodes. The first byte says which.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "formats/checkpoint.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace {

constexpr const char* kText = "Hello \xc3\xa9\xf0\x9f\x98\x80\xff 123\n\n  <|end|></s>[SEP]";

// Lines are tokens; a line's first byte is its type, its second its score; lines with a tab are merges.
kinglet::Checkpoint gguf(std::string_view model, std::string_view rest) {
  kinglet::Checkpoint checkpoint;
  std::vector<std::string> tokens, merges;
  std::vector<int64_t> types;
  std::vector<double> scores;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    size_t tab = line.find('\t');
    if (tab != std::string_view::npos) {
      merges.emplace_back(std::string(line.substr(0, tab)) + " " + std::string(line.substr(tab + 1)));
    } else if (line.size() >= 2) {
      types.push_back(line[0] & 7);
      scores.push_back(line[1]);
      tokens.emplace_back(line.substr(2));
    }
  }
  kinglet::Metadata& metadata = checkpoint.metadata;
  metadata.set("tokenizer.ggml.model", std::string(model));
  metadata.set("tokenizer.ggml.pre", std::string("llama-bpe"));
  metadata.set("tokenizer.ggml.tokens", tokens);
  metadata.set("tokenizer.ggml.token_type", types);
  metadata.set("tokenizer.ggml.scores", scores);
  if (!merges.empty()) metadata.set("tokenizer.ggml.merges", merges);
  metadata.set("tokenizer.ggml.unknown_token_id", uint64_t{0});
  metadata.set("tokenizer.ggml.bos_token_id", uint64_t{1});
  return checkpoint;
}

kinglet::Checkpoint folder(unsigned which, std::string_view bytes) {
  kinglet::Checkpoint checkpoint;
  checkpoint.format = kinglet::CheckpointFormat::kHuggingFace;
  auto& files = checkpoint.side_files;
  (which == 0 ? files.tokenizer_json : which == 1 ? files.tokenizer_model : files.tiktoken_model) = bytes;
  return checkpoint;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr const char* kModels[] = {"gpt2", "llama", "t5", "bert", "gemma4"};
  unsigned which = data[0] % 8;
  auto loaded = kinglet::Tokenizer::from_checkpoint(which < 3 ? folder(which, rest) : gguf(kModels[which - 3], rest));
  if (!loaded.ok()) {
    KL_CHECK(!loaded.error().message.empty(), "an error without a message");
    return 0;
  }
  const kinglet::Tokenizer& tokenizer = **loaded;
  for (bool special : {false, true}) {
    auto ids = tokenizer.encode(kText, {.add_special = special, .parse_special = special});
    if (!ids.ok()) continue;
    kinglet::StreamingDetokenizer stream(*loaded, special);
    std::string text;
    for (int32_t id : *ids) {
      KL_CHECK(id >= 0 && id < tokenizer.vocab_size(), "an id outside the vocabulary");
      text += stream.push(id);
    }
    text += stream.finish();
    KL_CHECK(text == tokenizer.decode(*ids, special), "streaming and decoding differ");
  }
  for (int32_t id = 0; id < std::min(tokenizer.vocab_size(), 1000); ++id) (void)tokenizer.token_bytes(id);
  return 0;
}
