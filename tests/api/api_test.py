"""Installs the dev build (build/dev/kinglet and its libraries) into an empty folder, compiles examples/cpp against it
outside the tree, and asks the default model a question."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/dev"
MODELS = pathlib.Path(os.environ.get("KINGLET_TEST_MODELS", ROOT / "build/test-models"))

CLASSIFIER = ROOT / "tests/golden/models/encoders/bert-cross"


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="kinglet-api-"))
        run("cmake", "--install", BUILD, "--prefix", cls.folder / "installed")
        # Moved after the installation: the package must not remember where it was put.
        cls.prefix = cls.folder / "moved"
        (cls.folder / "installed").rename(cls.prefix)
        shutil.copytree(ROOT / "examples/cpp", cls.folder / "example")
        run("cmake", "-G", "Ninja", "-S", cls.folder / "example", "-B", cls.folder / "build", f"-DCMAKE_PREFIX_PATH={cls.prefix}")
        run("cmake", "--build", cls.folder / "build")
        cls.program = cls.folder / "build/ask"

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def test_only_public_headers_are_installed(self):
        headers = sorted(str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*.h"))
        self.assertEqual(headers, ["include/kinglet/kinglet.h"])

    def test_no_path_of_the_source_tree_is_left(self):
        for path in self.prefix.rglob("*.cmake"):
            self.assertNotIn(str(ROOT), path.read_text(), path)

    def test_a_missing_model_is_a_clear_failure(self):
        done = subprocess.run([self.program, "/nowhere/model.gguf"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/model.gguf", done.stderr)

    def test_embeds(self):
        similar, model = self.folder / "build/similar", ROOT / "tests/golden/models/encoders/bert-mean"
        lines = run(similar, model, "a small bird", "a small bird", "the tree sings").stdout.splitlines()
        likeness = [float(line.split("  ")[0]) for line in lines]
        self.assertAlmostEqual(likeness[0], 1.0, places=5)
        self.assertLess(likeness[1], 0.9999)
        done = subprocess.run([similar, model, "bird", "bird " * 60], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("text 2: 62 tokens", done.stderr)
        done = subprocess.run([similar, CLASSIFIER, "bird", "tree"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("ranks or classifies", done.stderr)

    def test_answers(self):
        model = MODELS / "smollm2.gguf"
        if not model.exists():
            self.skipTest(f"the default model is not in {MODELS}; ./test models fetches it")
        question = "What is the chemical formula of water?"
        done = run(self.program, model, question)
        self.assertIn("H2O", done.stdout)
        self.assertEqual(run(self.program, model, question).stdout, done.stdout)


if __name__ == "__main__":
    unittest.main()
