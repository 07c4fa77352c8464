"""Tiny models of the present generation: sparse attention, delta rules, hyper-connections, Gemma 4, nested configs."""
from first_list import COMMON, _deepseek, _glm4_moe, _row, _yarn, deepseek_mtp, qwen_mtp
from rows import Nested


def _deepseek_v32(**kw):
    return _deepseek(3, architectures=["DeepseekV32ForCausalLM"], model_type="deepseek_v32", **kw)


def _glm_flash(**kw):
    return {**_glm4_moe(**kw), "architectures": ["Glm4MoeLiteForCausalLM"], "model_type": "glm4_moe_lite",
            "attention_bias": False, "partial_rotary_factor": 1.0, "topk_method": "noaux_tc"}


def _glm5(**kw):
    base = dict(architectures=["GlmMoeDsaForCausalLM"], model_type="glm_moe_dsa", attention_bias=False, ep_size=1,
                eos_token_id=[1, 3, 5], max_position_embeddings=202752, moe_layer_freq=1, n_group=1,
                norm_topk_prob=True, pad_token_id=1, indexer_rope_interleave=True, pretraining_tp=1,
                rms_norm_eps=1e-5, rope_interleave=True, rope_parameters=dict(rope_theta=1000000, rope_type="default"),
                routed_scaling_factor=2.5, scoring_func="sigmoid", tie_word_embeddings=False, topk_group=1,
                topk_method="noaux_tc", dtype="bfloat16")
    return {**{k: v for k, v in COMMON.items() if k != "torch_dtype"}, **base, **kw}


def _hunyuan3(**kw):
    base = dict(architectures=["HYV3ForCausalLM"], model_type="hy_v3", attention_bias=False, dtype="bfloat16",
                enable_attention_fp32_softmax=False, enable_lm_head_fp32=True, enable_moe_fp32_combine=True,
                first_k_dense_replace=1, max_position_embeddings=262144, mlp_bias=False,
                moe_router_enable_expert_bias=True, moe_router_use_sigmoid=True, num_nextn_predict_layers=0,
                qk_norm=True, rms_norm_eps=1e-5, rope_parameters=dict(rope_theta=11158840.0, rope_type="default"),
                route_norm=True, tie_word_embeddings=False)
    return {**{k: v for k, v in COMMON.items() if k != "torch_dtype"}, **base, **kw}


def _kimi_linear(full, delta, **kw):
    linear = dict(full_attn_layers=full, kda_layers=delta, head_dim=kw.pop("delta_dim"),
                  num_heads=kw.pop("delta_heads"), short_conv_kernel_size=4)
    base = dict(architectures=["KimiLinearForCausalLM"], model_type="kimi_linear", linear_attn_config=linear,
                mla_use_nope=True, pad_token_id=0, model_max_length=1048576, moe_layer_freq=1, moe_renormalize=True,
                moe_router_activation_func="sigmoid", num_expert_group=1, num_nextn_predict_layers=0,
                q_lora_rank=None, rms_norm_eps=1e-5, rope_scaling=None, rope_theta=10000.0,
                tie_word_embeddings=False, topk_group=1, use_grouped_topk=True)
    return {**COMMON, **base, **kw}


def _qwen35(kind, **kw):
    base = dict(architectures=[{"": "Qwen3_5ForCausalLM", "_moe": "Qwen3_5MoeForCausalLM"}[kind]],
                model_type=f"qwen3_5{kind}_text", attention_bias=False, attn_output_gate=True, dtype="bfloat16",
                full_attention_interval=4, linear_conv_kernel_dim=4, mamba_ssm_dtype="float32",
                max_position_embeddings=262144, mtp_num_hidden_layers=1, mtp_use_dedicated_embeddings=False,
                rms_norm_eps=1e-6, tie_word_embeddings=False,
                rope_parameters=dict(mrope_interleaved=True, mrope_section=[1, 1, 0], partial_rotary_factor=0.25,
                                     rope_theta=10000000, rope_type="default"))
    return {**{k: v for k, v in COMMON.items() if k != "torch_dtype"}, **base, **kw}


def _nested_qwen35(kind):
    name = {"": "Qwen3_5ForConditionalGeneration", "_moe": "Qwen3_5MoeForConditionalGeneration"}[kind]

    def whole(config):
        return dict(architectures=[name], image_token_id=5, model_type=f"qwen3_5{kind}",
                    text_config={k: v for k, v in config.items() if k != "architectures"},
                    tie_word_embeddings=config["tie_word_embeddings"], video_token_id=6, vision_end_token_id=8,
                    vision_start_token_id=7,
                    vision_config=dict(depth=1, hidden_size=8, intermediate_size=16, model_type=f"qwen3_5{kind}_vision",
                                       num_heads=1, out_hidden_size=config["hidden_size"], patch_size=4))

    return Nested(whole, lambda n: n.replace("model.", "model.language_model.", 1) if n.startswith("model.") else n,
                  {"model.visual.merger.norm.weight": (8,)})


def _kimi_k25(config):
    return dict(architectures=["KimiK25ForConditionalGeneration"], model_type="kimi_k25", bos_token_id=1, dtype="bfloat16",
                eos_token_id=2, media_placeholder_token_id=5, tie_word_embeddings=False,
                text_config=dict(config, architectures=["DeepseekV3ForCausalLM"]),
                vision_config=dict(mm_hidden_size=8, vt_hidden_size=8, vt_num_hidden_layers=1))


def _minimax_m3(freq, moe, sparse, **kw):
    base = dict(architectures=["MiniMaxM3SparseForCausalLM"], model_type="minimax_m3_vl_text", dtype="bfloat16",
                attention_output_gate=False, hidden_act="swigluoai", max_position_embeddings=1048576,
                moe_layer_freq=moe, n_shared_experts=1, partial_rotary_factor=kw["rotary_dim"] / kw["head_dim"],
                qk_norm_type="per_head", rms_norm_eps=1e-6, rope_theta=5000000, scoring_func="sigmoid",
                sparse_attention_config=dict(sparse_attention_freq=freq, sparse_init_block=0, sparse_score_type="max",
                                             use_sparse_attention=True, **sparse),
                swiglu_alpha=1.702, tie_word_embeddings=False, use_gemma_norm=True, use_qk_norm=True,
                use_routing_bias=True)
    return {**{k: v for k, v in COMMON.items() if k != "torch_dtype"}, **base, **kw}


def _nested_minimax_m3(config):
    return dict(architectures=["MiniMaxM3SparseForConditionalGeneration"], model_type="minimax_m3_vl",
                dtype="bfloat16", image_token_index=5, projector_hidden_size=8, text_config=config,
                tie_word_embeddings=False, video_token_index=6,
                vision_config=dict(hidden_size=8, intermediate_size=16, model_type="minimax_m3_vl_vision",
                                   num_attention_heads=1, num_hidden_layers=1, patch_size=4))


def _mistral3(kind, **kw):
    base = dict(model_type=kind, attention_dropout=0.0, hidden_act="silu", initializer_range=0.02, rms_norm_eps=1e-5,
                sliding_window=None, use_cache=True)
    return {**base, **kw}


def _nested_mistral3(config):
    return dict(architectures=["Mistral3ForConditionalGeneration"], model_type="mistral3", dtype="bfloat16",
                image_token_index=10, multimodal_projector_bias=False, projector_hidden_act="gelu",
                spatial_merge_size=2, text_config=config, vision_feature_layer=-1,
                vision_config=dict(head_dim=8, hidden_size=8, intermediate_size=16, model_type="pixtral",
                                   num_attention_heads=1, num_hidden_layers=1, patch_size=4))


def _gemma4(**kw):
    base = dict(architectures=["Gemma4ForCausalLM"], model_type="gemma4_text", attention_bias=False,
                attention_dropout=0.0, attention_k_eq_v=False, bos_token_id=2, dtype="bfloat16",
                enable_moe_block=False, eos_token_id=1, final_logit_softcapping=30.0,
                hidden_activation="gelu_pytorch_tanh", hidden_size_per_layer_input=0, initializer_range=0.02,
                max_position_embeddings=131072, moe_intermediate_size=None, num_experts=None,
                num_global_key_value_heads=None, num_kv_shared_layers=0, pad_token_id=0, rms_norm_eps=1e-6,
                rope_parameters=dict(full_attention=dict(partial_rotary_factor=0.25, rope_theta=1000000.0,
                                                         rope_type="proportional"),
                                     sliding_attention=dict(rope_theta=10000.0, rope_type="default")),
                tie_word_embeddings=True, top_k_experts=None, use_bidirectional_attention=None, use_cache=True,
                use_double_wide_mlp=False, vocab_size_per_layer_input=kw["vocab_size"])
    return {**base, **kw}


def _nested_gemma4(config):
    return dict(architectures=["Gemma4ForConditionalGeneration"], model_type="gemma4", boi_token_id=3, dtype="bfloat16",
                eoi_token_id=4, eos_token_id=[1, 106], image_token_id=5, initializer_range=0.02, audio_config=None,
                text_config={k: v for k, v in config.items() if k != "architectures"}, tie_word_embeddings=True,
                vision_config=dict(hidden_size=8, intermediate_size=16, model_type="gemma4_vision",
                                   num_attention_heads=1, num_hidden_layers=1, patch_size=8))


def _deepseek_v4(**kw):
    base = dict(architectures=["DeepseekV4ForCausalLM"], model_type="deepseek_v4", attention_bias=False, bos_token_id=0,
                compress_rope_theta=160000.0, dtype="bfloat16", eos_token_id=1, max_position_embeddings=1048576,
                n_shared_experts=1, norm_topk_prob=True, num_key_value_heads=1, num_nextn_predict_layers=0,
                rms_norm_eps=1e-6, rope_theta=10000.0, scoring_func="sqrtsoftplus", tie_word_embeddings=False,
                topk_method="noaux_tc")
    return {**{k: v for k, v in COMMON.items() if k != "torch_dtype"}, **base, **kw}


def _deepseek_v4_name(name):
    """As it was published, of what transformers 5.23 writes."""
    name = name.removeprefix("model.").replace("embed_tokens.", "embed.").replace(".attn.norm.", ".attn.kv_norm.")
    return name.replace("hc_head.hc_", "hc_head_")


def _deepseek_v4_mtp(stored, config, rng):
    """One layer for multi-token prediction beside the model under `mtp.`: a window alone, experts that a router picks."""
    h, last = config.hidden_size, f"layers.{config.num_hidden_layers - 1}."
    extra = {"mtp.0." + n[len(last):]: w[::-1].copy() for n, w in stored.items()
             if n.startswith(last) and "compressor" not in n and "indexer" not in n}
    for name in ("enorm", "hnorm", "norm"):
        extra[f"mtp.0.{name}.weight"] = rng.permuted(stored["norm.weight"])
    for name in ("e_proj", "h_proj"):
        extra[f"mtp.0.{name}.weight"] = rng.permuted(stored["embed.weight"].ravel())[: h * h].reshape(h, h)
    extra.update({f"mtp.0.{n}": w for n, w in stored.items() if n.startswith("hc_head_")})
    return extra


GEMMA4_NESTED = Nested(_nested_gemma4, lambda n: n.replace("model.", "model.language_model.", 1),
                       {"model.vision_tower.patch_embedder.position_embedding_table": (2, 4, 8)})

MISTRAL3_NESTED = Nested(_nested_mistral3, lambda n: "language_model." + n,
                         {"vision_tower.ln_pre.weight": (8,), "multi_modal_projector.norm.weight": (8,)})

MINIMAX_M3_NESTED = Nested(_nested_minimax_m3, lambda n: "language_model." + n,
                           {"vision_tower.vision_model.pre_layrnorm.weight": (8,),
                            "patch_merge_mlp.linear_1.bias": (8,)})

SECOND_LIST = [
    # DeepSeek V3.2: latent attention over the positions that an indexer chooses, fewer than the sequence has.
    _row("deepseek-v32-groups", "deepseek-v32",
         _deepseek_v32(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=2,
                       num_attention_heads=5, num_key_value_heads=5, kv_lora_rank=16, q_lora_rank=24,
                       qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16, first_k_dense_replace=1,
                       n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=3, n_group=4, topk_group=2,
                       index_n_heads=10, index_head_dim=16, index_topk=20, num_nextn_predict_layers=1,
                       routed_scaling_factor=2.5, vocab_size=107, rope_scaling=_yarn(40, 32, 1.0)),
         gguf="F16", mtp=deepseek_mtp),
    _row("deepseek-v32-plain", "deepseek-v32",
         _deepseek_v32(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=2,
                       num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=20, q_lora_rank=16,
                       qk_nope_head_dim=8, qk_rope_head_dim=12, v_head_dim=20, first_k_dense_replace=0,
                       n_routed_experts=5, n_shared_experts=2, num_experts_per_tok=2, n_group=1, topk_group=1,
                       index_n_heads=11, index_head_dim=24, index_topk=24, num_nextn_predict_layers=0,
                       routed_scaling_factor=1.5, vocab_size=111, rope_scaling=None)),
    # GLM-4.7-Flash: latent attention in a GLM-4.5 frame.
    _row("glm-flash-mtp", "glm4-moe-lite",
         _glm_flash(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=2,
                    num_attention_heads=5, num_key_value_heads=5, kv_lora_rank=16, q_lora_rank=24,
                    qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=20, first_k_dense_replace=1,
                    n_routed_experts=6, num_experts_per_tok=2, routed_scaling_factor=1.8, vocab_size=109),
         gguf="F16", mtp=deepseek_mtp),
    _row("glm-flash-direct", "glm4-moe-lite",
         _glm_flash(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=3,
                    num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=12, q_lora_rank=None,
                    qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12, first_k_dense_replace=1,
                    n_routed_experts=5, num_experts_per_tok=3, routed_scaling_factor=1.0, n_shared_experts=2,
                    num_nextn_predict_layers=0, vocab_size=113)),
    # GLM-5: an indexer in every layer. GLM-5.2: some layers take the choice of the one before.
    _row("glm5-full", "glm-moe-dsa",
         _glm5(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=2,
               num_attention_heads=5, num_key_value_heads=5, kv_lora_rank=16, q_lora_rank=24, qk_nope_head_dim=12,
               qk_rope_head_dim=8, v_head_dim=20, head_dim=8, first_k_dense_replace=1, n_routed_experts=6,
               n_shared_experts=1, num_experts_per_tok=2, index_n_heads=10, index_head_dim=16, index_topk=20,
               num_nextn_predict_layers=1, vocab_size=109), gguf="F16", mtp=deepseek_mtp),
    _row("glm5-shared", "glm-moe-dsa",
         _glm5(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=4,
               num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=12, q_lora_rank=16, qk_nope_head_dim=8,
               qk_rope_head_dim=8, v_head_dim=12, head_dim=8, first_k_dense_replace=2, n_routed_experts=5,
               n_shared_experts=1, num_experts_per_tok=2, index_n_heads=11, index_head_dim=16, index_topk=24,
               index_topk_freq=4, index_skip_topk_offset=2, indexer_types=["full", "full", "shared", "shared"],
               num_nextn_predict_layers=0, vocab_size=113), gguf="F16"),
    # Hunyuan v3: norms on q and k, sigmoid with a bias, a scaling factor.
    _row("hy3-five", "hy-v3",
         _hunyuan3(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=2,
                   num_attention_heads=5, num_key_value_heads=1, head_dim=16, num_experts=6, num_experts_per_tok=2,
                   num_shared_experts=1, router_scaling_factor=2.826, vocab_size=109, expert_hidden_dim=12),
         gguf="F16"),
    _row("hy3-three", "hy-v3",
         _hunyuan3(hidden_size=32, intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=3,
                   num_attention_heads=4, num_key_value_heads=2, head_dim=12, num_experts=5, num_experts_per_tok=3,
                   num_shared_experts=2, router_scaling_factor=1.5, vocab_size=113, expert_hidden_dim=12,
                   tie_word_embeddings=True)),
    # Kimi Linear: the delta rule with a gate for every channel, then latent attention without positions.
    _row("kimi-linear-four", "kimi-linear",
         _kimi_linear([4], [1, 2, 3], delta_dim=12, delta_heads=3, hidden_size=32, intermediate_size=48,
                      moe_intermediate_size=12, num_hidden_layers=4, num_attention_heads=3, num_key_value_heads=3,
                      kv_lora_rank=16, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=12, head_dim=20,
                      first_k_dense_replace=1, num_experts=5, num_experts_per_token=2, num_shared_experts=1,
                      routed_scaling_factor=2.446, vocab_size=103), gguf="F16"),
    _row("kimi-linear-two", "kimi-linear",
         _kimi_linear([2], [1, 3], delta_dim=16, delta_heads=2, hidden_size=32, intermediate_size=40,
                      moe_intermediate_size=12, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
                      kv_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=16, head_dim=16,
                      first_k_dense_replace=1, num_experts=6, num_experts_per_token=3, num_shared_experts=2,
                      routed_scaling_factor=1.5, vocab_size=107)),
    # Kimi K2.5: the text part of a multimodal checkpoint.
    _row("kimi-k25-nested", "deepseek-v3",
         _deepseek(3, model_type="kimi_k2", hidden_size=32, intermediate_size=40, moe_intermediate_size=12,
                   num_hidden_layers=2, num_attention_heads=5, num_key_value_heads=5, kv_lora_rank=12,
                   q_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12, first_k_dense_replace=1,
                   n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=2, n_group=1, topk_group=1,
                   num_nextn_predict_layers=0, routed_scaling_factor=2.827, rope_theta=50000.0, vocab_size=109,
                   max_position_embeddings=262144, rope_scaling=_yarn(64.0, 16, 1.0)),
         oracle="deepseek_v3", gguf="F16",
         nested=Nested(_kimi_k25, lambda n: "language_model." + n,
                       {"vision_tower.encoder.final_layernorm.weight": (8,), "mm_projector.pre_norm.weight": (8,)})),
    # Qwen3.5 dense, text alone and nested.
    _row("qwen35-text", "qwen3.5",
         _qwen35("", hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=3,
                 num_key_value_heads=1, head_dim=16, linear_key_head_dim=8, linear_value_head_dim=8,
                 linear_num_key_heads=2, linear_num_value_heads=4, vocab_size=103), gguf="F16", mtp=qwen_mtp),
    _row("qwen35-nested", "qwen3.5",
         _qwen35("", hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
                 num_key_value_heads=2, head_dim=24, full_attention_interval=3, linear_key_head_dim=12,
                 linear_value_head_dim=12, linear_num_key_heads=1, linear_num_value_heads=3, vocab_size=107,
                 tie_word_embeddings=True, mtp_num_hidden_layers=0,
                 rope_parameters=dict(mrope_interleaved=True, mrope_section=[1, 1, 1], partial_rotary_factor=0.25,
                                      rope_theta=10000000, rope_type="default")),
         gguf="F16", nested=_nested_qwen35("")),
    # Qwen3.5-MoE, likewise; experts are stored stacked.
    _row("qwen35-moe-text", "qwen3.5-moe",
         _qwen35("_moe", hidden_size=32, moe_intermediate_size=12, shared_expert_intermediate_size=20,
                 num_hidden_layers=4, num_attention_heads=3, num_key_value_heads=1, head_dim=16,
                 linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4,
                 num_experts=5, num_experts_per_tok=2, vocab_size=103), gguf="F16", mtp=qwen_mtp),
    _row("qwen35-moe-nested", "qwen3.5-moe",
         _qwen35("_moe", hidden_size=32, moe_intermediate_size=12, shared_expert_intermediate_size=24,
                 num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=24,
                 full_attention_interval=2, linear_key_head_dim=12, linear_value_head_dim=12,
                 linear_num_key_heads=2, linear_num_value_heads=2, num_experts=6, num_experts_per_tok=3,
                 vocab_size=107, mtp_num_hidden_layers=0,
                 rope_parameters=dict(mrope_interleaved=True, mrope_section=[1, 1, 1], partial_rotary_factor=0.25,
                                      rope_theta=10000000, rope_type="default")),
         gguf="F16", nested=_nested_qwen35("_moe")),
    # MiniMax M3: an indexer chooses blocks of positions for each kv head; clamped activation, dense layers first.
    _row("minimax-m3-blocks", "minimax-m3",
         _minimax_m3([0, 1, 1], [0, 1, 1],
                     dict(sparse_num_index_heads=2, sparse_index_dim=12, sparse_block_size=8, sparse_topk_blocks=3,
                          sparse_local_block=1), hidden_size=24, intermediate_size=12, dense_intermediate_size=36,
                     shared_intermediate_size=12, num_hidden_layers=3, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=16, rotary_dim=8, num_local_experts=4, num_experts_per_tok=2,
                     routed_scaling_factor=2.0, swiglu_limit=7.0, vocab_size=61), gguf="F16",
         nested=MINIMAX_M3_NESTED),
    _row("minimax-m3-three", "minimax-m3",
         _minimax_m3([1, 0], [1, 1],
                     dict(sparse_num_index_heads=3, sparse_index_dim=20, sparse_block_size=5, sparse_topk_blocks=4,
                          sparse_local_block=2), hidden_size=28, intermediate_size=8, dense_intermediate_size=40,
                     shared_intermediate_size=16, num_hidden_layers=2, num_attention_heads=3,
                     num_key_value_heads=3, head_dim=12, rotary_dim=12, num_local_experts=5, num_experts_per_tok=3,
                     routed_scaling_factor=1.5, swiglu_limit=2.0, vocab_size=67), nested=MINIMAX_M3_NESTED),
    # Gemma 4 E2B: embeddings for every layer, the last layers share keys and values and are twice as wide.
    _row("gemma4-e2b", "gemma4",
         _gemma4(hidden_size=32, intermediate_size=40, num_hidden_layers=5, num_attention_heads=3,
                 num_key_value_heads=1, head_dim=16, global_head_dim=24, sliding_window=20, vocab_size=89,
                 hidden_size_per_layer_input=8, num_kv_shared_layers=2, use_double_wide_mlp=True,
                 layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention",
                              "full_attention"]), gguf="F16", nested=GEMMA4_NESTED),
    # Gemma 4 26B-A4B: experts beside the MLP, global layers whose values are their keys.
    _row("gemma4-moe", "gemma4",
         _gemma4(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                 num_key_value_heads=2, head_dim=16, global_head_dim=32, sliding_window=24, vocab_size=107,
                 attention_k_eq_v=True, num_global_key_value_heads=1, enable_moe_block=True, num_experts=5,
                 top_k_experts=2, moe_intermediate_size=12,
                 layer_types=["sliding_attention", "sliding_attention", "full_attention"]), gguf="F16"),
    # Ministral 3: YaRN whose magnitudes cancel out, queries that grow with their position.
    _row("ministral3-nested", "mistral3",
         _mistral3("ministral3", hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                   num_key_value_heads=1, head_dim=16, max_position_embeddings=320, tie_word_embeddings=True,
                   vocab_size=71, rope_parameters=dict(beta_fast=32.0, beta_slow=1.0, factor=16.0,
                                                        llama_4_scaling_beta=0.1, mscale=1.0, mscale_all_dim=1.0,
                                                        original_max_position_embeddings=20, rope_theta=1000000.0,
                                                        rope_type="yarn", type="yarn")),
         gguf="F16", nested=MISTRAL3_NESTED),
    # Mistral Small 3: the plain block in the same frame; heads that together are narrower than the residual stream.
    _row("mistral-small3-nested", "mistral3",
         _mistral3("mistral", hidden_size=40, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                   num_key_value_heads=2, head_dim=8, max_position_embeddings=131072, rope_theta=1000000000.0,
                   vocab_size=73), gguf="F16", nested=MISTRAL3_NESTED),
    # DeepSeek V4: hyper-connections, compressed keys chosen by an indexer, experts by a table in the first layer.
    _row("deepseek-v4-mixed", "deepseek-v4",
         _deepseek_v4(hidden_size=32, moe_intermediate_size=12, num_hidden_layers=4, num_attention_heads=4, head_dim=16,
                      qk_rope_head_dim=8, q_lora_rank=16, n_routed_experts=5, num_experts_per_tok=2,
                      routed_scaling_factor=1.5, swiglu_limit=10.0, sliding_window=16, o_groups=2, o_lora_rank=8,
                      index_n_heads=10, index_head_dim=16, index_topk=6, hc_mult=2, hc_sinkhorn_iters=4, hc_eps=1e-6,
                      layer_types=["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention",
                                   "compressed_sparse_attention"],
                      compress_rates=dict(compressed_sparse_attention=4, heavily_compressed_attention=8),
                      mlp_layer_types=["hash_moe", "moe", "moe", "moe"], vocab_size=97,
                      rope_scaling=dict(type="yarn", factor=16, beta_fast=32, beta_slow=1,
                                        original_max_position_embeddings=32))),
    # As it was published: names, FP4 experts, ratios a layer, tables in the first layers, a layer for prediction.
    _row("deepseek-v4-released", "deepseek-v4",
         _deepseek_v4(hidden_size=32, moe_intermediate_size=32, num_hidden_layers=3, num_attention_heads=3, head_dim=20,
                      qk_rope_head_dim=8, q_lora_rank=12, n_routed_experts=4, num_experts_per_tok=3,
                      routed_scaling_factor=2.5, swiglu_limit=2.0, sliding_window=20, o_groups=3, o_lora_rank=8,
                      index_n_heads=9, index_head_dim=12, index_topk=8, hc_mult=3, hc_sinkhorn_iters=6, hc_eps=1e-6,
                      compress_ratios=[0, 4, 128, 0], num_hash_layers=1, num_nextn_predict_layers=1, vocab_size=43,
                      expert_dtype="fp4", rope_scaling=dict(type="yarn", factor=16, beta_fast=32, beta_slow=1,
                                                            original_max_position_embeddings=64),
                      quantization_config=dict(quant_method="fp8", fmt="e4m3", scale_fmt="ue8m0",
                                               weight_block_size=[128, 128])),
         tokens=160, gguf="F16", mtp=_deepseek_v4_mtp, released=_deepseek_v4_name, fp4=True),
]
