// Configurations that lie: tiny models whose config.json was changed must be refused with a message that names the key,
// what was found and what is supported; never by a crash, and never by asking for memory without end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "families/family.h"
#include "formats/checkpoint.h"
#include "formats/test_files.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// What is said of the tiny model `name` after its configuration was patched (null removes a key).
std::string refusal(const std::string& name, const Json& patch) {
  const std::filesystem::path models = KINGLET_SOURCE_DIR "/tests/golden/models";
  const std::filesystem::path source = models / (exists(models / "hf" / name) ? "hf" : "encoders") / name;
  const testing_files::TemporaryFolder folder;
  std::ifstream in(source / "config.json");
  Json config = Json::parse(in);
  config.merge_patch(patch);
  folder.write("config.json", config.dump());
  std::filesystem::create_symlink(source / "model.safetensors", folder.path("model.safetensors"));
  const auto checkpoint = open_checkpoint(folder.path());
  if (!checkpoint.ok()) return "unreadable: " + checkpoint.error().message;
  const auto bound = bind_model(**checkpoint);
  return bound.ok() ? "no error" : bound.error().message;
}

// The bounds refuse no model that there is.
TEST(BadConfig, TheTinyModelsAreGood) {
  int bound = 0;
  for (const char* form : {"hf", "gguf"})
    for (const auto& entry :
         std::filesystem::directory_iterator(KINGLET_SOURCE_DIR "/tests/golden/models/" + std::string(form))) {
      const auto checkpoint = open_checkpoint(entry.path().string());
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
      if (!find_family(**checkpoint).ok()) continue;  // golden values that are there before their family
      const auto model = bind_model(**checkpoint);
      EXPECT_TRUE(model.ok()) << entry.path() << ": " << model.error().message;
      bound++;
    }
  EXPECT_GT(bound, 80);
}

TEST(BadConfig, UnknownArchitecture) {
  EXPECT_THAT(refusal("qwen3-five", {{"architectures", {"Qwen3ForCausalML"}}}),
              AllOf(HasSubstr("config.json: architectures: found \"Qwen3ForCausalML\""),
                    HasSubstr("supported are Qwen3ForCausalLM, ")));
  EXPECT_THAT(refusal("qwen3-five", {{"architectures", Json::array()}}), HasSubstr("architectures"));
}

TEST(BadConfig, UnknownActivationAndRopeType) {
  EXPECT_THAT(refusal("qwen3-five", {{"hidden_act", "gelu_pytorch"}}),
              HasSubstr("hidden_act: found \"gelu_pytorch\", supported are gelu_pytorch_tanh, "));
  EXPECT_THAT(refusal("qwen3-five", {{"rope_scaling", {{"rope_type", "yam"}}}, {"rope_parameters", nullptr}}),
              HasSubstr("rope_scaling.rope_type: found \"yam\", supported are yarn, "));
}

TEST(BadConfig, LiesAboutItsTensors) {
  EXPECT_THAT(refusal("qwen3-five", {{"vocab_size", 4096}}),
              AllOf(HasSubstr("model.embed_tokens.weight (embedding): found shape ["), HasSubstr("expected [4096, ")));
  EXPECT_THAT(refusal("qwen3-five", {{"intermediate_size", 17}}), HasSubstr("(ffn gate): found shape ["));
  EXPECT_THAT(refusal("qwen3-five", {{"num_hidden_layers", 400}}),
              AllOf(HasSubstr("is missing"), HasSubstr("400 layers")));
  EXPECT_THAT(refusal("qwen3-five", {{"num_key_value_heads", 4}, {"num_attention_heads", 5}}),
              AllOf(HasSubstr("num_key_value_heads"), HasSubstr("divisor of 5")));
  EXPECT_THAT(refusal("qwen3-five", {{"hidden_size", "many"}}), HasSubstr("config.json: hidden_size: "));
}

TEST(BadConfig, Experts) {
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"num_experts_per_tok", 4000}}),
              AllOf(HasSubstr("num_experts_per_tok: found 4000 experts used of ")));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"n_group", 7}}), HasSubstr("expected groups that divide"));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"topk_group", 1000}}), HasSubstr("topk_group: found 1000 of "));
  EXPECT_THAT(refusal("hunyuan-moe-alpha", {{"moe_topk", 4000}}), HasSubstr("moe_topk: found 4000 experts used of "));
  EXPECT_THAT(refusal("hunyuan-moe-alpha", {{"num_shared_expert", INT64_MIN}}),
              HasSubstr("num_shared_expert: found -9"));
}

TEST(BadConfig, Encoders) {
  EXPECT_EQ(refusal("bert-mean", Json::object()), "no error");
  EXPECT_THAT(refusal("bert-mean", {{"num_attention_heads", 5}}),
              HasSubstr("num_attention_heads: found 5, expected a divisor of the width of 12"));
  EXPECT_THAT(refusal("bert-mean", {{"hidden_act", "gelu_fast"}}),
              HasSubstr("hidden_act: found \"gelu_fast\", supported are gelu_new, "));
  EXPECT_THAT(refusal("bert-mean", {{"position_embedding_type", "relative_key"}}),
              HasSubstr("position_embedding_type: found \"relative_key\", supported are absolute"));
  EXPECT_THAT(refusal("bert-mean", {{"is_decoder", true}}), HasSubstr("is_decoder"));
  EXPECT_THAT(refusal("bert-mean", {{"max_position_embeddings", 43}}),
              HasSubstr("(position embedding): found shape [44, 12], expected [43, 12]"));
  EXPECT_THAT(refusal("bert-mean", {{"type_vocab_size", 3}}), HasSubstr("(token type embedding): found shape [2, 12]"));
  EXPECT_THAT(refusal("xlm-roberta-first", {{"pad_token_id", 45}}), HasSubstr("context: the configuration makes it 0"));
  EXPECT_THAT(refusal("xlm-roberta-first", {{"pad_token_id", -2}}),
              HasSubstr("pad_token_id: expected an integer from 0"));
  EXPECT_THAT(refusal("bert-cross", {{"id2label", {{"1", "LABEL_1"}}}}),
              HasSubstr("(classification head): found shape [1, 10], expected [2, 10]"));
  EXPECT_THAT(refusal("bert-mean", {{"architectures", {"BertForSequenceClassification"}}}),
              HasSubstr("classifier.weight (classification head) is missing"));
  EXPECT_THAT(refusal("qwen3-judge", {{"tie_word_embeddings", false}}), HasSubstr("the output head (lm_head.weight)"));
  EXPECT_EQ(refusal("qwen3-embedding", {{"tie_word_embeddings", true}}), "no error");
}

TEST(BadConfig, SharedKeysAndValues) {
  const auto text = [](const Json& patch) { return refusal("gemma4-e2b", {{"text_config", patch}}); };
  EXPECT_THAT(text({{"num_kv_shared_layers", 5}}), HasSubstr("num_kv_shared_layers"));
  EXPECT_THAT(text({{"num_kv_shared_layers", 3}}),
              HasSubstr("num_kv_shared_layers: found 3, but no layer before them is of the kind of layer 2"));
  EXPECT_THAT(text({{"num_kv_shared_layers", 1}}), HasSubstr("(ffn gate): found shape [80, 32], expected [40, 32]"));
  EXPECT_THAT(text({{"layer_types", {"full_attention"}}}), HasSubstr("found 1 entries, expected one a layer: 5"));
}

// The same of a GGUF file's lists, in which a layer has an entry.
TEST(BadConfig, ListsOfAnotherLength) {
  const auto file = open_checkpoint(KINGLET_SOURCE_DIR "/tests/golden/models/gguf/gemma4-e2b.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto said = [&](const std::string& key, const MetadataValue& value) {
    Checkpoint patched = **file;  // its index views names that `file` keeps
    patched.metadata.set("gemma4." + key, value);
    const auto bound = bind_model(patched);
    return bound.ok() ? std::string("no error") : bound.error().message;
  };
  using Counts = std::vector<int64_t>;
  EXPECT_THAT(said("feed_forward_length", Counts{40, 40}),
              HasSubstr("feed_forward_length: found 2 entries, expected one a layer: 5"));
  EXPECT_THAT(said("feed_forward_length", Counts{40, 40, 40, 80, -80}), HasSubstr("found -80, expected 1 to "));
  EXPECT_THAT(said("feed_forward_length", Counts{}), HasSubstr("found 0 entries"));
  EXPECT_THAT(said("feed_forward_length", Counts{40, 40, 40, 80, 40}), HasSubstr("(ffn gate): found shape [80, 32]"));
  EXPECT_THAT(said("attention.head_count_kv", Counts{1, 1, 1}), HasSubstr("found 3 entries"));
  EXPECT_THAT(said("attention.head_count_kv", Counts{1, 1, 1, 3, 1}), HasSubstr("heads of the same number and sizes"));
  EXPECT_THAT(said("attention.sliding_window_pattern", std::vector<bool>{true}), HasSubstr("found 1 entries"));
  EXPECT_THAT(said("attention.sliding_window_pattern", int64_t{6}), HasSubstr("sliding_window_pattern"));
  EXPECT_THAT(said("attention.shared_kv_layers", int64_t{5}), HasSubstr("shared_kv_layers"));
  EXPECT_THAT(said("attention.key_length_swa", int64_t{1} << 24), HasSubstr("rows of queries"));
  EXPECT_THAT(said("rope.dimension_count_swa", int64_t{18}), HasSubstr("rotary dimensions"));
}

TEST(BadConfig, LayerInputsAndGlobalHeads) {
  const auto text = [](const Json& patch) { return refusal("gemma4-e2b", {{"text_config", patch}}); };
  EXPECT_THAT(text({{"hidden_size_per_layer_input", int64_t{1} << 24}}),
              HasSubstr("floats of the layers' inputs: the configuration makes it more"));
  EXPECT_THAT(text({{"hidden_size_per_layer_input", 9}}), HasSubstr("(per-layer embedding): found shape [89, 40]"));
  EXPECT_THAT(text({{"vocab_size_per_layer_input", 88}}), HasSubstr("supported is the vocabulary's 89"));
  EXPECT_THAT(text({{"global_head_dim", 7}}), HasSubstr("an even number"));
  EXPECT_THAT(text({{"rope_parameters", {{"full_attention", {{"partial_rotary_factor", 2}}}}}}),
              HasSubstr("partial_rotary_factor: found 2.0"));
  EXPECT_THAT(text({{"use_bidirectional_attention", "all"}}), HasSubstr("only causal models"));
  EXPECT_THAT(refusal("gemma4-moe", {{"num_global_key_value_heads", 3}}), HasSubstr("a divisor of the 4 heads"));
  EXPECT_THAT(refusal("gemma4-moe", {{"attention_k_eq_v", false}}), HasSubstr("(key): found shape [32, 32]"));
}

TEST(BadConfig, CompressedAttentionAndStreams) {
  const auto mixed = [](const Json& patch) { return refusal("deepseek-v4-mixed", patch); };
  EXPECT_THAT(mixed({{"hc_mult", 17}}), HasSubstr("residual streams: the configuration makes it 17, expected 1 to 16"));
  EXPECT_THAT(mixed({{"hc_mult", 3}}), HasSubstr("(stream weights of the head): found shape [2, 64]"));
  EXPECT_THAT(mixed({{"hc_eps", -1}}), HasSubstr("epsilon of the streams' weights"));
  EXPECT_THAT(mixed({{"hc_sinkhorn_iters", 0}}),
              HasSubstr("hc_sinkhorn_iters: expected an integer from 1 to 4096, found "));
  EXPECT_THAT(mixed({{"o_groups", 3}}), HasSubstr("o_groups: found 3, expected a divisor of the 4 heads"));
  EXPECT_THAT(mixed({{"o_lora_rank", int64_t{1} << 24}}), HasSubstr("rows of the groups' results"));
  EXPECT_THAT(mixed({{"qk_rope_head_dim", 7}}), HasSubstr("qk_rope_head_dim: found 7 rotary dimensions"));
  EXPECT_THAT(mixed({{"qk_rope_head_dim", 16}, {"index_head_dim", 12}}), HasSubstr("dimensions of an index key"));
  EXPECT_THAT(mixed({{"num_key_value_heads", 2}}), HasSubstr("num_key_value_heads: found 2, supported is 1"));
  EXPECT_THAT(mixed({{"layer_types", {"sliding_attention"}}}), HasSubstr("expected one a layer: 4"));
  EXPECT_THAT(mixed({{"layer_types", {"a", "b", "c", "d"}}}), HasSubstr("layer_types: found \"a\", supported are "));
  EXPECT_THAT(mixed({{"compress_rates", {{"heavily_compressed_attention", 1 << 20}}}}),
              HasSubstr("layer 2: positions of a compressed entry"));
  EXPECT_THAT(mixed({{"compress_rates", {{"compressed_sparse_attention", 5}}}}), HasSubstr("(compressor bias)"));
  EXPECT_THAT(mixed({{"mlp_layer_types", {"moe", "moe", "moe", "hash_moe"}}}),
              HasSubstr("layers.3.ffn.gate.tid2eid (experts of tokens) is missing"));
  EXPECT_THAT(mixed({{"mlp_layer_types", {"moe"}}}), HasSubstr("mlp_layer_types: found 1 entries"));
  EXPECT_THAT(mixed({{"n_shared_experts", 2}}), HasSubstr("n_shared_experts: found 2, supported is 1"));
  EXPECT_THAT(mixed({{"scoring_func", "tanh"}}), HasSubstr("scoring_func: found \"tanh\", supported are "));
  EXPECT_THAT(mixed({{"norm_topk_prob", false}}), HasSubstr("norm_topk_prob: supported is true"));
  const auto released = [](const Json& patch) { return refusal("deepseek-v4-released", patch); };
  EXPECT_THAT(released({{"compress_ratios", {0, 4, 64}}}), HasSubstr("compress_ratios: found 64, supported are 0, 4 "));
  EXPECT_THAT(released({{"compress_ratios", {0, 4}}}), HasSubstr("compress_ratios: found 2 entries"));
}

TEST(BadConfig, GrowthOfQueries) {
  const auto text = [](const Json& patch) { return refusal("ministral3-nested", {{"text_config", patch}}); };
  EXPECT_THAT(text({{"model_type", "mistral4"}}),
              HasSubstr("text_config.model_type: found \"mistral4\", supported are "));
  EXPECT_THAT(text({{"rope_parameters", {{"original_max_position_embeddings", 0}}}}),
              HasSubstr("rope_parameters.original_max_position_embeddings: expected an integer from 1 to "));
  EXPECT_THAT(text({{"rope_parameters", {{"rope_type", "default"}}}}),
              HasSubstr("positions between two steps of the queries' growth: the configuration makes it 0"));
}

TEST(BadConfig, SectionsOfTheRotaryEmbedding) {
  const auto sections = [](const Json& list) {
    return refusal("qwen35-text", {{"rope_parameters", {{"mrope_section", list}}}});
  };
  EXPECT_THAT(sections({1, 1, 1, 1, 1}), HasSubstr("rope_parameters.mrope_section: expected up to 4 counts of pairs"));
  EXPECT_THAT(sections({1, -1, 0}), HasSubstr("rope_parameters.mrope_section: expected up to 4 counts of pairs"));
  EXPECT_THAT(sections("all"), HasSubstr("rope_parameters.mrope_section"));
}

// Each number is within its own bounds; what they make together is not.
TEST(BadConfig, ProductsWithoutEnd) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const Json many = {{"num_attention_heads", kMost}, {"num_key_value_heads", kMost}, {"head_dim", 4096}};
  EXPECT_THAT(refusal("qwen3-five", many),
              HasSubstr("rows of queries: the configuration makes it more, expected 1 to "));
  EXPECT_THAT(refusal("qwen3-five", {{"num_attention_heads", 4096}, {"num_key_value_heads", 1}, {"head_dim", nullptr}}),
              HasSubstr("heads and their sizes: the configuration makes it 0, expected 1 to "));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"n_routed_experts", kMost}}),
              HasSubstr("experts: the configuration makes it 16777216"));
  EXPECT_THAT(refusal("deepseek-v3-mtp", {{"n_routed_experts", 65536}, {"moe_intermediate_size", kMost}}),
              AllOf(HasSubstr("layer "), HasSubstr("the configuration makes it more")));
  EXPECT_THAT(refusal("qwen3-next-three", {{"linear_num_value_heads", kMost}, {"linear_value_head_dim", kMost}}),
              HasSubstr("the configuration makes it more"));
  EXPECT_THAT(refusal("qwen3-next-three", {{"linear_num_key_heads", 0}}), HasSubstr("linear_num_key_heads"));
  EXPECT_THAT(refusal("glm4-moe-norms", {{"rotary_dim", 65536}}), HasSubstr("rotary dimensions"));
  EXPECT_THAT(refusal("glm4-moe-norms", {{"rotary_dim", 3}}), HasSubstr("an even number"));
}

}  // namespace
}  // namespace kinglet
