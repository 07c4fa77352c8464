"""`convert` and `quantize` of build/dev/kinglet from the outside: files, summaries, errors, and that nothing is left
where something went wrong."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cli_support import PROGRAM, REAL_MODEL, TINY, CliCase, needs_real_model  # noqa: E402

MALFORMED, NOT_FOUND, UNSUPPORTED, NO_ROOM, NO_IO, INTERRUPTED = 1, 3, 4, 5, 6, 130
FOLDERS = TINY.parent / "hf"
MODEL = TINY / "qwen2-tied.gguf"


class Quantize(CliCase):
    def test_summary_and_file(self):
        facts = json.loads(self.out("quantize", MODEL, "out.gguf", "q4_k_m", "--json"))
        self.assertEqual(facts["type"], "Q4_K_M")
        self.assertEqual(facts["bytes"], (self.folder / "out.gguf").stat().st_size)
        self.assertEqual(sum(t["tensors"] for t in facts["types"].values()), len(facts["tensors"]))
        quantised = [t for t in facts["tensors"] if t["from"] != t["to"]]
        self.assertTrue(quantised)
        for tensor in quantised:
            self.assertTrue(0 < tensor["relative_rmse"] < 0.12, tensor)
        shown = json.loads(self.out("inspect", "out.gguf", "--json"))
        self.assertEqual({name: t["tensors"] for name, t in facts["types"].items()},
                         {name: t["tensors"] for name, t in shown["types"].items()})
        text = self.out("quantize", MODEL, "out.gguf", "Q8_0")
        self.assertIn("out.gguf: Q8_0", text)

    def test_the_models_run(self):
        for mix in ("Q8_0", "Q4_K_M", "Q3_K_M", "IQ4_XS", "MXFP4", "BF16"):
            with self.subTest(mix=mix):
                self.out("quantize", MODEL, "out.gguf", mix)
                self.out("logits", "out.gguf", "--tokens", "1 2 3", "-o", "out.npy")

    def test_overrides(self):
        facts = json.loads(self.out("quantize", MODEL, "out.gguf", "Q4_0", "--tensor", "attn_v=Q8_0", "--tensor",
                                    "blk.0.*_down=F16", "--json"))
        types = {t["name"]: t["to"] for t in facts["tensors"]}
        self.assertEqual(types["blk.0.attn_v.weight"], "Q8_0")
        self.assertEqual(types["blk.0.ffn_down.weight"], "F16")
        self.assertIn("fits no matrix", self.error(MALFORMED, "quantize", MODEL, "b.gguf", "Q4_0", "--tensor", "no=Q8_0"))

    def test_mistakes_leave_nothing(self):
        self.assertIn("Q4_K_M", self.error(MALFORMED, "quantize", MODEL, "out.gguf", "Q4_K_L"))
        copy = self.file("copy.gguf", MODEL.read_bytes())
        self.assertIn("files that are read", self.error(MALFORMED, "quantize", copy, copy, "Q8_0"))
        self.assertEqual(copy.read_bytes(), MODEL.read_bytes())
        self.assertIn("convert", self.error(UNSUPPORTED, "quantize", FOLDERS / "qwen2-tied", "out.gguf", "Q8_0"))
        self.error(NOT_FOUND, "quantize", MODEL, "no/such/out.gguf", "Q8_0")
        self.error(NO_IO, "quantize", MODEL, self.folder, "Q8_0")
        self.assertIn("importance matrix", self.error(MALFORMED, "quantize", MODEL, "o.gguf", "Q8_0", "--imatrix", MODEL))
        (self.folder / "closed").mkdir(mode=0o500)
        self.error(NO_IO, "quantize", MODEL, "closed/out.gguf", "Q8_0", bound_by_modes=True)
        self.assertEqual(list((self.folder / "closed").iterdir()), [])
        self.assertEqual([p.name for p in self.folder.glob("*.gguf*")], ["copy.gguf"])

    def test_a_file_that_may_not_grow(self):
        self.error(NO_ROOM, "quantize", MODEL, "out.gguf", "Q8_0",
                   preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                       resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))))
        self.assertEqual(list(self.folder.glob("out*")), [])


class Convert(CliCase):
    def test_folder_becomes_a_file_that_computes_the_same(self):
        for name in ("llama-mqa", "llama31-rope", "qwen3-five", "gemma3-text", "smollm3-interval", "mistral-nemo"):
            with self.subTest(name=name):
                text = self.kinglet("convert", FOLDERS / name, "out.gguf")
                self.assertIn("no tokenizer", text.stderr)
                for model, file in ((FOLDERS / name, "a.npy"), ("out.gguf", "b.npy")):
                    self.out("logits", model, "--tokens", "1 2 3 4 5", "--compute", "f32", "-o", file)
                self.assertEqual((self.folder / "a.npy").read_bytes(), (self.folder / "b.npy").read_bytes())

    def test_prediction_layers_are_written_or_said_to_be_left_out(self):
        for name in ("deepseek-v3-mtp", "qwen3-next-mtp"):
            facts = json.loads(self.out("convert", FOLDERS / name, "a.gguf", "--json"))
            self.assertEqual(facts["left_out"], [], name)
            self.assertIn("nextn.eh_proj.weight", self.out("inspect", "a.gguf"), name)
        said = self.kinglet("convert", FOLDERS / "deepseek-v4-released", "out.gguf", "--json")
        left_out = json.loads(said.stdout)["left_out"]
        self.assertTrue(left_out and all(name.startswith("mtp.0.") for name in left_out), left_out)
        self.assertIn(f"{len(left_out)} tensors of layers that predict further tokens are left out", said.stderr)

    def test_models_that_gguf_cannot_state(self):
        self.assertIn("sliding windows", self.error(UNSUPPORTED, "convert", FOLDERS / "qwen2-window", "a.gguf"))
        self.assertEqual(list(self.folder.glob("*.gguf*")), [])

    def test_types_and_mistakes(self):
        facts = json.loads(self.out("convert", FOLDERS / "qwen2-tied", "out.gguf", "--type", "Q8_0", "--json"))
        self.assertIn("Q8_0", facts["types"])
        self.assertIn("--type", self.error(MALFORMED, "convert", FOLDERS / "qwen2-tied", "a.gguf", "--tensor", "v=Q8_0"))
        self.assertIn("Hugging Face folder", self.error(MALFORMED, "convert", MODEL, "a.gguf"))
        self.assertEqual([p.name for p in self.folder.glob("*.gguf*")], ["out.gguf"])


@needs_real_model
class RealModel(CliCase):
    def test_control_c_leaves_nothing(self):
        process = subprocess.Popen([PROGRAM, "quantize", REAL_MODEL, "out.gguf", "Q6_K"], cwd=self.folder,
                                   env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not list(self.folder.glob("out.gguf.part*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, INTERRUPTED, message)
        self.assertEqual(list(self.folder.glob("out*")), [])

    def test_memory_is_that_of_tensors_and_not_of_files(self):
        process = subprocess.Popen([PROGRAM, "quantize", REAL_MODEL, "out.gguf", "F16"], cwd=self.folder,
                                   env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        largest = 49152 * 576 * 2  # bytes of the embedding in the file
        self.assertGreater((self.folder / "out.gguf").stat().st_size, 4 * largest)
        self.assertLess(usage.ru_maxrss * 1024, 3 * largest)


if __name__ == "__main__":
    unittest.main()
