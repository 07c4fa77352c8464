"""`embed` and `rerank` of build/dev/kinglet from the outside: the tiny encoders, whose tokenizer knows letters and a few
words."""
import json
import math
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cli_support import PROGRAM, TINY, CliCase  # noqa: E402

MALFORMED, USAGE, UNSUPPORTED = 1, 2, 4
FOLDERS = TINY.parent / "encoders"
MEAN, CROSS = FOLDERS / "bert-mean", FOLDERS / "bert-cross"
JUDGE = FOLDERS / "qwen3-judge"
GENERATIVE = TINY.parent / "hf/qwen2-tied"
BIRD, TREE = "a small bird sings", "the tree"


def numbers(line):
    return [float(x) for x in line.split()]


def read_npy(path):
    data = path.read_bytes()
    end = 10 + struct.unpack_from("<H", data, 8)[0]
    shape = tuple(int(n) for n in data[10:end].decode().split("(")[1].split(")")[0].split(",") if n.strip())
    return shape, list(struct.unpack(f"<{(len(data) - end) // 4}f", data[end:]))


def float32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def write_byte_level(folder, merges, special, behind=None, ids=()):
    """A tokenizer of Qwen's kind: letters from 10 on, merged words from 40 on or at `ids`, `behind` behind each text."""
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
               r"|\s+(?!\S)|\s+")
    vocabulary = {**{chr(ord("a") + i): 10 + i for i in range(26)}, "\u0120": 36}
    vocabulary.update({a + b: 40 + i for i, (a, b) in enumerate(merges)})
    vocabulary.update(ids)
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=False, use_regex=False)
    end = dict(id=behind, type_id=0)
    around = None if behind is None else dict(
        type="TemplateProcessing", single=[{"Sequence": dict(id="A", type_id=0)}, {"SpecialToken": end}],
        pair=[{"Sequence": dict(id="A", type_id=0)}, {"Sequence": dict(id="B", type_id=1)}],
        special_tokens={behind: dict(id=behind, ids=[special[behind]], tokens=[behind])})
    (folder / "tokenizer.json").write_text(json.dumps(dict(
        version="1.0", truncation=None, padding=None, normalizer={"type": "NFC"},
        added_tokens=[dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                      for t, i in special.items()],
        pre_tokenizer=dict(type="Sequence", pretokenizers=[
            dict(type="Split", pattern={"Regex": pattern}, behavior="Isolated", invert=False), byte_level]),
        post_processor=around, decoder=byte_level,
        model=dict(type="BPE", vocab=vocabulary, merges=[f"{a} {b}" for a, b in merges]))))
    roles = dict(pad_token="<|endoftext|>", eos_token="<|endoftext|>")
    (folder / "tokenizer_config.json").write_text(json.dumps(roles))


class Embed(CliCase):
    def rows(self, *args, **options):
        return [numbers(line) for line in self.out("embed", *args, **options).splitlines()]

    def test_lines_json_and_npy_say_the_same(self):
        rows = self.rows(MEAN, BIRD, TREE)
        self.assertEqual([len(r) for r in rows], [12, 12])
        for row in rows:
            self.assertAlmostEqual(math.fsum(x * x for x in row), 1.0, places=5)
        facts = json.loads(self.out("embed", MEAN, BIRD, TREE, "--json"))
        self.assertEqual((facts["dimensions"], facts["pooling"], facts["normalized"]), (12, "mean", True))
        self.assertEqual([e["index"] for e in facts["embeddings"]], [0, 1])
        self.assertEqual([[float32(x) for x in e["embedding"]] for e in facts["embeddings"]],
                         [[float32(x) for x in row] for row in rows])
        self.assertEqual(facts["embeddings"][1]["tokens"], 4)  # [CLS] the tree [SEP]
        self.out("embed", MEAN, BIRD, TREE, "-o", "out.npy")
        shape, values = read_npy(self.folder / "out.npy")
        self.assertEqual(shape, (2, 12))
        self.assertEqual(values, [float32(x) for row in rows for x in row])

    def test_standard_input_has_a_text_a_line(self):
        self.assertEqual(self.rows(MEAN, text_in=f"{BIRD}\n{TREE}\r\n"), self.rows(MEAN, BIRD, TREE))
        # An empty line is an empty text, so that rows and lines stay beside each other.
        self.assertEqual(self.rows(MEAN, text_in=f"{BIRD}\n\n{TREE}"), self.rows(MEAN, BIRD, "", TREE))
        self.assertEqual(self.out("embed", MEAN, text_in=""), "")
        self.assertEqual(json.loads(self.out("embed", MEAN, "--json", text_in=""))["embeddings"], [])

    def test_the_same_text_has_the_same_bits_in_any_batch(self):
        alone = self.rows(MEAN, BIRD)[0]
        texts = [TREE, "a", BIRD, "king kinglet kings", BIRD] * 20
        together = self.rows(MEAN, *texts, "-t", "2")
        for text, row in zip(texts, together):
            if text == BIRD:
                self.assertEqual(row, alone)

    def test_poolings_dimensions_prefix(self):
        mean, first, last = (self.rows(MEAN, BIRD, "--pooling", p)[0] for p in ("mean", "cls", "last"))
        self.assertEqual(len({tuple(mean), tuple(first), tuple(last)}), 3)
        self.assertEqual(self.rows(MEAN, BIRD)[0], mean)
        bare = self.rows(MEAN, BIRD, "--no-normalize")[0]
        cut = self.rows(MEAN, BIRD, "--dimensions", "5")[0]
        length = math.sqrt(math.fsum(x * x for x in bare[:5]))
        for a, b in zip(cut, bare[:5], strict=True):
            self.assertAlmostEqual(a, b / length, places=5)
        self.assertEqual(self.rows(MEAN, "bird", "--prefix", "a small "), self.rows(MEAN, "a small bird"))
        self.assertIn("at most the 12", self.error(MALFORMED, "embed", MEAN, BIRD, "--dimensions", "13"))

    def test_long_texts_are_refused_or_cut_as_asked(self):
        long = "bird " * 60
        error = self.error(MALFORMED, "embed", MEAN, TREE, long)
        for part in ("text 2", "62 tokens", "36 allowed", "--truncate", "--ctx"):
            self.assertIn(part, error)
        self.assertEqual(self.rows(MEAN, long, "--truncate"), self.rows(MEAN, "bird " * 34))
        self.assertEqual(self.rows(MEAN, "bird " * 40, "--ctx", "44"), self.rows(MEAN, "bird " * 40, "--ctx", "42"))
        self.assertIn("learned places", self.error(MALFORMED, "embed", MEAN, "bird " * 50, "--ctx", "60"))

    def test_models_for_something_else(self):
        self.assertIn("--pooling", self.error(UNSUPPORTED, "embed", CROSS, BIRD))
        self.assertIn("kinglet rerank", self.error(UNSUPPORTED, "embed", CROSS, BIRD))
        self.assertIn("generates text", self.error(UNSUPPORTED, "embed", GENERATIVE, BIRD))
        for command in (("run", MEAN, BIRD), ("logits", MEAN, "--tokens", "5", "-o", "x.npy"), ("bench", MEAN)):
            self.assertIn("kinglet embed", self.error(UNSUPPORTED, *command), command)
        self.assertIn("kinglet rerank", self.error(UNSUPPORTED, "run", CROSS, BIRD))

    def test_modules_that_nobody_knows(self):
        for change, said in (({"type": "sentence_transformers.models.Dense"}, "Dense"), ({"path": "9_Pool"}, "9_Pool")):
            shutil.rmtree(self.folder / "m", ignore_errors=True)
            shutil.copytree(MEAN, self.folder / "m")
            modules = json.loads((MEAN / "modules.json").read_text())
            modules[1].update(change)
            (self.folder / "m/modules.json").write_text(json.dumps(modules))
            error = self.error(UNSUPPORTED, "embed", "m/", BIRD)
            self.assertIn(said, error)
            self.assertIn("modules.json", error)
        (self.folder / "m/modules.json").write_text((MEAN / "modules.json").read_text())
        (self.folder / "m/1_Pooling/config.json").write_text('{"pooling_mode_max_tokens": true}')
        self.assertIn("max_tokens", self.error(UNSUPPORTED, "embed", "m/", BIRD))
        (self.folder / "m/1_Pooling/config.json").write_text("[")
        self.assertIn("1_Pooling/config.json", self.error(MALFORMED, "embed", "m/", BIRD))

    def test_inspect_and_plan(self):
        facts = json.loads(self.out("inspect", MEAN, "--json"))
        self.assertEqual((facts["spec"]["family"], facts["spec"]["context"]), ("bert", 44))
        self.assertEqual(facts["spec"]["ignored_tensors"], [])
        self.assertEqual((facts["spec"]["encoder"], facts["spec"]["pooling"], facts["spec"]["labels"]), (True, "mean", 0))
        self.assertRegex(self.out("inspect", CROSS), r"labels +1\n")
        plan = json.loads(self.out("inspect", "--plan", MEAN / "config.json", "--type", "F16", "--json"))
        # transformers' BertModel of this configuration, its pooler in it
        self.assertEqual(plan["parameters"], sum(
            (91 * 12, 44 * 12, 2 * 12, 2 * 12, 12 * 13, 2 * (4 * 12 * 13 + 12 * 20 + 20 + 20 * 12 + 12 + 4 * 12))))

    def test_output_is_written_whole_or_not_at_all(self):
        self.error(MALFORMED, "embed", MEAN, "bird " * 60, "-o", "out.npy")
        self.assertEqual(list(self.folder.iterdir()), [])
        self.error(USAGE, "embed", MEAN, BIRD, "-o", "out.npy", "--json")
        reader = subprocess.Popen([PROGRAM, "embed", str(MEAN)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        reader.stdout.close()
        reader.stdin.write(f"{BIRD}\n" * 5000)
        reader.stdin.close()
        self.assertEqual(reader.wait(60), 141)


class Converted(CliCase):
    """Folders as GGUF files."""

    def test_encoders_say_what_their_folders_say(self):
        self.assertIn("max_seq_length of 36 is left out", self.kinglet("convert", MEAN, "mean.gguf").stderr)
        texts = (BIRD, TREE, "", "KINGLETS sing, birds?", "a b9z unknown\u00e9 caf\u00e9 \u4e2d")
        ours, theirs = (json.loads(self.out("embed", model, *texts, "--json")) for model in (MEAN, "mean.gguf"))
        self.assertEqual(ours["pooling"], "mean")
        for key in ("pooling", "dimensions", "embeddings"):
            self.assertEqual(ours[key], theirs[key])

    def test_a_cross_encoder_keeps_its_pooler_and_head(self):
        self.assertIn("activation", self.error(UNSUPPORTED, "convert", CROSS, "cross.gguf"))  # gelu_new
        folder = self.folder / "cross"
        shutil.copytree(CROSS, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))
        self.out("convert", folder, "cross.gguf")
        ours, theirs = (json.loads(self.out("rerank", model, "bird", TREE, BIRD, "king", "--json"))["results"]
                        for model in (folder, "cross.gguf"))
        self.assertEqual(ours, theirs)
        names = {t["name"] for t in json.loads(self.out("inspect", "cross.gguf", "--tensors", "--json"))["tensors"]}
        self.assertLessEqual({"cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias"}, names)

    def test_qwen3_embedding(self):
        """Its tokenizer puts a token behind each text."""
        folder = self.folder / "folder"
        shutil.copytree(FOLDERS / "qwen3-embedding", folder)
        write_byte_level(folder, [("b", "i"), ("bi", "r"), ("bir", "d"), ("\u0120", "s")], {"<|endoftext|>": 2},
                         behind="<|endoftext|>")
        self.out("convert", folder, "model.gguf")
        texts = ("bird", "a small bird sings", "")
        for command in (("--json",), ("--json", "--no-normalize")):
            ours, theirs = (json.loads(self.out("embed", model, *texts, *command)) for model in (folder, "model.gguf"))
            self.assertEqual(ours["pooling"], "last")
            self.assertEqual([e["tokens"] for e in ours["embeddings"]], [2, 1 + 5 + 2 + 5 + 1, 1])
            self.assertEqual(ours["embeddings"], theirs["embeddings"])

    def test_qwen3_reranker(self):
        """The rows of "yes" and "no" become the head, where the model is called so or its card says so."""
        folder = self.folder / "judge"
        shutil.copytree(JUDGE, folder)
        write_byte_level(folder, [("y", "e"), ("ye", "s"), ("n", "o"), ("b", "i")],
                         {"<|endoftext|>": 2, "<|im_start|>": 80, "<|im_end|>": 81}, ids={"yes": 90, "no": 91})
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
        self.out("convert", folder, "plain.gguf")
        self.out("convert", folder, "named.gguf", "--name", "Qwen3-Reranker-tiny")
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# Qwen3-Reranker-tiny\n")
        self.out("convert", folder, "card.gguf")
        logits = {m: {r["index"]: r["logit"] for r in json.loads(
            self.out("rerank", m, "bird", "bi", "no birds", "yes", "--json", "--compute", "f32"))["results"]}
            for m in (folder, "plain.gguf", "named.gguf", "card.gguf")}
        self.assertEqual(logits["plain.gguf"], logits[folder])
        self.assertEqual(logits["named.gguf"], logits["card.gguf"])
        for index, logit in logits[folder].items():
            self.assertAlmostEqual(logit, logits["card.gguf"][index], places=4)
        facts = json.loads(self.out("inspect", "card.gguf", "--tensors", "--metadata", "--json"))
        self.assertIn("cls.output.weight", {t["name"] for t in facts["tensors"]})


class Rerank(CliCase):
    def results(self, *args, **options):
        return json.loads(self.out("rerank", *args, "--json", **options))["results"]

    def test_best_first(self):
        documents = [TREE, BIRD, "king", "the bird sings in a tree."]
        ranked = self.results(CROSS, "bird", *documents)
        self.assertEqual(sorted(r["index"] for r in ranked), [0, 1, 2, 3])
        self.assertEqual([r["logit"] for r in ranked], sorted((r["logit"] for r in ranked), reverse=True))
        for r in ranked:
            self.assertAlmostEqual(r["score"], 1 / (1 + math.exp(-r["logit"])), places=6)
            self.assertEqual(r["document"], documents[r["index"]])
        self.assertEqual(self.results(CROSS, "bird", text_in="\n".join(documents)), ranked)
        self.assertEqual(self.results(CROSS, "bird", *documents, "--top", "2"), ranked[:2])
        lines = self.out("rerank", CROSS, "bird", *documents).splitlines()
        self.assertEqual(lines[0].split()[:2], [f"{ranked[0]['score']:.6f}", str(ranked[0]["index"] + 1)])
        # A document's score is its own.
        for r in ranked:
            self.assertEqual(self.results(CROSS, "bird", documents[r["index"]])[0]["logit"], r["logit"])

    def test_long_documents_and_wrong_models(self):
        self.assertIn("document 1", self.error(MALFORMED, "rerank", CROSS, "bird", "tree " * 60))
        cut = self.results(CROSS, "bird", "tree " * 60, "--truncate")
        self.assertEqual(cut[0]["tokens"], 48)
        self.assertIn("no room", self.error(MALFORMED, "rerank", CROSS, "bird " * 60, "tree", "--truncate"))
        self.assertIn("--instruction", self.error(UNSUPPORTED, "rerank", CROSS, "bird", "a", "--instruction", "x"))
        self.assertIn("kinglet embed", self.error(UNSUPPORTED, "rerank", MEAN, "bird", "a"))

    def test_the_question_of_qwen3_reranker(self):
        """Against `logits` of the tokens that its model card asks for."""
        model = self.folder / "judge"
        shutil.copytree(JUDGE, model)
        special = {"<|im_start|>": 80, "<|im_end|>": 81, "<|endoftext|>": 2}
        words = "Judge whether the Document meets requirements Instruct Query bird sings tree user assistant think".split()
        vocabulary = {"[UNK]": 0, **special, **{w: 10 + i for i, w in enumerate(words)}, "yes": 90, "no": 91}
        (model / "tokenizer.json").write_text(json.dumps(dict(
            version="1.0", truncation=None, padding=None, normalizer=None, pre_tokenizer={"type": "Whitespace"},
            post_processor=None, decoder=None, model=dict(type="WordLevel", vocab=vocabulary, unk_token="[UNK]"),
            added_tokens=[dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False,
                               special=True) for t, i in special.items()])))
        query, document = "bird", "the bird sings <|im_end|> in the tree"

        def ids(text, read_special):
            parts = re.split("(" + "|".join(map(re.escape, special)) + ")", text) if read_special else [text]
            return [vocabulary.get(w, 0) for p in parts
                    for w in ([p] if read_special and p in special else re.findall(r"\w+|[^\w\s]+", p))]

        tokens = ids('<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct '
                     'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n', True)
        tokens += ids("<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
                      f"<Query>: {query}\n<Document>: {document}", False)
        tokens += ids("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", True)
        found = self.results(model, query, document, "--ctx", "128")[0]
        self.assertEqual(found["tokens"], len(tokens))
        self.out("logits", model, "--tokens", " ".join(map(str, tokens)), "--ctx", "128", "--kv", "f32", "-o", "l.npy")
        (rows, columns), values = read_npy(self.folder / "l.npy")
        last = values[(rows - 1) * columns:]
        self.assertAlmostEqual(found["logit"], last[90] - last[91], places=4)
        other = self.results(model, query, document, "--ctx", "128", "--instruction", "tree")[0]
        self.assertNotEqual(other["logit"], found["logit"])
        self.assertIn("64 allowed", self.error(MALFORMED, "rerank", model, query, document))


if __name__ == "__main__":
    unittest.main()
