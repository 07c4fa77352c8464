"""Writes the tiny random models (Hugging Face folders), their golden logits and their rows of models.json.

  python make_tiny_models.py [NAME ...]     all models of tiny_models.py, or those named
"""
import json
import shutil
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3ForCausalLM
from transformers.utils import logging

from common import HERE, golden_row, on_common_grid, random_tensor, random_tokens, rng_for, write_manifest
from make_gguf import write_gguf
from tiny_models import TINY

TORCH_TYPE = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
MAX_BYTES = 400_000


def write_config(row, folder):
    config = row["config"]
    if row["nested"]:
        config = dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", boi_token_index=3,
                      eoi_token_index=4, eos_token_id=[1, 106], image_token_index=5, mm_tokens_per_image=4,
                      initializer_range=0.02, torch_dtype=config["torch_dtype"],
                      text_config={k: v for k, v in config.items() if k != "architectures"},
                      vision_config=dict(hidden_size=8, image_size=16, intermediate_size=16, patch_size=8,
                                         model_type="siglip_vision_model", num_attention_heads=1,
                                         num_hidden_layers=1, vision_use_head=False))
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    ids = {k: config[k] for k in ("bos_token_id", "eos_token_id") if config.get(k) is not None}
    (folder / "generation_config.json").write_text(json.dumps(ids, indent=2) + "\n")


def random_weights(row, config):
    """Parameter name -> float32 array, exactly as the stored type will hold it."""
    model = AutoModelForCausalLM.from_config(config)
    rng = rng_for(row["name"])
    tied = bool(config.tie_word_embeddings)
    weights = {}
    for name, p in model.named_parameters():
        w = random_tensor(rng, name, tuple(p.shape), row["gain"], tied)
        if row["family"] == "gemma3" and name.endswith("norm.weight"):
            w = w - 1  # Gemma stores what it adds to one
        if row["grid"]:
            w = on_common_grid(w)
        w = torch.from_numpy(w.astype(np.float32)).to(TORCH_TYPE[row["dtype"]]).float().numpy()
        weights[name] = w
    return weights, random_tokens(rng, config.vocab_size, row["tokens"])


def write_weights(row, weights, folder):
    tensors = {n: torch.from_numpy(w).to(TORCH_TYPE[row["dtype"]]) for n, w in weights.items()}
    if row["nested"]:
        tensors = {"language_model." + n: t for n, t in tensors.items()}
        tensors["vision_tower.vision_model.post_layernorm.weight"] = torch.ones(8, dtype=TORCH_TYPE[row["dtype"]])
        tensors["multi_modal_projector.mm_soft_emb_norm.weight"] = torch.ones(8, dtype=TORCH_TYPE[row["dtype"]])
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    assert total < MAX_BYTES, (row["name"], total)
    if row["shards"] == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    index = {"metadata": {"total_size": total}, "weight_map": {}}
    for s in range(row["shards"]):
        file = f"model-{s + 1:05d}-of-{row['shards']:05d}.safetensors"
        part = {n: tensors[n] for n in names[s::row["shards"]]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index["weight_map"].update({n: file for n in part})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def load_model(row, folder, config, weights):
    """Through transformers' own loader where it can; the nested one has no whole vision part, so from its text part."""
    if row["nested"]:
        model = Gemma3ForCausalLM._from_config(config, attn_implementation="eager", dtype=torch.float32)
        missing = model.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()}, strict=False)
        assert missing.missing_keys in ([], ["lm_head.weight"]) and not missing.unexpected_keys, missing
        model.tie_weights()
        return model
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    for name, p in model.named_parameters():
        assert np.array_equal(p.detach().numpy(), weights[name]), name
    return model


def make(row):
    folder = HERE / "hf" / row["name"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_config(row, folder)
    config = AutoConfig.from_pretrained(folder)
    config = config.get_text_config()
    weights, tokens = random_weights(row, config)
    write_weights(row, weights, folder)
    result = dict(name=row["name"], kind="tiny", family=row["family"], folder=f"hf/{row['name']}", gguf=None,
                  weights=row["dtype"], vocabulary=config.vocab_size, tokens=tokens)
    if row["gguf"]:
        result["gguf"] = f"gguf/{row['name']}.gguf"
        write_gguf(row, config, weights, HERE / result["gguf"])
    result.update(golden_row(load_model(row, folder, config, weights), tokens, row["name"]))
    return result


def main(names):
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    rows = [make(row) for row in TINY if not names or row["name"] in names]
    write_manifest(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
