// Reads what tests/golden/models holds: the manifest, its arrays, and the golden values of the real models. Not for
// files of strangers: whatever is wrong here ends the test program with a message.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace kinglet::test {

// A row of models.json (README.md beside it says what the fields mean). Paths are absolute, empty where null.
struct GoldenModel {
  std::string name, kind, family, folder, gguf, logits_file;
  std::vector<int32_t> tokens;
  int64_t vocabulary = 0;
  double tolerance = 0.0;
  std::map<std::string, double> features;
  // Hugging Face tensor name -> largest change of a logit when all of it, when its elements of odd index grow by 1 %.
  std::map<std::string, std::pair<double, double>> sensitivity;
};

// Without the rows marked `pending`: families whose golden values are there before their code.
const std::vector<GoldenModel>& golden_models();

// The same rows, and a name as a part of a test's: for tests made of the table.
std::vector<const GoldenModel*> every_golden_model();
std::string test_name(const std::string& name);

// A row of encoders.json (golden/models/make_encoders.py says what the fields mean).
struct GoldenEncoder {
  std::string name, folder, gguf, pooling;
  std::vector<std::vector<int32_t>> texts, types;
  std::vector<float> states, embeddings;
  std::vector<float> scores;   // of a head, one a text; empty: there is none
  std::vector<int32_t> judge;  // tokens for yes and no, of a reranker without a head of its own
  double tolerance = 0.0;
};
const std::vector<GoldenEncoder>& golden_encoders();

// real/NAME.json and its arrays: for each position `columns` token ids and their logits.
struct RealGolden {
  std::string name;
  std::vector<int32_t> tokens, long_tokens;
  int64_t vocabulary = 0, columns = 0;
  double tolerance = 0.0, perplexity_long = 0.0;
  std::vector<int32_t> ids;
  std::vector<float> logits, log_sum_exp;
};

RealGolden real_golden(const std::string& name);

// Of a real encoder: real/NAME.json and real/NAME.embeddings.npy.
struct SentenceGolden {
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<float> embeddings;
};
SentenceGolden sentence_golden(const std::string& name);

// A .npy file of version 1 whose elements are little-endian float32 or int32, in C order.
template <class T>
struct Array {
  std::vector<int64_t> shape;
  std::vector<T> values;
};
Array<float> read_npy_float(const std::string& path);
Array<int32_t> read_npy_int(const std::string& path);

}  // namespace kinglet::test
