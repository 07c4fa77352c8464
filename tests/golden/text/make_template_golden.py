#!/usr/bin/env python3
"""Writes rendered/NAME.json: what transformers' apply_chat_template makes of conversations.jsonl with each template.

usage: make_template_golden.py TEMPLATE.jinja…
For every conversation: "ok:HASH" (FNV-1a of the text), "raise:TEXT" where the template raised an exception itself, or
"fail" where it failed otherwise. The clock stands still. `full` holds a few texts for a look. Versions: requirements.txt.
"""
import datetime
import json
import pathlib
import sys

import jinja2
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
NOW = 1763791323  # 2025-11-22 06:02:03 UTC


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def render(tok, source, case):
    try:
        text = tok.apply_chat_template(case["messages"], tools=case["tools"], chat_template=source, tokenize=False,
                                       add_generation_prompt=case["add_generation_prompt"], **case["args"])
    except jinja2.exceptions.TemplateError as e:
        if type(e) is jinja2.exceptions.TemplateError:
            return "raise:" + e.message, None
        return "fail", None
    except (TypeError, ValueError, KeyError, AttributeError):
        return "fail", None
    return f"ok:{fnv(text.encode()):x}", text


def main():
    chat_template_utils.datetime = Clock
    tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    cases = [json.loads(line) for line in open(HERE / "conversations.jsonl", encoding="ascii")]
    (HERE / "rendered").mkdir(exist_ok=True)
    for path in map(pathlib.Path, sys.argv[1:]):
        source = path.read_bytes().decode()
        results = [render(tok, source, case) for case in cases]
        golden = {"now": NOW, "results": [r for r, _ in results], "full": [t for _, t in results if t is not None][:2]}
        with open(HERE / "rendered" / f"{path.stem}.json", "w") as f:
            json.dump(golden, f, separators=(",", ":"))
            f.write("\n")
        kinds = [r.split(":")[0] for r, _ in results]
        print(path.stem, {k: kinds.count(k) for k in set(kinds)})


if __name__ == "__main__":
    main()
