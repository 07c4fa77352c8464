// BERT and RoBERTa: encoders of text whose blocks norm behind, with learned positions; a classification head where the
// checkpoint has one. Source: transformers models/bert, models/roberta, models/xlm_roberta.
#include <cmath>

#include "families/common.h"
#include "families/families.h"

namespace kinglet {
namespace {

constexpr std::string_view kGguf[] = {"bert"};
constexpr std::string_view kHf[] = {"BertModel",
                                    "BertForMaskedLM",
                                    "BertForPreTraining",
                                    "BertForSequenceClassification",
                                    "RobertaModel",
                                    "RobertaForMaskedLM",
                                    "RobertaForSequenceClassification",
                                    "XLMRobertaModel",
                                    "XLMRobertaForMaskedLM",
                                    "XLMRobertaForSequenceClassification"};
constexpr std::array<TensorRule, 35> kTensors = {{
    {Slot::kEmbedding, "token_embd.weight", "embeddings.word_embeddings.weight"},
    {Slot::kPositionEmbedding, "position_embd.weight", "embeddings.position_embeddings.weight"},
    {Slot::kTokenTypes, "token_types.weight", "embeddings.token_type_embeddings.weight"},
    {Slot::kEmbeddingNorm, "token_embd_norm.weight", "embeddings.LayerNorm.weight"},
    {Slot::kEmbeddingNormBias, "token_embd_norm.bias", "embeddings.LayerNorm.bias"},
    {Slot::kQ, "blk.{}.attn_q.weight", "encoder.layer.{}.attention.self.query.weight"},
    {Slot::kQBias, "blk.{}.attn_q.bias", "encoder.layer.{}.attention.self.query.bias"},
    {Slot::kK, "blk.{}.attn_k.weight", "encoder.layer.{}.attention.self.key.weight"},
    {Slot::kKBias, "blk.{}.attn_k.bias", "encoder.layer.{}.attention.self.key.bias"},
    {Slot::kV, "blk.{}.attn_v.weight", "encoder.layer.{}.attention.self.value.weight"},
    {Slot::kVBias, "blk.{}.attn_v.bias", "encoder.layer.{}.attention.self.value.bias"},
    {Slot::kAttentionOutput, "blk.{}.attn_output.weight", "encoder.layer.{}.attention.output.dense.weight"},
    {Slot::kAttentionOutputBias, "blk.{}.attn_output.bias", "encoder.layer.{}.attention.output.dense.bias"},
    {Slot::kAttentionNorm, "blk.{}.attn_output_norm.weight", "encoder.layer.{}.attention.output.LayerNorm.weight"},
    {Slot::kAttentionNormBias, "blk.{}.attn_output_norm.bias", "encoder.layer.{}.attention.output.LayerNorm.bias"},
    {Slot::kUp, "blk.{}.ffn_up.weight", "encoder.layer.{}.intermediate.dense.weight"},
    {Slot::kUpBias, "blk.{}.ffn_up.bias", "encoder.layer.{}.intermediate.dense.bias"},
    {Slot::kDown, "blk.{}.ffn_down.weight", "encoder.layer.{}.output.dense.weight"},
    {Slot::kDownBias, "blk.{}.ffn_down.bias", "encoder.layer.{}.output.dense.bias"},
    {Slot::kFfnNorm, "blk.{}.layer_output_norm.weight", "encoder.layer.{}.output.LayerNorm.weight"},
    {Slot::kFfnNormBias, "blk.{}.layer_output_norm.bias", "encoder.layer.{}.output.LayerNorm.bias"},
    // The names that BERT's first checkpoints have for their norms.
    {Slot::kEmbeddingNorm, "", "embeddings.LayerNorm.gamma"},
    {Slot::kEmbeddingNormBias, "", "embeddings.LayerNorm.beta"},
    {Slot::kAttentionNorm, "", "encoder.layer.{}.attention.output.LayerNorm.gamma"},
    {Slot::kAttentionNormBias, "", "encoder.layer.{}.attention.output.LayerNorm.beta"},
    {Slot::kFfnNorm, "", "encoder.layer.{}.output.LayerNorm.gamma"},
    {Slot::kFfnNormBias, "", "encoder.layer.{}.output.LayerNorm.beta"},
    // BERT's head reads the pooler, RoBERTa's has a dense layer of its own. A BertModel without the pooler will do.
    {Slot::kPooler, "cls.weight", "pooler.dense.weight", false},
    {Slot::kPoolerBias, "cls.bias", "pooler.dense.bias", false},
    {Slot::kPooler, "", "classifier.dense.weight", false},
    {Slot::kPoolerBias, "", "classifier.dense.bias", false},
    {Slot::kClassifier, "cls.output.weight", "classifier.weight"},
    {Slot::kClassifierBias, "cls.output.bias", "classifier.bias", false},
    {Slot::kClassifier, "", "classifier.out_proj.weight", false},
    {Slot::kClassifierBias, "", "classifier.out_proj.bias", false},
}};

struct Encoder {
  int64_t layers = 0, heads = 0, ffn = 0;
  FfnActivation activation = FfnActivation::kGeluErf;
};

void fill_layers(FieldReader& r, std::string_view heads_key, ModelSpec& spec, const Encoder& e) {
  if (spec.width % e.heads != 0)
    r.fail(heads_key,
           "found " + std::to_string(e.heads) + ", expected a divisor of the width of " + std::to_string(spec.width));
  LayerSpec layer;
  layer.norms_behind = true;
  AttentionSpec& a = layer.attention;
  a.causal = false;
  a.heads = a.kv_heads = e.heads;
  a.head_dim = a.value_dim = spec.width / e.heads;
  a.scale = 1.0 / std::sqrt(static_cast<double>(a.head_dim));
  layer.ffn.hidden = e.ffn;
  layer.ffn.gated = false;
  layer.ffn.activation = e.activation;
  spec.layers.assign(static_cast<size_t>(e.layers), layer);
}

FfnActivation activation_of(FieldReader& r) {
  const std::string name = r.string_or("hidden_act", "gelu");
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return FfnActivation::kGeluTanh;
  if (name == "silu") return FfnActivation::kSilu;
  if (name != "gelu") r.unknown("hidden_act", name, {"gelu", "gelu_new", "gelu_pytorch_tanh", "silu"});
  return FfnActivation::kGeluErf;
}

Result<ModelSpec> from_config(const Checkpoint& checkpoint) {
  FieldReader r(checkpoint.metadata, "");
  ModelSpec spec;
  const std::string architecture = r.strings("architectures").front();
  const bool roberta = architecture.find("Roberta") != std::string::npos;
  const bool classifies = architecture.ends_with("ForSequenceClassification");
  spec.architecture = architecture;
  spec.width = r.integer("hidden_size", 1, kMaxDimension);
  spec.vocabulary = r.integer("vocab_size", 1, kMaxDimension);
  spec.norm_epsilon = r.number_or("layer_norm_eps", 1e-12);
  spec.encoder.positions = r.integer("max_position_embeddings", 1, kMaxContext);
  spec.encoder.position_offset = roberta ? r.integer_or("pad_token_id", 0, kMaxContext, 1) + 1 : 0;
  spec.encoder.token_types = r.integer_or("type_vocab_size", 1, kMaxDimension, 2);
  spec.encoder.pooler = classifies || architecture.ends_with("Model");
  spec.context = spec.encoder.positions - spec.encoder.position_offset;
  if (classifies) spec.labels = classification_labels(r);
  Encoder e;
  e.layers = r.integer("num_hidden_layers", 1, kMaxLayers);
  e.heads = r.integer("num_attention_heads", 1, kMaxDimension);
  e.ffn = r.integer("intermediate_size", 1, kMaxDimension);
  e.activation = activation_of(r);
  const std::string positions = r.string_or("position_embedding_type", "absolute");
  if (positions != "absolute") r.unknown("position_embedding_type", positions, {"absolute"});
  if (r.boolean_or("is_decoder", false)) r.unsupported("is_decoder", "found true, only encoders are supported");
  KL_RETURN_IF_ERROR(r.status());
  fill_layers(r, "num_attention_heads", spec, e);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

Result<ModelSpec> from_gguf(const Checkpoint& checkpoint) {
  FieldReader r(checkpoint.metadata, "bert.");
  ModelSpec spec;
  spec.architecture = "bert";
  spec.width = r.integer("embedding_length", 1, kMaxDimension);
  spec.context = r.integer("context_length", 1, kMaxContext);
  spec.norm_epsilon = r.number_or("attention.layer_norm_epsilon", 1e-12);
  Encoder e;
  e.layers = r.integer("block_count", 1, kMaxLayers);
  e.heads = r.integer("attention.head_count", 1, kMaxDimension);
  e.ffn = r.integer("feed_forward_length", 1, kMaxDimension);
  if (r.boolean_or("attention.causal", false))
    r.unsupported("attention.causal", "found true, only encoders are supported");
  KL_RETURN_IF_ERROR(r.status());
  const TensorView* words = checkpoint.find("token_embd.weight");
  const TensorView* positions = checkpoint.find("position_embd.weight");
  const TensorView* types = checkpoint.find("token_types.weight");
  if (words == nullptr || positions == nullptr || types == nullptr)
    return Error{ErrorCode::kInvalid, checkpoint.path +
                                          ": one of the tensors token_embd.weight, position_embd.weight and "
                                          "token_types.weight is missing"};
  spec.vocabulary = words->rows();
  spec.encoder.positions = positions->rows();
  spec.encoder.token_types = types->rows();
  spec.encoder.pooler = checkpoint.find("cls.weight") != nullptr;
  if (const TensorView* head = checkpoint.find("cls.output.weight")) spec.labels = head->rows();
  fill_layers(r, "attention.head_count", spec, e);
  KL_RETURN_IF_ERROR(r.status());
  return spec;
}

}  // namespace

const Family kBert = {"bert", kGguf, kHf, from_gguf, from_config, kTensors};

}  // namespace kinglet
