#include "tests/support/golden.h"

#include <cctype>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace kinglet::test {
namespace {

using Json = nlohmann::json;

const std::string kFolder = KINGLET_SOURCE_DIR "/tests/golden/models/";

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  KL_CHECK(in.good(), "a golden file is missing");
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string path_or_empty(const Json& row, const char* field) {
  return row.at(field).is_null() ? "" : kFolder + row.at(field).get<std::string>();
}

GoldenModel parse_row(const Json& row) {
  GoldenModel m;
  m.name = row.at("name");
  m.kind = row.at("kind");
  m.family = row.at("family");
  m.folder = path_or_empty(row, "folder");
  m.gguf = path_or_empty(row, "gguf");
  m.logits_file = path_or_empty(row, "logits");
  m.tokens = row.at("tokens").get<std::vector<int32_t>>();
  m.vocabulary = row.at("vocabulary");
  m.tolerance = row.at("tolerance");
  m.features = row.at("features").get<std::map<std::string, double>>();
  m.sensitivity = row.at("sensitivity").get<std::map<std::string, std::pair<double, double>>>();
  return m;
}

// The header is a Python dictionary on one line: {'descr': '<f4', 'fortran_order': False, 'shape': (64, 331), }
template <class T>
Array<T> read_npy(const std::string& path, const char* descr) {
  const std::string bytes = read_file(path);
  KL_CHECK(bytes.size() > 10 && bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) == 0,
           "not a .npy of version 1");
  const size_t header = static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  const std::string text = bytes.substr(10, header);
  KL_CHECK(text.find(std::string("'descr': '") + descr + "'") != std::string::npos, "unexpected element type");
  KL_CHECK(text.find("'fortran_order': False") != std::string::npos, "unexpected order");
  Array<T> array;
  size_t count = 1, at = text.find("'shape': (");
  KL_CHECK(at != std::string::npos, "no shape");
  for (at += 10; text[at] != ')';) {
    size_t used = 0;
    array.shape.push_back(std::stoll(text.substr(at), &used));
    count *= static_cast<size_t>(array.shape.back());
    at = text.find_first_not_of(", ", at + used);
  }
  KL_CHECK(bytes.size() == 10 + header + count * sizeof(T), "size and shape disagree");
  array.values.resize(count);
  std::memcpy(array.values.data(), bytes.data() + 10 + header, count * sizeof(T));
  return array;
}

}  // namespace

const std::vector<GoldenModel>& golden_models() {
  static const std::vector<GoldenModel> models = [] {
    const Json manifest = Json::parse(read_file(kFolder + "models.json"));
    KL_CHECK(manifest.at("format") == 1, "unknown format of models.json");
    std::vector<GoldenModel> rows;
    for (const Json& row : manifest.at("models"))
      if (!row.value("pending", false)) rows.push_back(parse_row(row));
    return rows;
  }();
  return models;
}

std::vector<const GoldenModel*> every_golden_model() {
  std::vector<const GoldenModel*> rows;
  for (const GoldenModel& golden : golden_models()) rows.push_back(&golden);
  return rows;
}

std::string test_name(const std::string& name) {
  std::string text = name;
  for (char& c : text)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return text;
}

const std::vector<GoldenEncoder>& golden_encoders() {
  static const std::vector<GoldenEncoder> models = [] {
    const Json manifest = Json::parse(read_file(kFolder + "encoders/encoders.json"));
    KL_CHECK(manifest.at("format") == 1, "unknown format of encoders.json");
    std::vector<GoldenEncoder> rows;
    for (const Json& row : manifest.at("models")) {
      GoldenEncoder m;
      m.name = row.at("name");
      m.folder = path_or_empty(row, "folder");
      m.gguf = path_or_empty(row, "gguf");
      if (!row.at("pooling").is_null()) m.pooling = row.at("pooling");
      m.texts = row.at("texts").get<std::vector<std::vector<int32_t>>>();
      m.types = row.at("types").get<std::vector<std::vector<int32_t>>>();
      m.states = read_npy_float(path_or_empty(row, "states")).values;
      m.embeddings = read_npy_float(path_or_empty(row, "embeddings")).values;
      if (!row.at("scores").is_null())
        for (const Json& score : row.at("scores")) m.scores.push_back(score.at(0));
      if (!row.at("judge").is_null()) m.judge = row.at("judge").get<std::vector<int32_t>>();
      m.tolerance = row.at("tolerance");
      rows.push_back(std::move(m));
    }
    return rows;
  }();
  return models;
}

RealGolden real_golden(const std::string& name) {
  const std::string stem = kFolder + "real/" + name;
  const Json row = Json::parse(read_file(stem + ".json"));
  RealGolden g;
  g.name = name;
  g.tokens = row.at("tokens").get<std::vector<int32_t>>();
  g.long_tokens = row.at("long_tokens").get<std::vector<int32_t>>();
  g.vocabulary = row.at("vocabulary");
  g.tolerance = row.at("tolerance");
  g.perplexity_long = row.at("perplexity_long");
  const Array<int32_t> ids = read_npy_int(stem + ".ids.npy");
  g.columns = ids.shape.at(1);
  g.ids = ids.values;
  g.logits = read_npy_float(stem + ".logits.npy").values;
  g.log_sum_exp = read_npy_float(stem + ".lse.npy").values;
  KL_CHECK(g.ids.size() == g.tokens.size() * static_cast<size_t>(g.columns), "ids do not fit the tokens");
  KL_CHECK(g.logits.size() == g.ids.size() && g.log_sum_exp.size() == g.tokens.size(), "arrays do not fit");
  return g;
}

SentenceGolden sentence_golden(const std::string& name) {
  const std::string stem = kFolder + "real/" + name;
  const Json row = Json::parse(read_file(stem + ".json"));
  SentenceGolden g;
  g.texts = row.at("texts").get<std::vector<std::string>>();
  g.tokens = row.at("tokens").get<std::vector<std::vector<int32_t>>>();
  g.embeddings = read_npy_float(stem + ".embeddings.npy").values;
  return g;
}

Array<float> read_npy_float(const std::string& path) {
  return read_npy<float>(path, "<f4");
}
Array<int32_t> read_npy_int(const std::string& path) {
  return read_npy<int32_t>(path, "<i4");
}

}  // namespace kinglet::test
