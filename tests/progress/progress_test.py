"""Progress bars on a pseudo terminal: of pull (against a slow hub), of loading weights, of the launcher's build. No line is
wider than the terminal, no character is cut, the time left stays longest, and there are no escape codes."""
import json
import pathlib
import subprocess
import sys
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "cli"), str(TESTS / "chat")]
from chat_test import Terminal  # noqa: E402
from cli_support import PROGRAM, REAL_MODEL, ROOT, CliCase  # noqa: E402

BIG_MODEL = REAL_MODEL.parent / "qwen2.5-coder-0.5b.gguf"
WIDTHS = (10, 14, 20, 33, 80)
QUIET_TERMINALS = ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"})
TIME_LEFT = r"\d+(s|m \d\ds|h \d\dm)"


class Progress(CliCase):
    def watch(self, arguments, columns, env=None, program=PROGRAM):
        """All that a program writes on a terminal of so many columns, as the lines it drew."""
        terminal = Terminal(arguments, {**self.environment, **(env or {})}, self.folder, columns, program)
        self.addCleanup(terminal.close)
        terminal.wait()
        while terminal.pump(0.1):
            pass
        self.assertNotIn("\x1b[K", terminal.text)
        self.assertNotIn("\ufffd", terminal.text, "half a character")
        return terminal.text

    def bar_lines(self, text, columns):
        # What follows the last carriage return is no bar any more: the result, or an error.
        lines = [line for line in text.split("\n")[0].rstrip("\r").split("\r")[:-1] if line.strip()]
        for line in lines:
            self.assertLess(len(line), columns, repr(line))
        return [line.rstrip() for line in lines]

    def hub(self, name):
        root = self.folder / "hub"
        (root / "repos/org" / name).mkdir(parents=True)
        (root / "repos/org" / name / "m.gguf").write_bytes(bytes(900_000))
        (root / "scenario.json").write_text(json.dumps(
            {"epoch": 1, "rules": [{"match": "^storage", "times": 999, "action": "slow", "rate": 400_000}]}))
        hub = subprocess.Popen([sys.executable, TESTS / "hub/fake_hub.py", root], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        self.addCleanup(hub.stdout.close)
        self.addCleanup(hub.stdin.close)  # it lives as long as this is open
        self.addCleanup(hub.wait)
        self.addCleanup(hub.kill)
        return f"http://127.0.0.1:{hub.stdout.readline().split()[0]}"

    def pull(self, endpoint, name, columns, env):
        self.environment["KINGLET_HOME"] = str(self.folder / f"store-{columns}-{len(env)}-{env.get('TERM')}")
        text = self.watch(["pull", f"hf:org/{name}:m.gguf"], columns, {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", **env})
        if env:
            self.assertNotIn("\x1b", text)
        return self.bar_lines(text, columns)

    def test_pull(self):
        endpoint = self.hub("model")
        for columns in (*WIDTHS, 120):
            with self.subTest(columns=columns):
                lines = self.pull(endpoint, "model", columns, {})
                self.assertRegex("\n".join(lines), TIME_LEFT + " l")
                if columns == 120:
                    self.assertRegex("\n".join(lines), r"pulling .* \[#*\.+\]  +\d+%  .* of .*  .*/s  " + TIME_LEFT + " left")

    def test_pull_without_escape_codes(self):
        endpoint = self.hub("model")
        for env in QUIET_TERMINALS[1:]:
            with self.subTest(env=env):
                self.assertRegex("\n".join(self.pull(endpoint, "model", 40, env)), r"\d+%")

    @unittest.skipUnless(BIG_MODEL.exists(), f"{BIG_MODEL} is not here: ./test big-models")
    def test_weights(self):
        for columns, env in zip(WIDTHS, (*QUIET_TERMINALS, {}, {})):
            with self.subTest(columns=columns, env=env):
                text = self.watch(["run", BIG_MODEL, "-n", "1", "Hi", "--ctx", "256"], columns, env)
                if env:
                    self.assertNotIn("\x1b", text)
                lines = [line for line in text.split("\r") if "weights" in line]
                self.assertTrue(lines)
                self.assertLess(max(len(line.split("\n")[0]) for line in lines), columns)

    def test_launcher(self):
        script = f"root={ROOT}; . {ROOT}/scripts/bootstrap.sh; log_file=log; " \
                 "(printf '[12/345] x\\n'; sleep 2.2) | show_build_progress release"
        for columns, env in zip(WIDTHS, (*QUIET_TERMINALS, {}, {})):
            with self.subTest(columns=columns, env=env):
                text = self.watch(["-c", script], columns, env, program="/bin/bash")
                self.assertNotIn("\x1b", text)
                lines = self.bar_lines(text, columns)
                self.assertTrue(any("12/345" in line for line in lines), lines)
                if columns == 80:
                    self.assertRegex("\n".join(lines), r"kinglet: building release: 12/345, \d s")


if __name__ == "__main__":
    unittest.main()
