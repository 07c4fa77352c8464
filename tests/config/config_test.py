"""The configuration file and presets of build/dev/kinglet: what they may hold, and what is told where they are wrong."""
import json
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cli_support import TINY, CliCase  # noqa: E402

MALFORMED, USAGE, NOT_FOUND = 1, 2, 3
MODEL = TINY / "llama-mqa.gguf"


class ConfigurationFile(CliCase):
    def with_config(self, text):
        self.file(".config/kinglet/config.toml", text)

    def wrong(self, text, *words, command=("version",)):
        self.with_config(text)
        with self.subTest(text=text):
            message = self.error(USAGE, *command)
            for word in (str(self.folder / ".config/kinglet/config.toml"), *words):
                self.assertIn(word, message)
            self.assertEqual(message.count("see `kinglet"), 1, message)

    def test_the_line_and_the_nearest_name(self):
        self.wrong("[run]\n\ntmep = 0.5\n", "line 3", '"tmep" is no flag of run', "the nearest are temp")
        self.wrong("[rnu]\ntemp = 0.5\n", "line 2", '"rnu" is no command', "the nearest are run")
        self.wrong("[preset.sav]\ntemp = 0.5\n", "line 2", '"sav" is no command', "save")
        self.wrong("quite = true\n", "line 1", '"quite" is no flag of kinglet', "quiet")
        self.wrong("[run]\nquiet = true\n", "line 2", "before the first section")
        self.wrong("[run]\nMODEL = \"x\"\n", "line 2", '"MODEL" is no flag', "model")
        self.wrong("[run]\nhelp = true\n", "line 2", '"help" is no flag')

    def test_values_that_flags_refuse(self):
        for text, *words in (("[inspect]\nkv = \"f64\"\n", "line 2", "--kv", "f64"), ("[run]\n\ntop-p = 2\n", "line 3", "--top-p", "above 0 and up to 1"),
                             ("[run]\nctx = lots\n", "line 2", "--ctx"), ("[run]\nseed = -1\n", "line 2", "--seed"),
                             ("[run]\njson = maybe\n", "line 2", "--json"), ("[run]\ntemp = [1, 2]\n", "line 2", "--temp")):
            self.wrong(text, *words, command=("inspect", MODEL) if "inspect" in text else ("run", MODEL, "hi"))
        # One on the command line is not the file's.
        self.with_config("[inspect]\nkv = \"f16\"\n")
        self.assertNotIn("config.toml", self.error(USAGE, "inspect", MODEL, "--kv", "f64"))

    def test_syntax(self):
        for text, *words in (("[run\n", "line 1", "[run]"), ("[]\n", "line 1"), ("= 3\n", "line 1", "expected a name"),
                             ("[run]\ntemp =\n", "line 2", '"temp" has no value'), ("[run]\nsystem = \"open\n", "line 2", "no end"),
                             ("[run]\nsystem = 'open\n", "line 2", "no end"), ("[run]\nsystem = \"a\" b\n", "line 2", "behind the value"),
                             ("[run]\nsystem = \"\\q\"\n", "line 2", r"\\q"), ("[run]\n\nstop = [\"a\",\n\"b\"\n", "line 3", "no end"),
                             ("[run]\ntemp = 1\n\ntemp = 2\n", "line 4", "line 2"), ("[run] x\n", "line 1", "end of the line"),
                             ("{\n", "line 1", '"{" is no flag'), ("\0\n", "line 1", r"\x00")):
            self.wrong(text, *words)

    def test_what_values_may_be(self):
        self.with_config("\ufeff# first\n; second\r\nquiet = false # third\n[preset.save]\r\n"
                         "system = \"a # \\\"b\\\", [c]\" # and more\ntemp = 0.25\nlogit-bias = [ '1=2', # one\n\n \"3=-4\", ]\nno-think\n"
                         "[inspect]\nkv = q8_0\n")
        self.kinglet("preset", "save", "p", "--model", "m")
        preset = json.loads(self.out("preset", "show", "p"))
        self.assertEqual(preset, {"model": "m", "system": "a # \"b\", [c]", "temperature": 0.25, "think": False,
                                  "logit_bias": ["1=2", "3=-4"]})
        self.assertEqual(json.loads(self.out("inspect", MODEL, "--json"))["kv"], "q8_0")
        self.with_config("inspect.kv = q8_0")
        self.assertEqual(json.loads(self.out("inspect", MODEL, "--json"))["kv"], "q8_0")

    def test_help_is_given_all_the_same(self):
        self.with_config("[run]\nnonsense = 1\n")
        for command in (["--help"], ["run", "--help"]):
            self.assertIn("Usage", self.out(*command))
        self.assertIn("nonsense", self.error(USAGE, "nosuch"))  # the first thing to repair
        self.kinglet("version", env={"KINGLET_CONFIG": ""})  # no file at all
        self.error(USAGE, "version", env={"KINGLET_CONFIG": "nosuch.toml"})

    def test_the_usual_model(self):
        """Only where the command line names none."""
        tiny = TINY / "gemma3-text.gguf"
        self.with_config(f"[run]\nmodel = '{self.folder}/usual.gguf'\n")
        usual = f"{self.folder}/usual.gguf: no such file"
        self.assertIn(usual, self.error(NOT_FOUND, "run", "a question"))
        self.assertIn(usual, self.error(NOT_FOUND, "run", text_in="a question"))
        for words in (["./nosuch.gguf", "a question"], ["-m", "./nosuch.gguf", "a question"]):
            self.assertIn("./nosuch.gguf: no such file", self.error(NOT_FOUND, "run", *words))
        self.assertNotIn("usual.gguf", self.kinglet("run", tiny, "a question", expect=None).stderr)

    def test_a_home_of_somebody_else(self):
        self.with_config("nonsense = 1\n")
        closed = self.folder / ".config"
        os.chmod(closed, 0)
        self.addCleanup(os.chmod, closed, 0o755)
        self.kinglet("version", bound_by_modes=True)
        self.assertIn("no model is called", self.error(NOT_FOUND, "inspect", "nosuch:1b", bound_by_modes=True))
        os.chmod(closed, 0o755)
        os.chmod(closed / "kinglet/config.toml", 0)  # one that was meant to be read
        self.assertIn("config.toml: cannot be read: Permission denied", self.error(USAGE, "version", bound_by_modes=True))

    def test_without_a_home(self):
        for name in ("HOME", "XDG_CONFIG_HOME"):
            self.environment.pop(name, None)
        self.kinglet("version")
        self.kinglet("inspect", MODEL)
        self.assertIn("HOME", self.error(NOT_FOUND, "preset", "save", "p", "--model", "m"))
        self.assertIn("HOME", self.error(NOT_FOUND, "preset", "rm", "p"))
        self.assertEqual(self.out("preset", "list"), "")


class Presets(CliCase):
    def wrong(self, content, *words):
        path = self.file(".config/kinglet/presets/p.json", content)
        for code, *command in ((MALFORMED, "run", "p", "hi"), (MALFORMED, "inspect", "p"), (MALFORMED, "preset", "show", "p")):
            with self.subTest(content=content, command=command):
                message = self.error(code, *command)
                for word in (str(path), "kinglet preset rm p", *words):
                    self.assertIn(word, message)

    def test_ranges_are_those_of_the_flags(self):
        for key, flag, value, expected in (
                ("top_k", "--top-k", 99999999999, "from 0 to 268435456"), ("max_tokens", "-n", -3, "from 1 to 268435456"),
                ("max_tokens", "-n", 0, "from 1"), ("context", "--ctx", -1, "from 0 to 268435456"), ("temperature", "--temp", 101, "from 0 to 100"),
                ("top_p", "--top-p", 0, "above 0 and up to 1"), ("min_p", "--min-p", 1.5, "from 0 to 1"), ("typical_p", "--typical", 2, "up to 1"),
                ("repetition_penalty", "--repeat-penalty", 0, "from 0.01 to 100"), ("penalty_last_n", "--repeat-last-n", -2, "from -1"),
                ("presence_penalty", "--presence-penalty", -101, "from -100 to 100"),
                ("frequency_penalty", "--frequency-penalty", 101, "from -100 to 100"), ("seed", "--seed", -3, "whole number from 0")):
            for command in (["run", MODEL, "hi"], ["preset", "save", "q", "--model", "m"]):
                message = self.error(USAGE, *command, flag, value)
                self.assertIn(expected, message)
                self.assertIn(f"found {value}", message)
            self.wrong(json.dumps({"model": "m", key: value}), f"{key}: found {value}", expected)
        self.assertFalse((self.folder / ".config/kinglet/presets/q.json").exists())

    def test_corrupt_ones_are_named(self):
        self.wrong("", "expected JSON")
        self.wrong('{"model": "m",\n "temp', "expected JSON", "line 2")
        self.wrong("[1]", "found array, expected an object")
        self.wrong("{}", "model")
        self.wrong('{"model": 3}', "model: found 3, expected a text")
        self.wrong('{"model": "m", "think": "yes"}', 'think: found "yes", expected true or false')
        self.wrong('{"model": "m", "top_k": 1.5}', "top_k: found 1.5, expected a whole number")
        self.wrong('{"model": "m", "temprature": 1}', '"temprature" is no key of a preset', "temperature")
        self.wrong('{"model": "m", "logit_bias": [3]}', "logit_bias", "list of texts")
        self.kinglet("preset", "rm", "p")
        self.assertIn("no model is called", self.error(NOT_FOUND, "inspect", "p"))

    def test_everything_comes_back(self):
        self.kinglet("preset", "save", "p", "--model", MODEL, "--logit-bias", "3=-1.5", "--logit-bias", "4=-inf", "--seed", 2 ** 64 - 1,
                     "--top-k", 0, "--repeat-last-n", -1, "--think")
        preset = json.loads(self.out("preset", "show", "p"))
        self.assertEqual(preset, {"model": str(MODEL), "logit_bias": ["3=-1.5", "4=-inf"], "seed": 2 ** 64 - 1, "top_k": 0,
                                  "penalty_last_n": -1, "think": True})
        self.assertIn("ID=VALUE", self.error(MALFORMED, "preset", "save", "q", "--model", "m", "--logit-bias", "x"))


class Mistyped(CliCase):
    """One wording for commands, flags and keys; one hint to --help."""

    def test_near_matches(self):
        for arguments, words in ((["inspct", "m"], ('"inspct" is no command; the nearest are inspect', "`kinglet --help`")),
                                 (["preset", "sav", "x"], ('"sav" is no command of preset; the nearest are save', "`kinglet preset --help`")),
                                 (["preset", "save", "x", "--modl", "y"], ('"--modl" is no flag; the nearest are --model', "`kinglet preset save --help`")),
                                 (["run", "--max-tokns=5"], ('"--max-tokns" is no flag; the nearest are --max-tokens', "`kinglet run --help`")),
                                 (["--verbos", "list"], ("the nearest are --verbose", "--help`")),
                                 ([], ("a command is missing: run, serve, p", "`kinglet --help`")),
                                 (["preset"], ("a command is missing: save, show", "`kinglet preset --help`")),
                                 (["list", "x"], ('found "x" behind all that list takes\n', "`kinglet list --help`")),
                                 (["run", "m", "why", "is"], ('found "is" behind all that run takes; a text of several words goes into quotes',)),
                                 (["run", "m", "--temp", "hot"], ('--temp: found "hot", which is no value for it',)),
                                 (["run", "m", "--temp"], ("--temp: its value is missing",))):
            with self.subTest(arguments=arguments):
                message = self.error(USAGE, *arguments)
                for word in words:
                    self.assertIn(word, message)
                self.assertEqual(message.count("see `kinglet"), 1, message)
                self.assertEqual(len(message.strip().splitlines()), 2, message)

    def test_what_many_type(self):
        self.assertRegex(self.out("--version"), r"^kinglet \d+\.\d+\.\d+\n$")
        self.assertEqual(self.out("help"), self.out("--help"))
        self.assertEqual(self.out("help", "preset", "save"), self.out("preset", "save", "--help"))


if __name__ == "__main__":
    unittest.main()
