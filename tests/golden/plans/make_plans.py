"""Writes configs/NAME.json, published dimensions of whole models, and plans.json, how many parameters they make.

  python make_plans.py            (the environment of ../models/requirements.txt)

The counts are those of transformers' own model on the meta device, for `kinglet inspect --plan`:
  parameters  elements of all parameters, one that is tied counted once. No multi-token-prediction layers, which
              transformers leaves out, and no vision part.
  buffers     elements of stored tensors that transformers counts as buffers (correction biases of routers).
  active      parameters without those of the experts that a token does not use; the embedding is in it whole.
"""
import json
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "models"))

import first_list as first  # noqa: E402
import make_encoders as encoders  # noqa: E402
import second_list as second  # noqa: E402
import tiny_models as old  # noqa: E402

YARN40 = dict(beta_fast=32, beta_slow=1, factor=40, original_max_position_embeddings=4096, type="yarn")
LLAMA3 = dict(factor=8.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=8192,
              rope_type="llama3")


def _latent(hidden, dense, expert, layers, first_dense, heads, q_rank, v_head=128, nope=128):
    return dict(hidden_size=hidden, intermediate_size=dense, moe_intermediate_size=expert, num_hidden_layers=layers,
                first_k_dense_replace=first_dense, num_attention_heads=heads, num_key_value_heads=heads,
                q_lora_rank=q_rank, kv_lora_rank=512, qk_nope_head_dim=nope, qk_rope_head_dim=64, v_head_dim=v_head)


def _heads(hidden, width, layers, heads, kv, dim, vocabulary):
    return dict(hidden_size=hidden, intermediate_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=kv, head_dim=dim, vocab_size=vocabulary)


V3 = dict(**_latent(7168, 18432, 2048, 61, 3, 128, 1536), n_routed_experts=256, n_shared_experts=1,
          num_experts_per_tok=8, n_group=8, topk_group=4, routed_scaling_factor=2.5, vocab_size=129280,
          num_nextn_predict_layers=1, rope_scaling=dict(YARN40, mscale=1.0, mscale_all_dim=1.0))
LARGE_GEMMA4 = dict(head_dim=256, global_head_dim=512, vocab_size=262144, sliding_window=1024, attention_k_eq_v=True,
                    max_position_embeddings=262144)
DELTA = dict(linear_key_head_dim=128, linear_value_head_dim=128, linear_num_key_heads=16, linear_num_value_heads=32)

CONFIGS = {
    "llama-3.1-8b": old._llama(**_heads(4096, 14336, 32, 32, 8, 128, 128256), rope_theta=500000.0,
                               max_position_embeddings=131072, rope_scaling=LLAMA3, torch_dtype="bfloat16"),
    "qwen3-8b": old._qwen("qwen3", **_heads(4096, 12288, 36, 32, 8, 128, 151936), tie_word_embeddings=False,
                          max_position_embeddings=40960, torch_dtype="bfloat16"),
    "gemma-3-27b": old._gemma3(**_heads(5376, 21504, 62, 32, 16, 128, 262208), query_pre_attn_scalar=168,
                               sliding_window=1024, max_position_embeddings=131072,
                               rope_scaling=dict(factor=8.0, rope_type="linear")),
    "gemma-4-e2b": second._gemma4(**_heads(1536, 6144, 35, 8, 1, 256, 262144), global_head_dim=512, sliding_window=512,
                                  hidden_size_per_layer_input=256, num_kv_shared_layers=20, use_double_wide_mlp=True,
                                  layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7),
    "gemma-4-26b-a4b": second._gemma4(**LARGE_GEMMA4, hidden_size=2816, intermediate_size=2112, num_hidden_layers=30,
                                      num_attention_heads=16, num_key_value_heads=8, num_global_key_value_heads=2,
                                      enable_moe_block=True, num_experts=128, top_k_experts=8,
                                      moe_intermediate_size=704),
    "gemma-4-31b": second._gemma4(**LARGE_GEMMA4, hidden_size=5376, intermediate_size=21504, num_hidden_layers=60,
                                  num_attention_heads=32, num_key_value_heads=16, num_global_key_value_heads=4),
    "ministral-3-8b": dict(second._mistral3(
        "ministral3", **_heads(4096, 14336, 34, 32, 8, 128, 131072), max_position_embeddings=262144,
        tie_word_embeddings=False, rope_parameters=dict(
            beta_fast=32.0, beta_slow=1.0, factor=16.0, llama_4_scaling_beta=0.1, mscale=1.0, mscale_all_dim=1.0,
            original_max_position_embeddings=16384, rope_theta=1000000.0, rope_type="yarn", type="yarn")),
        architectures=["Ministral3ForCausalLM"]),
    "phi-4": first._phi3(hidden_size=5120, intermediate_size=17920, num_hidden_layers=40, num_attention_heads=40,
                         num_key_value_heads=10, vocab_size=100352, max_position_embeddings=16384,
                         original_max_position_embeddings=16384, rope_theta=250000.0),
    "mixtral-8x7b": first._mixtral(**_heads(4096, 14336, 32, 32, 8, 128, 32000), num_local_experts=8,
                                   num_experts_per_tok=2),
    "qwen3-30b-a3b": first._qwen_moe("qwen3", **_heads(2048, 6144, 48, 32, 4, 128, 151936), moe_intermediate_size=768,
                                     num_experts=128, num_experts_per_tok=8, norm_topk_prob=True,
                                     max_position_embeddings=40960),
    "qwen3-235b-a22b": first._qwen_moe("qwen3", **_heads(4096, 12288, 94, 64, 4, 128, 151936), num_experts=128,
                                       moe_intermediate_size=1536, num_experts_per_tok=8, norm_topk_prob=True,
                                       max_position_embeddings=40960),
    "qwen3-next-80b-a3b": first._qwen3_next(**_heads(2048, 5120, 48, 16, 2, 256, 151936), **DELTA, num_experts=512,
                                            moe_intermediate_size=512, shared_expert_intermediate_size=512,
                                            num_experts_per_tok=10),
    "qwen3.5-35b-a3b": second._qwen35("_moe", hidden_size=2048, num_hidden_layers=40, num_attention_heads=16,
                                      num_key_value_heads=2, head_dim=256, **DELTA, num_experts=256,
                                      num_experts_per_tok=8, moe_intermediate_size=512,
                                      shared_expert_intermediate_size=512, vocab_size=248320),
    "deepseek-v2-lite": first._deepseek(2, **_latent(2048, 10944, 1408, 27, 1, 16, None), n_routed_experts=64,
                                        n_shared_experts=2, num_experts_per_tok=6, n_group=1, topk_group=1,
                                        topk_method="greedy", routed_scaling_factor=1.0, vocab_size=102400,
                                        rope_scaling=dict(YARN40, mscale=0.707, mscale_all_dim=0.707)),
    "deepseek-v3": first._deepseek(3, **V3),
    "deepseek-v3.2": second._deepseek_v32(**V3, index_n_heads=64, index_head_dim=128, index_topk=2048),
    "deepseek-v4-flash": second._deepseek_v4(hidden_size=4096, moe_intermediate_size=2048, num_hidden_layers=43,
                                             num_attention_heads=64, head_dim=512, qk_rope_head_dim=64,
                                             q_lora_rank=1024, n_routed_experts=256, num_experts_per_tok=6,
                                             routed_scaling_factor=1.5, swiglu_limit=10.0, sliding_window=128,
                                             o_groups=8, o_lora_rank=1024, index_n_heads=64, index_head_dim=128,
                                             index_topk=512, hc_mult=4, hc_sinkhorn_iters=20, hc_eps=1e-6,
                                             compress_ratios=[0, 0] + [4, 128] * 20 + [4, 0], num_hash_layers=3,
                                             num_nextn_predict_layers=1, vocab_size=129280,
                                             rope_scaling=dict(beta_fast=32, beta_slow=1, factor=16,
                                                               original_max_position_embeddings=65536, type="yarn")),
    "kimi-k2": first._deepseek(3, model_type="kimi_k2", **{
        **V3, "num_attention_heads": 64, "num_key_value_heads": 64, "n_routed_experts": 384, "n_group": 1,
        "topk_group": 1, "first_k_dense_replace": 1, "routed_scaling_factor": 2.827, "vocab_size": 163840,
        "num_nextn_predict_layers": 0, "rope_theta": 50000.0, "max_position_embeddings": 131072,
        "rope_scaling": dict(YARN40, factor=32.0, beta_fast=1.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)}),
    "glm-4.5": first._glm4_moe(**_heads(5120, 12288, 92, 96, 8, 128, 151552), moe_intermediate_size=1536,
                               first_k_dense_replace=3, n_routed_experts=160, num_experts_per_tok=8,
                               routed_scaling_factor=2.5, use_qk_norm=True),
    "glm-4.5-air": first._glm4_moe(**_heads(4096, 10944, 46, 96, 8, 128, 151552), moe_intermediate_size=1408,
                                   first_k_dense_replace=1, n_routed_experts=128, num_experts_per_tok=8,
                                   routed_scaling_factor=1.0),
    "glm-5": second._glm5(**_latent(6144, 12288, 2048, 78, 3, 64, 2048, v_head=256, nope=192), head_dim=64,
                          n_routed_experts=256, n_shared_experts=1, num_experts_per_tok=8, index_n_heads=32,
                          index_head_dim=128, index_topk=2048, num_nextn_predict_layers=1, vocab_size=154880),
    "hunyuan-a13b": first._hunyuan("moe", **_heads(4096, 3072, 32, 32, 8, 128, 128167), num_experts=64,
                                   moe_topk=[8] * 32, moe_intermediate_size=[3072] * 32, num_shared_expert=[1] * 32,
                                   use_mixed_mlp_moe=True, moe_layer_num_skipped=0,
                                   rope_scaling=first._alpha(1000.0)),
    "gpt-oss-20b": first._gpt_oss(**_heads(2880, 2880, 24, 64, 8, 64, 201088), num_local_experts=32,
                                  num_experts_per_tok=4, sliding_window=128,
                                  layer_types=["sliding_attention", "full_attention"] * 12),
    "minimax-m2": first._minimax_m2(**_heads(3072, 1536, 62, 48, 8, 128, 200064), rotary_dim=64,
                                    num_local_experts=256, num_experts_per_tok=8, attn_type_list=[1] * 62),
    "minimax-text-01": first._minimax_released("MiniMaxText01ForCausalLM", "minimax_text_01", 3.5565588200778455,
                                               **_heads(6144, 9216, 80, 64, 8, 128, 200064), rotary_dim=64,
                                               num_local_experts=32, num_experts_per_tok=2,
                                               attn_type_list=([0] * 7 + [1]) * 10),
}
# Encoders of text.
CONFIGS["all-minilm-l6"] = encoders._bert(
    "bert", "BertModel", hidden_size=384, num_attention_heads=12, num_hidden_layers=6, intermediate_size=1536,
    max_position_embeddings=512, vocab_size=30522)
CONFIGS["bge-m3"] = encoders._bert(
    "xlm-roberta", "XLMRobertaModel", hidden_size=1024, num_attention_heads=16, num_hidden_layers=24,
    intermediate_size=4096, max_position_embeddings=8194, type_vocab_size=1, vocab_size=250002, pad_token_id=1,
    layer_norm_eps=1e-5)
ORACLES = {"kimi_k2": lambda c: {**c, "model_type": "deepseek_v3"}, "minimax_text_01": first._minimax_oracle}


def used_share(name, parameter, config):
    """The share of a parameter that one token uses: of stacked experts as many as the router keeps, else all."""
    if ".experts." not in name:
        return 1, 1
    kept = config.top_k_experts if config.model_type == "gemma4_text" else config.num_experts_per_tok
    kept = kept[int(name.split(".")[2])] if isinstance(kept, list) else kept
    return kept, parameter.shape[0]


def count(config):
    with torch.device("meta"):
        encodes = config.model_type in ("bert", "xlm-roberta")
        model = (AutoModel if encodes else AutoModelForCausalLM).from_config(config)
    kept = model.state_dict()
    row = dict(parameters=0, buffers=0, active=0)
    for name, p in model.named_parameters():
        used, of = used_share(name, p, config)
        row["parameters"] += p.numel()
        row["active"] += p.numel() // of * used
    derived = ("slope_rate", "query_decay", "key_decay", "diagonal_decay")  # computed from the config
    row["buffers"] = sum(b.numel() for n, b in model.named_buffers() if n in kept and not n.endswith(derived))
    return row


def main():
    logging.set_verbosity_error()
    (HERE / "configs").mkdir(exist_ok=True)
    rows = []
    for name, published in CONFIGS.items():
        path = HERE / "configs" / f"{name}.json"
        path.write_text(json.dumps(published, indent=1) + "\n")
        fields = dict(ORACLES.get(published["model_type"], dict)(published))
        fields.pop("architectures", None)
        row = dict(name=name, config=f"configs/{name}.json", **count(AutoConfig.for_model(fields.pop("model_type"), **fields)))
        print(f"{name:20s} {row['parameters'] / 1e9:9.3f} B, active {row['active'] / 1e9:8.3f} B", flush=True)
        rows.append(row)
    lines = ",\n".join("  " + json.dumps(r) for r in rows)
    (HERE / "plans.json").write_text('{"format": 1, "plans": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
