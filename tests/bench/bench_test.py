"""The programs of bench/: random models are files that Kinglet runs, comparisons come to the right numbers (beside a rival made
by hand, no other has to be installed), a slow-down in instructions is told. The program: build/dev/kinglet."""
import array
import contextlib
import dataclasses
import importlib.util
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as Xml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("KINGLET_PROGRAM", ROOT / "build/dev/kinglet"))
LIMIT_S = 120
sys.path.insert(0, str(ROOT / "bench"))

import instructions  # noqa: E402
import random_model  # noqa: E402
import roofline  # noqa: E402
import table  # noqa: E402
from parts import limits, tables  # noqa: E402
from parts.gguf_io import TYPES, Header  # noqa: E402
from parts.programs import Kinglet, Rival  # noqa: E402
from parts.shapes import MIXES, SHAPES, choose_type, matrices  # noqa: E402

# What the package mistralrs offers, as far as compare.py uses it: always the same speeds and words.
FAKE_RIVAL = """
import types
class Which:
    GGUF = staticmethod(lambda **named: named)
class CompletionRequest:
    def __init__(self, **named):
        self.__dict__.update(named)
class Runner:
    def __init__(self, **named):
        print("libraries print")
    def send_completion_request(self, request):
        usage = types.SimpleNamespace(avg_prompt_tok_per_sec=0.5, avg_compl_tok_per_sec=0.25, completion_tokens=request.max_tokens,
                                      prompt_tokens=len(request.prompt.split()))
        return types.SimpleNamespace(choices=[types.SimpleNamespace(text="words")], usage=usage)
"""


def kinglet(*arguments):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, check=True, timeout=LIMIT_S).stdout


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def model(self, mix, shape="tiny", pure=False, **changes):
        path = self.folder / f"{shape}-{mix}.gguf"
        random_model.write_model(path, dataclasses.replace(SHAPES[shape], **changes), mix, pure=pure)
        return path


    def refuses(self, program, *arguments, words):
        """It ends with one line of reason, not with Python's own."""
        done = subprocess.run([sys.executable, ROOT / "bench" / program, *map(str, arguments)], capture_output=True, text=True,
                              check=False, timeout=LIMIT_S)
        self.assertNotEqual(done.returncode, 0, arguments)
        self.assertNotIn("Traceback", done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)


class RandomModels(InFolder):
    def logits(self, path):
        out = self.folder / "logits.npy"
        kinglet("logits", path, "--tokens", "1 2 3", "-o", out)
        data = out.read_bytes()
        return array.array("f", data[10 + int.from_bytes(data[8:10], "little"):])

    def check(self, path):
        values = self.logits(path)
        self.assertEqual(len(values), 3 * SHAPES["tiny"].vocabulary)
        self.assertTrue(all(map(math.isfinite, values)))
        self.assertGreater(max(values) - min(values), 1.0)

    def test_every_type(self):
        for kind in TYPES:
            with self.subTest(kind=kind):
                path = self.model(kind, pure=True)
                found = {kind for name, kind, shape in Header(path).tensors if len(shape) > 1}
                self.assertEqual(found, {kind})
                self.check(path)

    def test_experts(self):
        for mix in ("Q4_K_M", "MXFP4"):
            self.check(self.model(mix, "tiny-moe"))

    def test_types_are_those_of_kinglet_quantize(self):
        for name, changes in (("tiny", {"layers": 9, "hidden": 320, "heads": 8, "ffn": 256, "vocabulary": 300}),
                              ("tiny-moe", {"layers": 8, "experts": 2, "vocabulary": 300})):
            source = self.model("F16", name, **changes)
            shape = dataclasses.replace(SHAPES[name], **changes)
            for mix in (*MIXES, "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q6_K", "Q8_0", "IQ4_NL", "IQ4_XS", "MXFP4", "BF16"):
                out = self.folder / "quantised.gguf"
                out.unlink(missing_ok=True)
                kinglet("quantize", source, out, mix)
                for tensor, kind, dims in Header(out).tensors:
                    with self.subTest(shape=name, mix=mix, tensor=tensor):
                        self.assertEqual(choose_type(mix, tensor, dims[0], shape, False, []), kind)

    def test_shapes_have_their_models_sizes(self):
        def parameters(name):
            return sum(math.prod(shape) for _, shape in matrices(SHAPES[name]))
        self.assertEqual(parameters("qwen2-0.5b"), 494_032_768)
        self.assertEqual(parameters("qwen2-1.5b"), 1_543_714_304)
        self.assertAlmostEqual(parameters("llama-4b") / 4.5e9, 1, delta=0.02)
        self.assertAlmostEqual(parameters("qwen3-moe-8b-a1b") / 8.1e9, 1, delta=0.02)

    def test_the_vocabulary_works(self):
        path = self.model("Q8_0", vocabulary=9500)
        text = "The quick brown fox, 12 times.\nä"
        tokens = json.loads(kinglet("tokenize", path, text, "--json"))
        self.assertEqual("".join(token["text"] for token in tokens[:-2]), text[:-1])
        self.assertLess(len(tokens), len(text))
        facts = json.loads(kinglet("inspect", path, "--json"))
        self.assertEqual(facts["spec"]["vocabulary"], 9500)

    def test_the_command_line(self):
        out = self.folder / "a.gguf"
        for path, more in ((out, []), (self.folder / "b.gguf", []), (self.folder / "c.gguf", ["--seed", "2"])):
            subprocess.run([sys.executable, ROOT / "bench/random_model.py", path, "--shape", "tiny", "--type", "q4_k_m", "--layers", "3",
                            "--tensor", "*ffn_up*=Q2_K", *more], check=True, capture_output=True)
        self.assertEqual(out.read_bytes(), (self.folder / "b.gguf").read_bytes())
        self.assertNotEqual(out.read_bytes(), (self.folder / "c.gguf").read_bytes())
        header = Header(out)
        self.assertEqual(header.keys["qwen2.block_count"], 3)
        self.assertEqual(header.keys["general.file_type"], 15)
        self.assertEqual({kind for name, kind, _ in header.tensors if "ffn_up" in name}, {"Q2_K"})
        self.assertTrue(limits.is_random(out))

    def test_shapes_that_are_none_are_refused(self):
        for name, value, words in (("vocabulary", 10, "259"), ("heads", 0, "at least 1"), ("kv-heads", 3, "multiple of kv_heads, 3"),
                                   ("layers", -1, "at least 1"), ("head-dim", 7, "even"), ("experts", 4, "qwen2 can't have"),
                                   ("experts-used", -1, "at least 0")):
            self.refuses("random_model.py", self.folder / "a.gguf", "--shape", "tiny", "--type", "Q8_0", f"--{name}", value,
                         words=("found " + str(value) if name != "kv-heads" else "found 4", words))
        self.refuses("random_model.py", self.folder / "a.gguf", "--shape", "tiny-moe", "--type", "Q8_0", "--experts-used", 9,
                     words=("found 9", "1 to 8"))
        self.refuses("random_model.py", self.folder / "none/a.gguf", "--shape", "tiny", "--type", "Q8_0",
                     words=("none/a.gguf", "cannot be written"))
        self.assertEqual(list(self.folder.iterdir()), [])

    @unittest.skipUnless(importlib.util.find_spec("llama_cpp"), "the package llama-cpp-python is not installed")
    def test_llama_cpp_loads_them(self):
        for mix, shape in (("Q4_K_M", "tiny"), ("Q8_0", "tiny-moe")):
            rival = Rival("llama.cpp", self.model(mix, shape), 1, 2)
            self.addCleanup(rival.end)
            self.assertGreater(rival.ask(do="prompt", variant="flash attention on", tokens=4, depth=0, kv="f16"), 0)
            self.assertGreater(rival.ask(do="generation", variant="flash attention off", tokens=2, depth=0, kv="f16", batch=2), 0)
            said = rival.ask(do="greedy", text="abc", tokens=2, special=True)
            self.assertEqual(len(said["ids"]), 2)
            self.assertGreaterEqual(len(said["text"].strip("\0")), 2)
            with self.assertRaises(Rival.Cannot):
                rival.ask(do="generation", variant="flash attention off", tokens=2, depth=8, kv="q8_0", batch=1)


class Comparison(InFolder):
    def compare(self, *arguments, packages=None):
        out = self.folder / "result.json"
        done = subprocess.run([sys.executable, ROOT / "bench/compare.py", *map(str, arguments), "--kinglet", PROGRAM, "-t", "1",
                               "--json", out], capture_output=True, text=True, check=False, timeout=LIMIT_S,
                              env={**os.environ, "PYTHONPATH": str(packages or "")})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(out.read_text()), done

    def fake_packages(self):
        packages = self.folder / "packages"
        (packages / "mistralrs-1.2.3.dist-info").mkdir(parents=True)
        (packages / "mistralrs-1.2.3.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mistralrs\nVersion: 1.2.3\n")
        (packages / "mistralrs.py").write_text(FAKE_RIVAL)
        return packages

    def test_beside_a_rival(self):
        result, done = self.compare(self.model("Q4_K_M"), "--rivals", "mistral.rs", "-p", "8", "-n", "2", "-b", "2", "-d", "16", "--kv",
                                    "q8_0", "--rounds", "2", "--deep-rounds", "1", "--memory", "--start", "1",
                                    packages=self.fake_packages())
        self.assertEqual([r["version"] for r in result["rivals"]], ["mistralrs 1.2.3"])
        model, = result["models"]
        works = {tables.label(work): work for work in model["works"]}
        self.assertEqual(list(works), ["prompt 8", "generation 2", "generation 2, 2 together", "generation 2 at 16, q8_0 KV"])
        prompt = works["prompt 8"]
        self.assertEqual(len(prompt["kinglet"]["rounds"]), 2)
        theirs = prompt["rivals"]["mistral.rs"]
        self.assertEqual(theirs["median"], 0.5)
        self.assertAlmostEqual(theirs["ratio"], sum(prompt["kinglet"]["rounds"]) / 2 / 0.5)
        self.assertEqual(theirs["spread"], [2 * min(prompt["kinglet"]["rounds"]), 2 * max(prompt["kinglet"]["rounds"])])
        self.assertEqual(works["generation 2, 2 together"]["rivals"], {})  # it can't, and that is said
        self.assertTrue(any("one sequence" in note for note in result["notes"]), result["notes"])
        self.assertGreater(prompt["limit"]["share"], 0)
        self.assertIsNone(works["generation 2, 2 together"]["limit"])
        self.assertGreater(model["memory"]["Kinglet"]["peak"], model["file_bytes"])
        self.assertGreater(model["start"]["rivals"]["mistral.rs"]["from_exec"], model["start"]["rivals"]["mistral.rs"]["after_import"])
        self.assertLessEqual(model["start"]["prompt_tokens"], 10)
        self.assertNotIn("greedy", model)  # random weights say nothing
        self.assertIn("| generation 2, 2 together |", done.stdout)
        self.assertEqual(len(Xml.fromstring(roofline.draw([result])).findall("{*}circle")), 2 * 2 + 1)

    def test_rivals_that_are_not_there_are_skipped_aloud(self):
        packages = self.folder / "packages"
        packages.mkdir()
        (packages / "mistralrs.py").write_text("raise SystemExit('broken')")
        result, done = self.compare(self.model("Q8_0"), "-p", "4", "-n", "0", "--rounds", "1", packages=packages)
        if not importlib.util.find_spec("openvino_genai"):
            self.assertIn("OpenVINO skipped for tiny-Q8_0.gguf: the package openvino-genai is not installed", done.stderr)
        self.assertIn("mistral.rs skipped for tiny-Q8_0.gguf: its process ended with 1: broken", done.stderr)
        self.assertIn("mistral.rs skipped", done.stdout)
        self.assertEqual(len(result["models"][0]["works"]), 1)

    def test_wrong_input_is_told_before_anything_is_measured(self):
        good, none, text = self.model("Q8_0"), self.folder / "none.gguf", self.folder / "text.gguf"
        cut = self.folder / "cut.gguf"
        text.write_text("text")
        cut.write_bytes(good.read_bytes()[:40])
        for arguments, words in (((none,), ("none.gguf", "No such file")), ((good, text), ("text.gguf", "expected a GGUF file")),
                                 ((cut,), ("cut.gguf", "end of the file")), ((good, "--kv", "f8"), ("found f8", "q8_0")),
                                 ((good, "--rounds", "0"), ("--rounds",)), ((good, "--rivals", "x"), ("found x", "OpenVINO"))):
            self.refuses("compare.py", *arguments, "--kinglet", PROGRAM, words=words)
        self.refuses("compare.py", good, "--kinglet", self.folder / "absent", words=("absent is no program",))
        results = self.folder / "results.json"
        for program, more in (("table.py", ()), ("roofline.py", ("-o", self.folder / "a.svg"))):
            results.write_text("x")
            self.refuses(program, results, *more, words=("results.json", "found no JSON"))
            results.write_text("{}")
            self.refuses(program, results, *more, words=("results.json", "found other JSON"))
            self.refuses(program, none, *more, words=("none.gguf", "cannot be read"))

    def test_packed_weights_are_not_resident_as_file_pages_too(self):
        small, large = self.model("Q8_0"), self.model("Q8_0", "tiny-moe", layers=8, experts=64)
        files = [Kinglet(PROGRAM, path, 1).memory(4, 1)["file"] for path in (small, large)]  # the program's own pages are in both
        more = large.stat().st_size - small.stat().st_size
        self.assertGreater(more, 64 << 20)
        self.assertLess(files[1] - files[0], more // 4)

    def test_shares(self):
        parameters = {"int8": 1_000_000, "float": 500_000}
        machine = {"read_gb_per_second": 10.0, "int8_gop_per_second": 100.0, "float_gflop_per_second": 50.0}
        work = {"kind": "prompt", "tokens": 8, "depth": 0, "batch": 1}
        prompt = limits.share(work, 1000.0, machine, parameters, 0, 0)  # 2e6 / 1e11 + 1e6 / 5e10 seconds a token
        self.assertAlmostEqual(prompt["limit"], 25000)
        self.assertAlmostEqual(prompt["share"], 0.04)
        work = {"kind": "generation", "tokens": 8, "depth": 96, "batch": 1}
        self.assertAlmostEqual(limits.share(work, 500.0, machine, parameters, 9_000_000, 10_000)["share"], 0.5)
        self.assertIsNone(limits.share({**work, "batch": 2}, 500.0, machine, parameters, 1, 1))

    def test_parameters_that_a_token_uses(self):
        shape, path = SHAPES["tiny-moe"], self.model("Q8_0", "tiny-moe")
        layer = shape.hidden * (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim + 3 * shape.experts_used * shape.hidden * shape.ffn
        self.assertEqual(limits.parameters_used(path), {"int8": 2 * layer, "float": 2 * shape.hidden * shape.experts,
                                                        "head": shape.hidden * shape.vocabulary})

    def test_losses_are_told(self):
        def result(ratio, start):
            work = {"kind": "prompt", "tokens": 8, "depth": 0, "batch": 1, "kv": "f16", "rivals": {"x": {"ratio": ratio}}}
            return [{"models": [{"model": "m", "works": [work], "start": {"kinglet": start, "rivals": {"x": {"after_import": 2}}}}]}]
        self.assertEqual(tables.losses(result(1.5, 2)), "Where it loses: in none of these 2 comparisons.\n")
        self.assertEqual(tables.losses(result(0.5, 3)), "Where it loses: m, prompt 8: 0.50 of x; m, start: 1.50 times as long as x.\n")
        self.assertEqual(tables.losses([{"models": []}]), "")

    def test_a_page_takes_the_table(self):
        page = f"# A\n{table.BEGIN}\nold\n{table.END}\nend\n"
        self.assertEqual(table.put(page, "new\n"), f"# A\n{table.BEGIN}\n\nnew\n\n{table.END}\nend\n")
        with self.assertRaises(SystemExit):
            table.put("# A\n", "new")
        self.assertEqual(table.put((ROOT / "docs/PERFORMANCE.md").read_text(), "new\n").count("new\n"), 1)


class Instructions(unittest.TestCase):
    def judge(self, expected, found):
        problems, remarks, passed = instructions.judge(expected, found)
        return len(problems), len(remarks), passed

    def test_more_than_allowed_fails(self):
        self.assertEqual(self.judge({"a": 1000, "b": 1000}, {"a": 1030, "b": 1000}), (0, 0, 2))
        self.assertEqual(self.judge({"a": 1000, "b": 1000}, {"a": 1031, "b": 1000}), (1, 0, 1))
        self.assertEqual(self.judge({"a": 1000}, {"a": 900}), (0, 1, 1))
        problem, = instructions.judge({"linear/Q4_K": 1000}, {"linear/Q4_K": 1100})[0]
        for part in ("linear/Q4_K", "1,100", "1,000", "10.0 %", "--write"):
            self.assertIn(part, problem)

    def test_kernels_that_came_or_went_fail(self):
        self.assertEqual(self.judge({"a": 1}, {"b": 1}), (2, 0, 0))

    def test_callgrinds_files(self):
        dump = "desc: Timerange: 1\ndesc: Trigger: Client Request: quantise/32\n\nevents: Ir\nsummary: 7\n"
        self.assertEqual(instructions.parse_dumps([dump, "desc: Trigger: Program termination\nsummary: 9\n"]), {"quantise/32": 7})

    def test_another_compiler_is_skipped_aloud(self):
        with tempfile.TemporaryDirectory() as folder:
            build = pathlib.Path(folder)
            compiler, program = build / "c++", build / "bench/instruction_cases"
            program.parent.mkdir()
            program.touch()
            compiler.write_text("#!/bin/sh\necho 'c++ (Elsewhere) 99.1'\n")
            compiler.chmod(0o755)
            (build / "CMakeCache.txt").write_text(f"CMAKE_CXX_COMPILER:STRING={compiler}\n")
            said, arguments = io.StringIO(), sys.argv
            self.addCleanup(setattr, sys, "argv", arguments)
            sys.argv = ["instructions.py", "--program", str(program)]
            with contextlib.redirect_stdout(said):
                self.assertEqual(instructions.main(), 77)
            self.assertIn("this build is by g++ (Elsewhere) 99.1", said.getvalue())


if __name__ == "__main__":
    unittest.main()
