#include "formats/quant_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <utility>

#include "base/near_match.h"
#include "base/quote.h"

namespace kinglet {
namespace {

using Tile = QuantConfig::Tile;
constexpr int64_t kMostTile = int64_t{1} << 32;

class Reader {
 public:
  Reader(const Metadata& metadata, std::string key) : metadata_(metadata) { config_.key = std::move(key); }

  Result<QuantConfig> read();

 private:
  using Read = Status (Reader::*)();
  struct Method {
    std::string_view name;
    Read read;
  };
  static const std::array<Method, 8> kMethods;

  std::string key(const std::string& name) const { return config_.key + "." + name; }
  Error unsupported(const std::string& name, const std::string& found, const std::string& supported) const {
    return {ErrorCode::kUnsupported, metadata_.source() + ": " + quote(key(name)) + ": found " + found +
                                         ", which is not supported; supported: " + supported};
  }
  // A text that must be one of `supported`.
  Result<std::string> one_of(const std::string& name, const std::string& fallback,
                             std::span<const std::string_view> supported) const;
  Result<int64_t> bits_of(const std::string& name, std::span<const int64_t> supported) const;
  Result<int64_t> group_of(const std::string& name, int64_t fallback) const;
  Result<Tile> block_of(const std::string& name, Tile fallback) const;

  Status fp8();
  Status fp8_by_row();
  Status gptq();
  Status awq();
  Status mxfp4();
  Status modelopt();
  Status bitsandbytes();
  Status compressed_tensors();
  Status compressed_group(const std::string& weights);

  const Metadata& metadata_;
  QuantConfig config_;
};

const std::array<Reader::Method, 8> Reader::kMethods = {{{"fp8", &Reader::fp8},
                                                         {"compressed-tensors", &Reader::compressed_tensors},
                                                         {"gptq", &Reader::gptq},
                                                         {"awq", &Reader::awq},
                                                         {"mxfp4", &Reader::mxfp4},
                                                         {"modelopt", &Reader::modelopt},
                                                         {"bitsandbytes", &Reader::bitsandbytes},
                                                         {"fbgemm_fp8", &Reader::fp8_by_row}}};

std::string group_text(int64_t columns) {
  return columns == QuantConfig::kWhole ? "a scale for each output" : "groups of " + std::to_string(columns);
}

std::string tile_text(Tile tile) {
  if (tile.rows == QuantConfig::kWhole) return "one scale";
  if (tile.rows == 1) return group_text(tile.columns);
  return "blocks of " + std::to_string(tile.rows) + "x" + std::to_string(tile.columns);
}

Result<std::string> Reader::one_of(const std::string& name, const std::string& fallback,
                                   std::span<const std::string_view> supported) const {
  KL_TRY(auto value, metadata_.string_or(key(name), fallback));
  if (std::find(supported.begin(), supported.end(), value) != supported.end()) return value;
  return unsupported(name, quote(value, 48), nearest_names(value, supported, supported.size()));
}

Result<int64_t> Reader::bits_of(const std::string& name, std::span<const int64_t> supported) const {
  KL_TRY(const int64_t bits, metadata_.get_int(key(name), 1, 64));
  if (std::find(supported.begin(), supported.end(), bits) != supported.end()) return bits;
  std::string list;
  for (int64_t width : supported) list += (list.empty() ? "" : ", ") + std::to_string(width);
  return unsupported(name, std::to_string(bits), list);
}

Result<int64_t> Reader::group_of(const std::string& name, int64_t fallback) const {
  KL_TRY(const int64_t columns, metadata_.int_or(key(name), -1, kMostTile, fallback));
  if (columns == 0) return unsupported(name, "0", "-1 and multiples of 32");
  return columns;
}

Result<Tile> Reader::block_of(const std::string& name, Tile fallback) const {
  if (!metadata_.has(key(name))) return fallback;
  KL_TRY(const auto sides, metadata_.get_ints(key(name)));
  if (sides.size() == 2 && std::all_of(sides.begin(), sides.end(), [](int64_t n) { return n > 0 && n <= kMostTile; })) {
    return Tile{sides[0], sides[1]};
  }
  return Error{ErrorCode::kInvalid, metadata_.source() + ": " + quote(key(name)) +
                                        ": expected two positive numbers, found " + std::to_string(sides.size()) +
                                        " numbers or others"};
}

Status Reader::fp8() {
  static constexpr std::string_view kFormats[] = {"e4m3", "float8_e4m3fn"};
  KL_TRY(const auto format, one_of("fmt", "e4m3", kFormats));
  KL_TRY(const Tile block, block_of("weight_block_size", {QuantConfig::kWhole, QuantConfig::kWhole}));
  config_.tiles = {block, {1, 32}};  // the second is DeepSeek-V4's experts of 4-bit floats
  config_.description = "fp8 e4m3, " + tile_text(block);
  return {};
}

Status Reader::fp8_by_row() {
  config_.tiles = {{1, QuantConfig::kWhole}};
  config_.description = "fp8 e4m3, " + tile_text(config_.tiles[0]);
  return {};
}

Status Reader::gptq() {
  static constexpr int64_t kBits[] = {4, 8};
  static constexpr std::string_view kFormats[] = {"gptq", "gptq_v2"};
  KL_TRY(const int64_t bits, bits_of("bits", kBits));
  KL_TRY(const int64_t group, group_of("group_size", QuantConfig::kWhole));
  KL_TRY(const auto format, one_of("checkpoint_format", "gptq", kFormats));
  KL_TRY(const bool by_activation, metadata_.bool_or(key("desc_act"), false));
  KL_TRY(const bool marlin, metadata_.bool_or(key("is_marlin_format"), false));
  if (marlin) return unsupported("is_marlin_format", "true", "false");
  config_.bits = {bits};
  config_.tiles = {{1, group}};
  config_.zero_plus_one = format == "gptq";
  config_.description = format + " int" + std::to_string(bits) + ", " + group_text(group) +
                        (by_activation ? ", columns in the order of activation" : "");
  return {};
}

Status Reader::awq() {
  static constexpr int64_t kBits[] = {4};
  static constexpr std::string_view kVersions[] = {"gemm", "GEMM"};
  KL_TRY(const int64_t bits, bits_of("bits", kBits));
  KL_TRY(const int64_t group, group_of("group_size", 128));
  KL_TRY(const auto version, one_of("version", "gemm", kVersions));
  config_.bits = {bits};
  config_.tiles = {{1, group}};
  config_.description = "awq int4, " + group_text(group);
  return {};
}

Status Reader::mxfp4() {
  config_.tiles = {{1, 32}};
  config_.description = "mxfp4, groups of 32";
  return {};
}

Status Reader::modelopt() {
  static constexpr std::string_view kAlgorithms[] = {"NVFP4", "FP8"};
  KL_TRY(const auto algorithm, one_of("quant_algo", "NVFP4", kAlgorithms));
  const bool fp8 = algorithm == "FP8";
  config_.tiles = {fp8 ? Tile{QuantConfig::kWhole, QuantConfig::kWhole} : Tile{1, 16}};
  config_.description = fp8 ? "fp8 e4m3, one scale" : "nvfp4, groups of 16";
  return {};
}

Status Reader::bitsandbytes() {
  KL_TRY(const bool eight, metadata_.bool_or(key("load_in_8bit"), false));
  if (eight) return unsupported("load_in_8bit", "true", "load_in_4bit with bnb_4bit_quant_type nf4");
  static constexpr std::string_view kTypes[] = {"nf4"};
  KL_TRY(const auto type, one_of("bnb_4bit_quant_type", "fp4", kTypes));
  KL_TRY(const bool doubled, metadata_.bool_or(key("bnb_4bit_use_double_quant"), false));
  config_.description = "bitsandbytes nf4, groups of 64 or more" + std::string(doubled ? ", quantised scales" : "");
  return {};
}

// `weights` is the key of a group's weight arguments.
Status Reader::compressed_group(const std::string& weights) {
  static constexpr int64_t kBits[] = {4, 8};
  static constexpr std::string_view kTypes[] = {"int", "float"};
  static constexpr std::string_view kStrategies[] = {"tensor", "channel", "group", "block", "tensor_group"};
  KL_TRY(const int64_t bits, bits_of(weights + ".num_bits", kBits));
  KL_TRY(const auto type, one_of(weights + ".type", "int", kTypes));
  const bool grouped = metadata_.has(key(weights + ".group_size"));
  KL_TRY(const auto strategy, one_of(weights + ".strategy", grouped ? "group" : "channel", kStrategies));
  Tile tile = {1, QuantConfig::kWhole};
  if (strategy == "tensor") tile = {QuantConfig::kWhole, QuantConfig::kWhole};
  if (strategy == "group" || strategy == "tensor_group") {
    KL_TRY(tile.columns, group_of(weights + ".group_size", QuantConfig::kWhole));
  }
  if (strategy == "block") {
    KL_TRY(tile, block_of(weights + ".block_structure", {128, 128}));
  }
  if (std::find(config_.bits.begin(), config_.bits.end(), bits) == config_.bits.end()) config_.bits.push_back(bits);
  if (std::find(config_.tiles.begin(), config_.tiles.end(), tile) == config_.tiles.end()) config_.tiles.push_back(tile);
  const std::string text = (type == "int" ? "int" : "float") + std::to_string(bits) + ", " + tile_text(tile);
  if (config_.description.find(text) == std::string::npos) {
    config_.description += (config_.description.empty() ? "compressed-tensors " : "; ") + text;
  }
  return {};
}

Status Reader::compressed_tensors() {
  static constexpr std::string_view kFormats[] = {
      "pack-quantized",       "int-quantized",        "float-quantized", "naive-quantized",
      "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mixed-precision", "dense"};
  static constexpr std::string_view kSparsity[] = {"dense"};
  KL_TRY(const auto format, one_of("format", "pack-quantized", kFormats));
  KL_TRY(const auto sparsity, one_of("sparsity_config.format", "dense", kSparsity));
  std::set<std::string> groups;
  const std::string prefix = key("config_groups.");
  for (auto at = metadata_.values().lower_bound(prefix); at != metadata_.values().end(); ++at) {
    if (!at->first.starts_with(prefix)) break;
    const size_t weights = at->first.find(".weights.", prefix.size());
    if (weights != std::string::npos)
      groups.insert(at->first.substr(config_.key.size() + 1, weights + 8 - config_.key.size() - 1));
    if (at->first.ends_with(".format")) {
      KL_TRY(const auto of_group, one_of(at->first.substr(config_.key.size() + 1), "", kFormats));
    }
  }
  for (const std::string& weights : groups) KL_RETURN_IF_ERROR(compressed_group(weights));
  if (config_.description.empty()) config_.description = "compressed-tensors, weights as they are";
  return {};
}

Result<QuantConfig> Reader::read() {
  std::vector<std::string_view> names;
  for (const Method& method : kMethods) names.push_back(method.name);
  const bool mlx =
      !metadata_.has(key("quant_method")) && metadata_.has(key("bits")) && metadata_.has(key("group_size"));
  if (mlx) return unsupported("bits", "a model packed for mlx", nearest_names("", names, names.size()));
  KL_TRY(config_.method, one_of("quant_method", "", names));
  for (const Method& method : kMethods) {
    if (method.name == config_.method) KL_RETURN_IF_ERROR((this->*method.read)());
  }
  return std::move(config_);
}

}  // namespace

Result<QuantConfig> read_quant_config(const Metadata& metadata) {
  for (const char* key :
       {"quantization_config", "text_config.quantization_config", "compression_config", "quantization"}) {
    const auto first = metadata.values().lower_bound(std::string(key) + ".");
    const bool of_mlx = std::string_view(key) == "quantization";  // a name that others could use
    if (of_mlx && !metadata.has("quantization.group_size")) continue;
    if (first != metadata.values().end() && first->first.starts_with(std::string(key) + ".")) {
      return Reader(metadata, key).read();
    }
  }
  return QuantConfig{};
}

}  // namespace kinglet
