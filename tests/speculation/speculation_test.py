"""Speculation from the command line: the real model's answers are the same with every kind of drafts; what a drafting model
must be."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cli_support import REAL_MODEL, TINY, CliCase, needs_real_model  # noqa: E402

USAGE, NOT_FOUND = 2, 3
PROMPT = "Go on with this list:\n" + "".join(
    f"item {i}: the quick brown fox number {i} jumps over the lazy dog\n" for i in range(12))


@needs_real_model
class RealModel(CliCase):
    def answer(self, *flags, model=REAL_MODEL):
        return json.loads(self.out("run", model, PROMPT, "-n", 60, "--json", "--seed", 3, *flags))

    def test_drafts_change_the_speed_alone(self):
        for temperature in (0, 0.4):
            plain = self.answer("--temp", temperature, "--speculate", "off", "--draft", REAL_MODEL)
            self.assertEqual((plain["drafted_tokens"], plain["accepted_tokens"]), (0, 0))
            for flags in ([], ["--speculate", "lookup", "--draft-tokens", 3], ["--draft", REAL_MODEL]):
                drafted = self.answer("--temp", temperature, *flags)
                for key in ("text", "finish_reason", "generated_tokens"):
                    self.assertEqual(drafted[key], plain[key], (temperature, flags, key))
                self.assertLessEqual(drafted["accepted_tokens"], drafted["drafted_tokens"])

    def test_a_preset_names_the_drafting_model(self):
        self.kinglet("preset", "save", "pair", "--model", REAL_MODEL, "--draft", "/nowhere/m.gguf", "--temp", 0)
        self.assertEqual(json.loads(self.out("preset", "show", "pair"))["draft"], "/nowhere/m.gguf")
        self.assertIn("/nowhere/m.gguf", self.error(NOT_FOUND, "run", "pair", "x"))
        self.assertEqual(self.answer("--draft", REAL_MODEL, model="pair")["text"], self.answer("--temp", 0)["text"])

    def test_what_cannot_draft(self):
        self.assertIn("--draft: ", self.error(NOT_FOUND, "run", REAL_MODEL, "x", "--draft", "/nowhere/m.gguf"))
        self.assertIn("the drafting model", self.error(NOT_FOUND, "run", REAL_MODEL, "x", "--draft", TINY / "llama-mqa.gguf"))
        for flags in (["--draft-tokens", 0], ["--draft-tokens", 65], ["--speculate", "always"]):
            self.error(USAGE, "run", REAL_MODEL, "x", *flags)


if __name__ == "__main__":
    unittest.main()
