"""The one list of tiny random models. A new family adds its rows here and nowhere else.

Each row is a Hugging Face config as a release of that family would write it, and how its files are stored:
  dtype   safetensors type of the matrices: F32, BF16 or F16. Vectors follow it too (as in releases), see `grid`.
  shards  number of safetensors files; above 1 there is an index.
  tokens  length of the golden sequence.
  gguf    None, or the type of the matrices in the GGUF twin (F32 or F16; vectors are F32 there as the converter does).
  grid    True: the weights are rounded to values that F32, BF16 and F16 all hold, so every file states the same model.
  nested  the text part of a multimodal checkpoint (rows.Nested): `text_config`, prefixed names, tensors to pass over.
  gain    how far the matrices' standard deviation is above 1/sqrt(inputs).
Sizes are chosen so that no two dimensions are equal by accident: a swap of hidden, heads*head_dim, key width or
feed-forward width must not go unnoticed.

  mtp     layers for multi-token prediction that the checkpoint holds after the last one.
  oracle  where transformers does not know the published config: a model_type of the same meaning, or a function that
          gives the config in transformers' keys.
  released where transformers writes other names than a release has: a function from those to these.
  fp4     True: the experts' matrices are 4-bit floats with a power of two for 32 of them, as DeepSeek-V4's.
  pending True until the engine knows the family: its tests pass over the row.
"""
from first_list import FIRST_LIST
from rows import Nested, new_style, row
from second_list import SECOND_LIST


def _llama(**kw):
    base = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", attention_bias=False,
                attention_dropout=0.0, bos_token_id=1, eos_token_id=2, initializer_range=0.02, mlp_bias=False,
                max_position_embeddings=2048, pretraining_tp=1, rms_norm_eps=1e-5, rope_scaling=None,
                rope_theta=10000.0, tie_word_embeddings=False, use_cache=True, torch_dtype="float32")
    return {**base, **kw}


def _smollm3(**kw):
    base = dict(architectures=["SmolLM3ForCausalLM"], model_type="smollm3", hidden_act="silu", attention_bias=False,
                attention_dropout=0.0, bos_token_id=None, eos_token_id=2, initializer_range=0.02, mlp_bias=False,
                max_position_embeddings=4096, max_window_layers=28, no_rope_layer_interval=4, pad_token_id=2,
                pretraining_tp=2, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=5000000.0, sliding_window=None,
                tie_word_embeddings=True, torch_dtype="float32", use_cache=False, use_sliding_window=False)
    return {**base, **kw}


def _qwen(kind, **kw):
    base = dict(architectures=[{"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[kind]], model_type=kind,
                attention_dropout=0.0, bos_token_id=1, eos_token_id=2, hidden_act="silu", initializer_range=0.02,
                max_position_embeddings=32768, max_window_layers=2, rms_norm_eps=1e-6, rope_theta=1000000.0,
                tie_word_embeddings=True, torch_dtype="float32", use_cache=True, use_sliding_window=False)
    if kind == "qwen3":
        base.update(attention_bias=False, rope_scaling=None)
    return {**base, **kw}


def _gemma3(**kw):
    base = dict(architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", attention_bias=False,
                attention_dropout=0.0, attn_logit_softcapping=None, bos_token_id=2, eos_token_id=1, pad_token_id=0,
                final_logit_softcapping=None, hidden_activation="gelu_pytorch_tanh", initializer_range=0.02,
                max_position_embeddings=32768, rms_norm_eps=1e-6, rope_local_base_freq=10000.0, rope_scaling=None,
                rope_theta=1000000.0, torch_dtype="float32", use_cache=True)
    return {**base, **kw}


def _gemma3_nested(config):
    return dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", boi_token_index=3,
                eoi_token_index=4, eos_token_id=[1, 106], image_token_index=5, mm_tokens_per_image=4,
                initializer_range=0.02, torch_dtype=config["torch_dtype"],
                text_config={k: v for k, v in config.items() if k != "architectures"},
                vision_config=dict(hidden_size=8, image_size=16, intermediate_size=16, patch_size=8,
                                   model_type="siglip_vision_model", num_attention_heads=1,
                                   num_hidden_layers=1, vision_use_head=False))


GEMMA3_NESTED = Nested(_gemma3_nested, lambda name: "language_model." + name,
                       {"vision_tower.vision_model.post_layernorm.weight": (8,),
                        "multi_modal_projector.mm_soft_emb_norm.weight": (8,)})


def _mistral(**kw):
    base = dict(architectures=["MistralForCausalLM"], model_type="mistral", attention_dropout=0.0, bos_token_id=1,
                eos_token_id=2, hidden_act="silu", initializer_range=0.02, max_position_embeddings=32768,
                rms_norm_eps=1e-5, rope_theta=10000.0, sliding_window=None, tie_word_embeddings=False,
                torch_dtype="float32", use_cache=True)
    return {**base, **kw}


TINY = [
    # Llama 1-2: untied, one KV head for three heads.
    row("llama-mqa", "llama",
         _llama(hidden_size=96, intermediate_size=64, num_hidden_layers=1, num_attention_heads=3,
                num_key_value_heads=1, vocab_size=263), gguf="F32"),
    # Llama 3.1-3.3: frequencies in all three ranges of the rule within 64 positions; tied as the 1B and 3B are.
    row("llama31-rope", "llama",
         _llama(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, head_dim=32, vocab_size=307, rope_theta=500000.0, tie_word_embeddings=True,
                max_position_embeddings=1024,
                torch_dtype="bfloat16",
                rope_scaling=dict(factor=8.0, high_freq_factor=4.0, low_freq_factor=1.0,
                                  original_max_position_embeddings=32, rope_type="llama3")),
         dtype="BF16", shards=2, tokens=96, gguf="F16", grid=True),
    # Biases everywhere, linear scaling, head_dim * heads > hidden, every head its own key.
    row("llama-biases", "llama",
         new_style(_llama(hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=2,
                           num_key_value_heads=2, head_dim=48, vocab_size=353, attention_bias=True, mlp_bias=True,
                           torch_dtype="bfloat16", rope_scaling=dict(rope_type="linear", factor=4.0))),
         dtype="BF16", gguf="F16", grid=True),
    # SmolLM2: three query heads to a key as the 135M and 360M have them.
    row("smollm2-six", "smollm2",
         _llama(hidden_size=192, intermediate_size=64, num_hidden_layers=1, num_attention_heads=6,
                num_key_value_heads=2, vocab_size=263, rope_theta=100000.0, tie_word_embeddings=True,
                is_llama_config=True, rope_interleaved=False, torch_dtype="bfloat16"),
         dtype="BF16", gguf="F16", grid=True),
    row("smollm2-five", "smollm2",
         _llama(hidden_size=80, intermediate_size=96, num_hidden_layers=1, num_attention_heads=5,
                num_key_value_heads=5, vocab_size=309, rope_theta=10000.0, tie_word_embeddings=True,
                is_llama_config=True, rope_interleaved=False, max_position_embeddings=8192, torch_dtype="bfloat16"),
         dtype="BF16"),
    # SmolLM3: the default interval leaves layer 3 (of 0..4) without rotation.
    row("smollm3-interval", "smollm3",
         _smollm3(hidden_size=64, intermediate_size=96, num_hidden_layers=5, num_attention_heads=4,
                  num_key_value_heads=2, vocab_size=317, torch_dtype="bfloat16"),
         dtype="BF16", gguf="F16", grid=True),
    # An explicit list that no interval gives, no tie.
    row("smollm3-list", "smollm3",
         _smollm3(hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=3,
                  num_key_value_heads=1, vocab_size=323, no_rope_layers=[0, 1, 1], tie_word_embeddings=False,
                  torch_dtype="bfloat16"),
         dtype="BF16"),
    # Qwen2/2.5: biases on q, k, v; `sliding_window` is stated and must be ignored.
    row("qwen2-tied", "qwen2",
         _qwen("qwen2", hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=3,
               num_key_value_heads=1, vocab_size=347, sliding_window=16, torch_dtype="bfloat16"),
         dtype="BF16", gguf="F16", grid=True),
    # The window in use, from layer 1 on.
    row("qwen2-window", "qwen2",
         _qwen("qwen2", hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
               num_key_value_heads=1, vocab_size=313, sliding_window=24, use_sliding_window=True,
               max_window_layers=1, tie_word_embeddings=False, rope_theta=10000.0, torch_dtype="bfloat16"),
         dtype="BF16"),
    # Qwen3: q and k norms, five heads of 32 on a hidden size of 64.
    row("qwen3-five", "qwen3",
         _qwen("qwen3", hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=5,
               num_key_value_heads=1, head_dim=32, vocab_size=337, torch_dtype="bfloat16"),
         dtype="BF16", gguf="F16", grid=True),
    row("qwen3-bias", "qwen3",
         new_style(_qwen("qwen3", hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, head_dim=48, vocab_size=329, attention_bias=True,
                          tie_word_embeddings=False, torch_dtype="float16")),
         dtype="F16", shards=3),
    # Gemma 3 270M/1B: six-layer pattern, one key head; the window is far shorter than the sequence.
    row("gemma3-text", "gemma3",
         _gemma3(hidden_size=32, intermediate_size=64, num_hidden_layers=7, num_attention_heads=2,
                 num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=32, sliding_window=20, vocab_size=319,
                 _sliding_window_pattern=6), gguf="F32"),
    # Gemma 3 4B and up: nested config, linear scaling on global layers only, vision tensors to pass over.
    row("gemma3-nested", "gemma3",
         _gemma3(hidden_size=32, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4,
                 num_key_value_heads=2, head_dim=32, query_pre_attn_scalar=32, sliding_window=24, vocab_size=303,
                 sliding_window_pattern=6, rope_scaling=dict(factor=8.0, rope_type="linear"),
                 torch_dtype="bfloat16"),
         dtype="BF16", gguf="F16", grid=True, nested=GEMMA3_NESTED),
    # The 27B's score scale (not head_dim), layer types as transformers 5 writes them, a longer sequence.
    row("gemma3-scalar", "gemma3",
         dict(architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", attention_bias=False, bos_token_id=2,
              eos_token_id=[1, 106], pad_token_id=0, hidden_activation="gelu_pytorch_tanh", hidden_size=96,
              intermediate_size=64, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1, head_dim=48,
              query_pre_attn_scalar=24, sliding_window=80, vocab_size=301, max_position_embeddings=4096,
              rms_norm_eps=1e-6, tie_word_embeddings=True, dtype="bfloat16", use_bidirectional_attention=False,
              layer_types=["sliding_attention", "full_attention", "sliding_attention"],
              rope_parameters=dict(full_attention=dict(rope_theta=1000000.0, rope_type="linear", factor=8.0),
                                   sliding_attention=dict(rope_theta=10000.0, rope_type="default"))),
         dtype="BF16", tokens=160),
    # Mistral 7B 0.1: a sliding window in every layer, longer than one KV page and shorter than the sequence.
    row("mistral-window", "mistral",
         _mistral(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=1, vocab_size=307, sliding_window=72, torch_dtype="bfloat16"),
         dtype="BF16", tokens=256),
    # Mistral 0.3 / Nemo: no window, head_dim below hidden / heads.
    row("mistral-nemo", "mistral",
         _mistral(hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=3,
                  num_key_value_heads=1, head_dim=12, vocab_size=101, rope_theta=1000000.0,
                  torch_dtype="bfloat16"),
         dtype="BF16", gguf="F16", grid=True),
]

TINY += FIRST_LIST + SECOND_LIST
