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

from common import (CHOOSES_ONLY, HERE, Unlucky, golden_row, on_common_grid, random_tensor, random_tokens, rng_for, state_of,
                    stored_places, write_manifest)
from llama_cpp_converter import convert
from make_gguf import ARCH, write_gguf
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


def random_weights(row, config, seed):
    """Name in memory -> float32 array, exactly as the stored type will hold it, and the same by stored name."""
    model = new_model(config)
    rng = rng_for(row["name"], seed)
    tied = bool(config.tie_word_embeddings)
    weights = {}
    for name, p in state_of(model).items():
        w = random_tensor(rng, name, p, row["gain"], tied, config.model_type == "gpt_oss")
        if row["grid"]:
            w = on_common_grid(w)
        weights[name] = torch.from_numpy(w.astype(np.float32)).to(TORCH_TYPE[row["dtype"]]).float().numpy()
    flat = np.concatenate([w.ravel() for w in weights.values()])
    stored = {n: flat[places.numpy()] for n, places in stored_places(model).items()}
    tokens = random_tokens(rng, config.vocab_size, row["tokens"])
    if row["mtp"]:
        stored.update(row["mtp"](stored, config, rng))
    return weights, stored, tokens


def new_model(config):
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager",
                                            dtype=torch.float32)


def write_weights(row, weights, folder):
    tensors = {n: torch.from_numpy(w).to(torch.float32 if n.endswith(CHOOSES_ONLY) else TORCH_TYPE[row["dtype"]])
               for n, w in weights.items()}
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
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32,
                                                 attn_implementation="eager", experts_implementation="eager")
    for name, p in state_of(model).items():
        assert np.array_equal(p.numpy(), weights[name]), name
    return model


def oracle_config(row, folder):
    """The config as transformers understands it."""
    if row["oracle"]:
        fields = dict(row["oracle"])
        return AutoConfig.for_model(fields.pop("model_type"), **fields)
    return AutoConfig.from_pretrained(folder).get_text_config()


def write_twin(row, config, weights, folder, path):
    if config.model_type in ARCH:
        write_gguf(row, config, weights, path)
    else:
        convert(folder, path, row["gguf"])


def make_with(row, seed):
    folder = HERE / "hf" / row["name"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_config(row, folder)
    config = oracle_config(row, folder)
    weights, stored, tokens = random_weights(row, config, seed)
    write_weights(row, stored, folder)
    golden = golden_row(load_model(row, folder, config, weights), tokens, row["name"], row["tolerance"])
    result = dict(name=row["name"], kind="tiny", family=row["family"], folder=f"hf/{row['name']}", gguf=None,
                  weights=row["dtype"], vocabulary=config.vocab_size, tokens=tokens)
    if row["gguf"]:
        result["gguf"] = f"gguf/{row['name']}.gguf"
        write_twin(row, config, weights, folder, HERE / result["gguf"])
    result.update(golden)
    if row["pending"]:
        result["pending"] = True
    return result


def make(row):
    """With the first seed whose random weights meet the demands; most models need no second."""
    for seed in range(60):
        try:
            return make_with(row, seed)
        except Unlucky as why:
            print(f"{row['name']:18s} seed {seed}: {why}", flush=True)
    raise SystemExit(f"{row['name']}: no seed meets the demands")


def main(names):
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    for row in TINY:
        if not names or row["name"] in names:
            write_manifest([make(row)], [r["name"] for r in TINY])


if __name__ == "__main__":
    main(sys.argv[1:])
