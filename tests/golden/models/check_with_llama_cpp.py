"""A second opinion on the GGUF twins: llama.cpp loads them and its logits are compared with the golden ones.

It rounds activations (to F16 beside F16 weights, to 8 bits beside quantised ones), so the limits are wide; a wrong row
order, key or norm is still far outside them. The committed files hold no vocabulary, which llama.cpp wants stated; the
copies it reads say `no_vocab`.
"""
import json
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from llama_cpp import Llama

from common import HERE

LIMITS = {"tiny": 0.05, "quantised": 1.0}  # largest difference of a logit; the logits' standard deviation is about 1.5


def copy_without_vocabulary(source, target, vocabulary):
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, arch)
    writer.add_tokenizer_model("no_vocab")
    if f"{arch}.vocab_size" not in reader.fields:
        writer.add_vocab_size(vocabulary)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub)
    for t in reader.tensors:
        writer.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits_of(path, tokens):
    """None where llama.cpp refuses the file."""
    try:
        model = Llama(str(path), logits_all=True, n_ctx=512, n_batch=512, n_threads=1, verbose=False)
    except ValueError:
        return None
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)])


def main(names):
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for row in json.loads((HERE / "models.json").read_text())["models"]:
            if row["gguf"] is None or names and row["name"] not in names:
                continue
            path = Path(folder) / "model.gguf"
            copy_without_vocabulary(HERE / row["gguf"], path, row["vocabulary"])
            got = logits_of(path, row["tokens"])
            if got is None:
                failures += 1
                print(f"{row['name']:22s} not loaded", flush=True)
                continue
            apart = np.abs(got - np.load(HERE / row["logits"])).max(axis=1)
            bad = not apart.max() < LIMITS[row["kind"]]
            failures += bad
            print(f"{row['name']:22s} largest difference {apart.max():.3f}, at half of the positions below "
                  f"{np.median(apart):.3f}{'  FAILED' if bad else ''}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
