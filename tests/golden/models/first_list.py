"""Tiny models of the families whose oracle is plain transformers: mixtures of experts, latent attention, Phi, GLM, ...

Each config has the keys of a published release of its family. Every row: BF16 on the common grid unless said otherwise.
"""
from rows import new_style, row

COMMON = dict(attention_dropout=0.0, hidden_act="silu", initializer_range=0.02, use_cache=True, torch_dtype="bfloat16",
              bos_token_id=1, eos_token_id=2)


def _row(name, family, config, **kw):
    return row(name, family, config, **{**dict(dtype="BF16", grid=True, tolerance=2e-4), **kw})


def _mixtral(**kw):
    return {**COMMON, **dict(architectures=["MixtralForCausalLM"], model_type="mixtral", max_position_embeddings=32768,
                             output_router_logits=False, rms_norm_eps=1e-5, rope_theta=1000000.0,
                             router_aux_loss_coef=0.02, sliding_window=None, tie_word_embeddings=False), **kw}


def _qwen_moe(kind, **kw):
    base = dict(architectures=[{"qwen2": "Qwen2MoeForCausalLM", "qwen3": "Qwen3MoeForCausalLM"}[kind]],
                model_type=f"{kind}_moe", decoder_sparse_step=1, max_position_embeddings=8192, max_window_layers=28,
                output_router_logits=False, rms_norm_eps=1e-6, rope_theta=1000000.0, router_aux_loss_coef=0.001,
                sliding_window=None, tie_word_embeddings=False, use_sliding_window=False)
    if kind == "qwen3":
        base.update(attention_bias=False, mlp_only_layers=[], rope_scaling=None)
    return {**COMMON, **base, **kw}


def _deepseek(version, **kw):
    base = dict(architectures=[f"DeepseekV{version}ForCausalLM"], model_type=f"deepseek_v{version}",
                attention_bias=False, aux_loss_alpha=0.001, ep_size=1, max_position_embeddings=163840,
                moe_layer_freq=1, pretraining_tp=1, rms_norm_eps=1e-6, rope_theta=10000, seq_aux=True,
                tie_word_embeddings=False, bos_token_id=0, eos_token_id=1)
    if version == 2:
        base.update(norm_topk_prob=False, scoring_func="softmax")
    else:
        base.update(norm_topk_prob=True, scoring_func="sigmoid", topk_method="noaux_tc")
    return {**COMMON, **base, **kw}


def _yarn(factor, original, mscale, **kw):
    return dict(beta_fast=32, beta_slow=1, factor=factor, mscale=mscale, mscale_all_dim=mscale,
                original_max_position_embeddings=original, type="yarn", **kw)


def _gemma2(**kw):
    base = dict(architectures=["Gemma2ForCausalLM"], model_type="gemma2", attention_bias=False,
                attention_dropout=0.0, attn_logit_softcapping=50.0, bos_token_id=2, cache_implementation="hybrid",
                eos_token_id=1, final_logit_softcapping=30.0, hidden_act="gelu_pytorch_tanh",
                hidden_activation="gelu_pytorch_tanh", initializer_range=0.02, max_position_embeddings=8192,
                pad_token_id=0, rms_norm_eps=1e-6, rope_theta=10000.0, torch_dtype="bfloat16", use_cache=True)
    return {**base, **kw}


def _phi3(**kw):
    base = dict(architectures=["Phi3ForCausalLM"], model_type="phi3", attention_bias=False, embd_pdrop=0.0,
                max_position_embeddings=4096, original_max_position_embeddings=4096, pad_token_id=0,
                resid_pdrop=0.0, rms_norm_eps=1e-5, rope_scaling=None, rope_theta=10000.0, sliding_window=None,
                tie_word_embeddings=False)
    return {**COMMON, **base, **kw}


def _glm(kind, **kw):
    base = dict(architectures=[{"glm": "GlmForCausalLM", "glm4": "Glm4ForCausalLM"}[kind]], model_type=kind,
                attention_bias=True, eos_token_id=[1, 3, 5], max_position_embeddings=32768, pad_token_id=1,
                partial_rotary_factor=0.5, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False)
    return {**COMMON, **base, **kw}


def _glm4_moe(**kw):
    base = dict(architectures=["Glm4MoeForCausalLM"], model_type="glm4_moe", attention_bias=True,
                eos_token_id=[1, 3, 5], max_position_embeddings=131072, n_group=1, n_shared_experts=1,
                norm_topk_prob=True, num_nextn_predict_layers=1, pad_token_id=1, partial_rotary_factor=0.5,
                rms_norm_eps=1e-5, rope_scaling=None, rope_theta=1000000, tie_word_embeddings=False, topk_group=1,
                use_qk_norm=False)
    return {**COMMON, **base, **kw}


def _hunyuan(kind, **kw):
    name = {"dense": "HunYuanDenseV1ForCausalLM", "moe": "HunYuanMoEV1ForCausalLM"}[kind]
    base = dict(architectures=[name], model_type=f"hunyuan_v1_{kind}", attention_bias=False, eod_token_id=3,
                max_position_embeddings=32768, mlp_bias=False, pad_token_id=0, pretraining_tp=1, rms_norm_eps=1e-5,
                rope_theta=10000.0, tie_word_embeddings=True, use_cla=False, use_qk_norm=True, use_rotary_pos_emb=True)
    return {**COMMON, **base, **kw}


def _alpha(alpha):
    return dict(alpha=alpha, beta_fast=32, beta_slow=1, factor=1.0, mscale=1.0, mscale_all_dim=1.0, type="dynamic")


def _gpt_oss(**kw):
    base = dict(architectures=["GptOssForCausalLM"], model_type="gpt_oss", attention_bias=True,
                experts_per_token=kw["num_experts_per_tok"], initial_context_length=4096,
                max_position_embeddings=131072, output_router_logits=False, rms_norm_eps=1e-5, rope_theta=150000,
                router_aux_loss_coef=0.9, swiglu_limit=7.0, tie_word_embeddings=False,
                rope_scaling=dict(beta_fast=32.0, beta_slow=1.0, factor=32.0,
                                  original_max_position_embeddings=32, rope_type="yarn", truncate=False))
    return {**COMMON, **base, **kw}


def _minimax_m2(**kw):
    base = dict(architectures=["MiniMaxM2ForCausalLM"], model_type="minimax_m2", attn_type_list=[1] * 2,
                max_position_embeddings=196608, mtp_transformer_layers=1, num_mtp_modules=3,
                output_router_logits=False, qk_norm_type="per_layer", rms_norm_eps=1e-6, rope_theta=5000000,
                scoring_func="sigmoid", shared_intermediate_size=0, shared_moe_mode="sigmoid",
                tie_word_embeddings=False, use_mtp=True, use_qk_norm=True, use_routing_bias=True)
    return {**COMMON, **base, **kw}


def _minimax(**kw):
    base = dict(architectures=["MiniMaxForCausalLM"], model_type="minimax", max_position_embeddings=10240000,
                output_router_logits=False, rms_norm_eps=1e-5, rope_theta=10000000, router_aux_loss_coef=0.001,
                router_jitter_noise=0.0, sliding_window=None, tie_word_embeddings=False)
    return {**COMMON, **base, **kw}


def _minimax_released(architecture, model_type, alpha, **kw):
    """As Text-01 and M1 were published: other names than the port in transformers has."""
    factors = {f"layernorm_{part}_{factor}": value for part in ("full_attention", "linear_attention", "mlp")
               for factor, value in (("alpha", alpha), ("beta", 1.0))}
    return _minimax(architectures=[architecture], model_type=model_type, postnorm=True, shared_intermediate_size=0,
                    shared_moe_mode="sigmoid", **factors, **kw)


def _minimax_oracle(config):
    fields = {**config, "model_type": "minimax", "partial_rotary_factor": config["rotary_dim"] / config["head_dim"],
              "layer_types": [["linear_attention", "full_attention"][kind] for kind in config["attn_type_list"]]}
    for ours, theirs in (("full_attn", "full_attention"), ("linear_attn", "linear_attention"), ("mlp", "mlp")):
        for factor in ("alpha", "beta"):
            fields[f"{ours}_{factor}_factor"] = config[f"layernorm_{theirs}_{factor}"]
    return fields


def _qwen3_next(**kw):
    base = dict(architectures=["Qwen3NextForCausalLM"], model_type="qwen3_next", attention_bias=False,
                decoder_sparse_step=1, full_attention_interval=4, linear_conv_kernel_dim=4, mlp_only_layers=[],
                max_position_embeddings=262144, norm_topk_prob=True, output_router_logits=False,
                partial_rotary_factor=0.25, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=10000000,
                router_aux_loss_coef=0.001, tie_word_embeddings=False, use_sliding_window=False)
    return {**COMMON, **base, **kw}


def _copy_layer(stored, rng, source, target):
    """A further layer: the same shapes, the same values in another order."""
    return {target + n[len(source):]: rng.permuted(w) for n, w in stored.items() if n.startswith(source)}


def deepseek_mtp(stored, config, rng):
    """One layer for multi-token prediction as DeepSeek, GLM and Kimi store it: a layer more, with its own extras."""
    h, last = config.hidden_size, config.num_hidden_layers - 1
    at = f"model.layers.{last + 1}."
    extra = _copy_layer(stored, rng, f"model.layers.{last}.", at)
    for name in ("enorm", "hnorm", "shared_head.norm"):
        extra[f"{at}{name}.weight"] = rng.permuted(stored["model.norm.weight"])
    extra[f"{at}eh_proj.weight"] = rng.permuted(stored["model.embed_tokens.weight"].ravel())[: 2 * h * h].reshape(h, 2 * h)
    extra[f"{at}embed_tokens.weight"] = stored["model.embed_tokens.weight"]
    extra[f"{at}shared_head.head.weight"] = stored["lm_head.weight"]
    return extra


def qwen_mtp(stored, config, rng):
    """Multi-token prediction as Qwen stores it: beside the model under `mtp.`, with a full-attention layer."""
    h, last = config.hidden_size, config.num_hidden_layers - 1
    extra = _copy_layer(stored, rng, f"model.layers.{last}.", "mtp.layers.0.")
    for name in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        extra[f"mtp.{name}.weight"] = rng.permuted(stored["model.norm.weight"])
    extra["mtp.fc.weight"] = rng.permuted(stored["model.embed_tokens.weight"].ravel())[: 2 * h * h].reshape(h, 2 * h)
    return extra


FIRST_LIST = [
    # Mixtral: w1 w2 w3 under block_sparse_moe; softmax over the kept experts is the renormalised softmax over all.
    _row("mixtral-six", "mixtral",
         _mixtral(hidden_size=48, intermediate_size=28, num_hidden_layers=2, num_attention_heads=3,
                  num_key_value_heads=1, num_local_experts=6, num_experts_per_tok=2, vocab_size=97), gguf="F16"),
    _row("mixtral-window", "mixtral",
         new_style(_mixtral(hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                            num_key_value_heads=2, head_dim=12, num_local_experts=5, num_experts_per_tok=3,
                            vocab_size=101, sliding_window=24, tie_word_embeddings=True)), shards=2),
    # Qwen2-MoE: a gated shared expert, weights not renormalised, biases on q, k, v.
    _row("qwen2-moe-shared", "qwen2-moe",
         _qwen_moe("qwen2", hidden_size=48, intermediate_size=72, moe_intermediate_size=24,
                   shared_expert_intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                   num_key_value_heads=3, num_experts=6, num_experts_per_tok=3, norm_topk_prob=False,
                   vocab_size=103), gguf="F16"),
    # Every second layer dense, weights renormalised, tied.
    _row("qwen2-moe-sparse-step", "qwen2-moe",
         _qwen_moe("qwen2", hidden_size=32, intermediate_size=56, moe_intermediate_size=24,
                   shared_expert_intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                   num_key_value_heads=1, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True,
                   decoder_sparse_step=2, vocab_size=107, tie_word_embeddings=True)),
    # Qwen3-MoE as the 30B and 235B are: all layers sparse, renormalised, no shared expert.
    _row("qwen3-moe-seven", "qwen3-moe",
         _qwen_moe("qwen3", hidden_size=48, intermediate_size=72, moe_intermediate_size=20, num_hidden_layers=2,
                   num_attention_heads=5, num_key_value_heads=1, head_dim=16, num_experts=7, num_experts_per_tok=3,
                   norm_topk_prob=True, vocab_size=109), gguf="F16"),
    # Not renormalised, one dense layer, YaRN, tied.
    _row("qwen3-moe-dense-layer", "qwen3-moe",
         _qwen_moe("qwen3", hidden_size=32, intermediate_size=56, moe_intermediate_size=24, num_hidden_layers=3,
                   num_attention_heads=6, num_key_value_heads=2, head_dim=12, num_experts=5, num_experts_per_tok=2,
                   norm_topk_prob=False, mlp_only_layers=[1], vocab_size=113, tie_word_embeddings=True,
                   rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32))),
    # DeepSeek-V2-Lite: no query compression, greedy routing, two shared experts in one matrix.
    _row("deepseek-v2-lite", "deepseek-v2",
         _deepseek(2, hidden_size=48, intermediate_size=72, moe_intermediate_size=24, num_hidden_layers=2,
                   num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=20, q_lora_rank=None,
                   qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12, first_k_dense_replace=1,
                   n_routed_experts=6, n_shared_experts=2, num_experts_per_tok=2, n_group=1, topk_group=1,
                   topk_method="greedy", routed_scaling_factor=1.0, vocab_size=101,
                   rope_scaling=_yarn(40, 32, 0.707)), gguf="F16"),
    # DeepSeek-V2: query compression, groups, a scaling factor.
    _row("deepseek-v2-groups", "deepseek-v2",
         _deepseek(2, hidden_size=40, intermediate_size=64, moe_intermediate_size=20, num_hidden_layers=3,
                   num_attention_heads=5, num_key_value_heads=5, kv_lora_rank=16, q_lora_rank=24,
                   qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16, first_k_dense_replace=1,
                   n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=3, n_group=3, topk_group=2,
                   topk_method="group_limited_greedy", routed_scaling_factor=2.5, vocab_size=99,
                   rope_scaling=_yarn(8, 64, 1.0)), gguf="F16"),
    # DeepSeek-V3 / R1: sigmoid with a correction bias, groups, a layer for multi-token prediction.
    _row("deepseek-v3-mtp", "deepseek-v3",
         _deepseek(3, hidden_size=40, intermediate_size=64, moe_intermediate_size=20, num_hidden_layers=2,
                   num_attention_heads=5, num_key_value_heads=5, kv_lora_rank=16, q_lora_rank=24,
                   qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16, first_k_dense_replace=1,
                   n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=3, n_group=4, topk_group=2,
                   num_nextn_predict_layers=1, routed_scaling_factor=2.5, vocab_size=107,
                   rope_scaling=_yarn(40, 32, 1.0)), gguf="F16", mtp=deepseek_mtp),
    # No query compression, no groups, no scaling of the rotation, two shared experts, not renormalised.
    _row("deepseek-v3-plain", "deepseek-v3",
         _deepseek(3, hidden_size=48, intermediate_size=72, moe_intermediate_size=24, num_hidden_layers=3,
                   num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=20, q_lora_rank=None,
                   qk_nope_head_dim=8, qk_rope_head_dim=12, v_head_dim=24, first_k_dense_replace=2,
                   n_routed_experts=5, n_shared_experts=2, num_experts_per_tok=2, n_group=1, topk_group=1,
                   norm_topk_prob=False, num_nextn_predict_layers=0, routed_scaling_factor=1.5, vocab_size=105,
                   rope_scaling=None)),
    # Kimi K2: the same architecture under its own model_type, without groups.
    _row("kimi-k2-one-group", "deepseek-v3",
         _deepseek(3, model_type="kimi_k2", hidden_size=48, intermediate_size=64, moe_intermediate_size=20,
                   num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=16,
                   q_lora_rank=20, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12, first_k_dense_replace=1,
                   n_routed_experts=7, n_shared_experts=1, num_experts_per_tok=3, n_group=1, topk_group=1,
                   num_nextn_predict_layers=0, routed_scaling_factor=2.827, rope_theta=50000.0, vocab_size=113,
                   max_position_embeddings=131072, rope_scaling=_yarn(32.0, 32, 1.0)),
         oracle="deepseek_v3", gguf="F16"),
    # Gemma 2: both soft caps, a window in every other layer, norms before and after.
    _row("gemma2-caps", "gemma2",
         _gemma2(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=3,
                 num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, sliding_window=20, vocab_size=127,
                 attn_logit_softcapping=5.0, final_logit_softcapping=6.0), gguf="F16"),
    _row("gemma2-scalar", "gemma2",
         _gemma2(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, head_dim=20, query_pre_attn_scalar=12, sliding_window=28, vocab_size=131),
         shards=2),
    # Phi-3 mini 4k: fused qkv and gate_up, a window.
    _row("phi3-window", "phi3",
         _phi3(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
               num_key_value_heads=3, sliding_window=23, vocab_size=103), gguf="F16"),
    # Phi-3 128k beyond its original length: the long factors; grouped keys.
    _row("phi3-long", "phi3",
         _phi3(hidden_size=64, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=2, vocab_size=109, original_max_position_embeddings=32,
               max_position_embeddings=1024,
               rope_scaling=dict(type="longrope", short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6],
                                 long_factor=[1.1, 1.3, 1.7, 2.5, 4.0, 7.0, 12.0, 20.0])), gguf="F16"),
    # Phi-4 mini within its original length: the short factors, three quarters of a head rotate, tied.
    _row("phi4-mini", "phi3",
         _phi3(hidden_size=64, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=1, vocab_size=113, original_max_position_embeddings=512,
               max_position_embeddings=4096, partial_rotary_factor=0.75, tie_word_embeddings=True,
               rope_scaling=dict(type="longrope", short_factor=[1.0, 1.1, 1.25, 1.5, 1.8, 2.2],
                                 long_factor=[1.1, 1.7, 2.5, 4.0, 7.0, 12.0])), gguf="F16"),
    # GLM-4-9B (the form for transformers): pairs of neighbours rotate, half of a head.
    _row("glm-biases", "glm",
         _glm("glm", hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
              num_key_value_heads=1, head_dim=16, vocab_size=107), gguf="F16"),
    _row("glm-plain", "glm",
         _glm("glm", hidden_size=40, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, head_dim=24, vocab_size=111, attention_bias=False, tie_word_embeddings=True),
         shards=2),
    # GLM-4-0414 and Z1: two norms more a layer.
    _row("glm4-biases", "glm4",
         _glm("glm4", hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
              num_key_value_heads=1, head_dim=16, vocab_size=109), gguf="F16"),
    _row("glm4-plain", "glm4",
         _glm("glm4", hidden_size=40, intermediate_size=64, num_hidden_layers=3, num_attention_heads=6,
              num_key_value_heads=2, head_dim=8, vocab_size=115, attention_bias=False), gguf="F16"),
    # GLM-4.5: norms on q and k, a layer for multi-token prediction.
    _row("glm4-moe-norms", "glm4-moe",
         _glm4_moe(hidden_size=40, intermediate_size=64, moe_intermediate_size=20, num_hidden_layers=2,
                   num_attention_heads=5, num_key_value_heads=1, head_dim=16, first_k_dense_replace=1,
                   n_routed_experts=6, num_experts_per_tok=3, routed_scaling_factor=2.5, use_qk_norm=True,
                   vocab_size=109), gguf="F16", mtp=deepseek_mtp),
    # GLM-4.5-Air: without them; here also two shared experts and groups.
    _row("glm4-moe-air", "glm4-moe",
         _glm4_moe(hidden_size=48, intermediate_size=72, moe_intermediate_size=20, num_hidden_layers=3,
                   num_attention_heads=3, num_key_value_heads=3, head_dim=24, first_k_dense_replace=2,
                   n_routed_experts=6, num_experts_per_tok=2, n_group=2, n_shared_experts=2,
                   num_nextn_predict_layers=0, routed_scaling_factor=1.0, vocab_size=119)),
    # Hunyuan dense: rotation first, then norms on q and k; the base grows with alpha.
    _row("hunyuan-dense-alpha", "hunyuan-dense",
         _hunyuan("dense", hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
                  num_key_value_heads=1, head_dim=16, vocab_size=113, rope_scaling=_alpha(1000.0)), gguf="F16"),
    _row("hunyuan-dense-plain", "hunyuan-dense",
         _hunyuan("dense", hidden_size=40, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=12, vocab_size=117, rope_scaling=None,
                  tie_word_embeddings=False)),
    # Hunyuan-A13B: a shared MLP beside the experts, lists with an entry a layer.
    _row("hunyuan-moe-alpha", "hunyuan-moe",
         _hunyuan("moe", hidden_size=48, intermediate_size=24, num_hidden_layers=2, num_attention_heads=3,
                  num_key_value_heads=1, head_dim=16, vocab_size=121, num_experts=6, moe_topk=[2, 2],
                  moe_intermediate_size=[24, 24], num_shared_expert=[1, 1], use_mixed_mlp_moe=True,
                  moe_layer_num_skipped=0, rope_scaling=_alpha(1000.0)), gguf="F16"),
    _row("hunyuan-moe-plain", "hunyuan-moe",
         _hunyuan("moe", hidden_size=40, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=12, vocab_size=125, num_experts=5, moe_topk=3,
                  moe_intermediate_size=20, num_shared_expert=1, use_mixed_mlp_moe=True, moe_layer_num_skipped=0,
                  rope_scaling=None, tie_word_embeddings=False)),
    # gpt-oss in its BF16 form: sinks, a clamped activation with biases, YaRN without rounding, a window.
    _row("gpt-oss-sinks", "gpt-oss",
         _gpt_oss(hidden_size=48, intermediate_size=28, num_hidden_layers=2, num_attention_heads=5,
                  num_key_value_heads=1, head_dim=16, num_local_experts=5, num_experts_per_tok=2,
                  sliding_window=20, layer_types=["sliding_attention", "full_attention"], vocab_size=123),
         gguf="F16"),
    _row("gpt-oss-three", "gpt-oss",
         _gpt_oss(hidden_size=32, intermediate_size=20, num_hidden_layers=3, num_attention_heads=6,
                  num_key_value_heads=2, head_dim=12, num_local_experts=6, num_experts_per_tok=3,
                  sliding_window=31, vocab_size=129, swiglu_limit=2.0,
                  layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    # MiniMax-M2: one norm over all heads of q and one of k, half a head rotates, sigmoid with a bias.
    _row("minimax-m2-five", "minimax-m2",
         _minimax_m2(hidden_size=48, intermediate_size=24, num_hidden_layers=2, num_attention_heads=5,
                     num_key_value_heads=1, head_dim=16, rotary_dim=8, num_local_experts=6,
                     num_experts_per_tok=2, vocab_size=111), gguf="F16"),
    _row("minimax-m2-pairs", "minimax-m2",
         _minimax_m2(hidden_size=32, intermediate_size=28, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=24, rotary_dim=16, num_local_experts=5,
                     num_experts_per_tok=3, vocab_size=117)),
    # Qwen3-Next: three layers of gated delta rule, then gated attention; twice as many value heads as key heads.
    _row("qwen3-next-mtp", "qwen3-next",
         _qwen3_next(hidden_size=32, intermediate_size=48, moe_intermediate_size=12,
                     shared_expert_intermediate_size=20, num_hidden_layers=4, num_attention_heads=3,
                     num_key_value_heads=1, head_dim=16, linear_key_head_dim=8, linear_value_head_dim=12,
                     linear_num_key_heads=2, linear_num_value_heads=4, num_experts=5, num_experts_per_tok=2,
                     vocab_size=97), gguf="F16", mtp=qwen_mtp),
    # A dense layer among them, three value heads to a key head, tied.
    _row("qwen3-next-three", "qwen3-next",
         _qwen3_next(hidden_size=32, intermediate_size=56, moe_intermediate_size=16,
                     shared_expert_intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=24, full_attention_interval=2, linear_key_head_dim=12,
                     linear_value_head_dim=8, linear_num_key_heads=1, linear_num_value_heads=3, num_experts=6,
                     num_experts_per_tok=3, norm_topk_prob=False, mlp_only_layers=[0], vocab_size=101,
                     tie_word_embeddings=True)),
    # MiniMax-Text-01 as transformers stores it: lightning attention with unlike residual factors.
    _row("minimax-01-factors", "minimax-01",
         _minimax(hidden_size=48, intermediate_size=24, num_hidden_layers=3, num_attention_heads=3,
                  num_key_value_heads=1, head_dim=16, num_local_experts=5, num_experts_per_tok=2, vocab_size=103,
                  block_size=24, layer_types=["linear_attention", "full_attention", "linear_attention"],
                  full_attn_alpha_factor=1.25, full_attn_beta_factor=0.75, linear_attn_alpha_factor=1.5,
                  linear_attn_beta_factor=0.875, mlp_alpha_factor=1.125, mlp_beta_factor=1.375)),
    # The same family as MiniMax released it: other keys, and half of a head rotates.
    _row("minimax-text-01", "minimax-01",
         _minimax_released("MiniMaxText01ForCausalLM", "minimax_text_01", alpha=1.5, hidden_size=32,
                           intermediate_size=12, num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=1,
                           head_dim=16, rotary_dim=8, num_local_experts=6, num_experts_per_tok=2, vocab_size=107,
                           attn_type_list=[0, 0, 1]),
         oracle=_minimax_oracle, gguf="F16"),
    _row("minimax-m1", "minimax-01",
         _minimax_released("MiniMaxM1ForCausalLM", "minimax_m1", alpha=3.5565588200778455, hidden_size=32,
                           intermediate_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                           head_dim=24, rotary_dim=12, num_local_experts=5, num_experts_per_tok=3, vocab_size=103,
                           attn_type_list=[0, 1]),
         oracle=_minimax_oracle, gguf="F16"),
]
