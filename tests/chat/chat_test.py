"""Talking to the default model (build/dev/kinglet) through a pseudo terminal: line editing, commands, Ctrl-C and
Ctrl-D, a dead terminal."""
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cli_support import PROGRAM, REAL_MODEL, CliCase, needs_real_model  # noqa: E402

PROMPT = ">>> "
LIMIT_S = 60


class Terminal:
    """The program on a terminal of its own; `text` is all that it wrote."""

    def __init__(self, arguments, environment, folder, columns=80, program=PROGRAM):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([program, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave,
                                        env=environment, cwd=folder, preexec_fn=own_terminal)
        os.close(slave)
        self.text, self.read_to = "", 0

    def pump(self, seconds):
        """Takes in what comes; False when nothing did."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # the program is gone
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)

    def until(self, what, seconds=LIMIT_S):
        """Waits for a text and returns what came before it, since the last call."""
        end = time.monotonic() + seconds
        while (at := self.text.find(what, self.read_to)) < 0:
            if time.monotonic() > end or (not self.pump(0.2) and self.process.poll() is not None and not self.pump(0)):
                raise AssertionError(f"{what!r} did not come; the end of what did: {self.text[-600:]!r}")
        before = self.text[self.read_to:at]
        self.read_to = at + len(what)
        return before

    def send(self, text):
        time.sleep(0.05)  # no one types while the prompt is being drawn
        os.write(self.master, text.encode())

    def ask(self, line):
        """Sends a line at the prompt; returns what the program wrote up to the next prompt."""
        self.send(line + "\r")
        self.until("\n")
        return self.until(PROMPT)

    def wait(self):
        end = time.monotonic() + LIMIT_S
        while self.process.poll() is None and time.monotonic() < end:
            self.pump(0.1)
        return self.process.wait(timeout=1)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.master is not None:
            os.close(self.master)


@needs_real_model
class Chat(CliCase):
    def start(self, *arguments, columns=80, env=None, at_prompt=True):
        terminal = Terminal(["run", REAL_MODEL, "--temp", "0", *arguments], {**self.environment, **(env or {})},
                            self.folder, columns)
        self.addCleanup(terminal.close)
        if at_prompt:
            terminal.until(PROMPT)
        return terminal

    def test_answers_and_remembers(self):
        chat = self.start("--max-tokens", "24")
        self.assertIn("/help", chat.text)
        first = chat.ask("My name is Ada. What is the capital of France?")
        self.assertIn("Paris", first)
        chat.ask("/save talk.json")
        saved = json.loads((self.folder / "talk.json").read_text())
        self.assertEqual([m["role"] for m in saved["messages"]], ["user", "assistant"])
        chat.send("\x04")
        self.assertEqual(chat.wait(), 0)
        self.assertEqual(list(self.folder.glob("core*")), [])

    def test_commands(self):
        chat = self.start("--max-tokens", "8", "--system", "You are terse.")
        helped = chat.ask("/help")
        for command in ("/help", "/system", "/set", "/save", "/load", "/clear", "/stats", "/bye", "Ctrl-C"):
            self.assertIn(command, helped)
        self.assertIn("You are terse.", chat.ask("/system"))
        chat.ask("/system You are a pirate.")
        self.assertIn("pirate", chat.ask("/system"))
        self.assertIn("no value", chat.ask("/set temp hot"))
        self.assertIn("no value", chat.ask("/set max_tokens -3"))
        self.assertIn("cannot be set", chat.ask("/set nonsense 3"))
        self.assertNotIn("no value", chat.ask("/set max_tokens 3"))
        self.assertIn("shown", chat.ask("/stats"))
        self.assertRegex(chat.ask("Hello there"), r"answer 3 tokens, [\d.]+ tokens/s")
        self.assertRegex(chat.ask("Hello again"), r"prompt \d+ tokens \(\d+ of them cached\), [\d.]+ tokens/s")
        chat.ask("/save a b.json")
        self.assertEqual(len(json.loads((self.folder / "a b.json").read_text())["messages"]), 4)
        chat.ask("/clear")
        chat.ask("/save empty.json")
        empty = json.loads((self.folder / "empty.json").read_text())
        self.assertEqual((empty["messages"], empty["system"]), ([], "You are a pirate."))
        self.assertIn("4 messages", chat.ask("/load a b.json"))
        self.assertIn("no command", chat.ask("/nosuch"))
        self.assertIn("No such file", chat.ask("/load nosuch.json"))
        self.assertIn("not a conversation", chat.ask("/load " + str(self.file("odd.json", "[]"))))
        self.assertIn("cannot be written", chat.ask("/save /nosuch/x.json"))
        self.assertIn("device", chat.ask("/save /dev/null"))
        self.assertIn("needs a file", chat.ask("/save"))
        chat.send("/bye\r")
        self.assertEqual(chat.wait(), 0)

    def test_control_c_stops_the_answer_only(self):
        chat = self.start()
        chat.send("Write a very long story about a bird.\r")
        chat.until("\n")
        while len(chat.text) - chat.read_to < 20:
            self.assertTrue(chat.pump(LIMIT_S))
        chat.send("\x03")
        chat.until(PROMPT, 10)
        self.assertIsNone(chat.process.poll())
        chat.ask("/save cut.json")
        self.assertEqual(len(json.loads((self.folder / "cut.json").read_text())["messages"]), 2)
        chat.send("half a li\x03")  # at the prompt it drops the line
        chat.until(PROMPT, 10)
        self.assertIsNone(chat.process.poll())
        chat.send("\x04")
        self.assertEqual(chat.wait(), 0)

    def test_many_lines_and_history(self):
        chat = self.start("--max-tokens", "4")
        chat.send('"""first line\r')
        chat.until("... ")
        chat.send('second line"""\r')
        chat.until(PROMPT)
        chat.send("third \\\r")
        chat.until("... ")
        chat.send("fourth\r")
        chat.until(PROMPT)
        chat.ask("/save lines.json")
        messages = json.loads((self.folder / "lines.json").read_text())["messages"]
        self.assertEqual(messages[0]["content"], "first line\nsecond line")
        self.assertEqual(messages[2]["content"], "third \nfourth")
        chat.send("/bye\r")
        chat.wait()
        history = self.folder / ".config/kinglet/history"
        self.assertEqual(history.stat().st_mode & 0o777, 0o600)
        again = self.start("--max-tokens", "4")
        again.send("\x1b[A\x1b[A")  # the arrow up, past /bye
        again.until("lines.json")
        again.send("\x15\x04")

    def test_full_context_drops_the_oldest_and_says_so(self):
        chat = self.start("--ctx", "256", "--max-tokens", "60")
        told = ""
        for _ in range(4):
            told += chat.ask("Tell me something about birds and their songs, please. " * 4)
        self.assertRegex(told, r"context is full: the oldest \d+ messages? (is|are) dropped")
        too_long = chat.ask("word " * 400)
        self.assertIn("the prompt has", too_long)
        self.assertIsNone(chat.process.poll())

    def test_a_dead_terminal(self):
        for when in ("prompt", "answer"):
            with self.subTest(when=when):
                chat = self.start()
                if when == "answer":
                    chat.send("Write a very long story about a bird.\r")
                    chat.until("\n")
                    chat.pump(LIMIT_S)
                os.close(chat.master)
                chat.master = None
                self.assertIsNotNone(chat.process.wait(timeout=20))

    def test_a_termination_signal(self):
        for when in ("prompt", "answer"):
            with self.subTest(when=when):
                chat = self.start()
                if when == "answer":
                    chat.send("Write a very long story about a bird.\r")
                    chat.until("\n")
                    chat.pump(LIMIT_S)
                chat.process.send_signal(signal.SIGTERM)
                self.assertEqual(chat.wait(), 143)

    def test_twenty_columns(self):
        chat = self.start("--max-tokens", "12", columns=20)
        self.assertGreater(len(chat.ask("Say hello.").strip()), 1)
        chat.send("\x04")
        self.assertEqual(chat.wait(), 0)

    def test_no_color(self):
        chat = self.start("--max-tokens", "4", "--stats", env={"NO_COLOR": "1"})
        told = chat.ask("Say hello.")
        self.assertNotRegex(told, r"\x1b\[\d*m")
        chat = self.start("--max-tokens", "4", "--stats")
        self.assertRegex(chat.ask("Say hello."), r"\x1b\[2m")

    def test_errors_are_red_only_on_a_terminal(self):
        for env, pattern in (({}, r"\x1b\[31merror:"), ({"NO_COLOR": "1"}, r"(?<!m)error:"), ({"TERM": "dumb"}, r"(?<!m)error:")):
            terminal = Terminal(["run", "nosuch:1b", "hi"], {**self.environment, **env}, self.folder)
            self.addCleanup(terminal.close)
            self.assertEqual(terminal.wait(), 3)
            while terminal.pump(0.1):
                pass
            self.assertRegex(terminal.text, pattern)

    def test_a_conversation_without_a_terminal(self):
        done = self.kinglet("run", REAL_MODEL, "--temp", "0", "-n", "6", text_in="Say hello.\n")
        self.assertNotIn(PROMPT, done.stdout)


if __name__ == "__main__":
    unittest.main()
