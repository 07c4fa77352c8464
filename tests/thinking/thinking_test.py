"""`kinglet run` on a model that thinks (thinking_model.py): what is shown, dimmed, hidden, and where it goes in --json; what
the template hears; what becomes of earlier thinking; limits and stop strings inside it."""
import json
import pathlib
import signal
import subprocess
import sys
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[0] / "cli"), str(FOLDER.parents[0] / "chat")]
from chat_test import PROMPT, Terminal  # noqa: E402
from cli_support import PROGRAM, CliCase  # noqa: E402
from thinking_model import ASKS, ENDLESS, OPENED, OPENS, THINKING, THINKS, write_model  # noqa: E402

THOUGHT, ANSWER = "Hmm, wait. So:", "Blue sky."
SHOWN = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}\n"


class Thinking(CliCase):
    def model(self, successors=None, template=ASKS, **options):
        return write_model(self.folder / "model", successors or THINKS, template, **options)

    def test_shown_left_out_and_hidden(self):
        model = self.model()
        run = ["run", model, "Why?", "--temp", 0]
        for flags, shown in (([], SHOWN), (["--think"], SHOWN), (["--no-think"], ANSWER + "\n"), (["--hide-thinking"], ANSWER + "\n"),
                             (["--no-think", "--hide-thinking"], ANSWER + "\n")):
            with self.subTest(flags=flags):
                done = self.kinglet(*run, *flags)
                self.assertEqual((done.stdout, done.stderr), (shown, ""))
        for flags, thought in (([], THOUGHT), (["--hide-thinking"], THOUGHT), (["--no-think"], "")):
            facts = json.loads(self.out(*run, "--json", *flags))
            self.assertEqual((facts["text"], facts["reasoning"], facts["finish_reason"]), (ANSWER, thought, "stop"))

    def test_thinking_that_the_prompt_opens(self):
        run = ["run", self.model(OPENED, OPENS), "Why?", "--temp", 0]
        self.assertEqual(self.out(*run), SHOWN)
        self.assertEqual(self.out(*run, "--hide-thinking"), ANSWER + "\n")
        done = self.kinglet(*run, "--no-think")
        self.assertEqual(done.stdout, SHOWN)
        self.assertIn("--no-think changes nothing", done.stderr)
        schema = self.file("schema.json", '{"enum": ["Blue", "Red"]}')
        facts = json.loads(self.out(*run, "--json", "--format", schema))
        self.assertEqual((facts["reasoning"], json.loads(facts["text"])), (THOUGHT, facts["text"].strip('"')))

    def test_a_template_with_another_word_for_it(self):
        run = ["run", self.model(template=THINKING), "Why?", "--temp", 0]
        self.assertEqual(self.out(*run), ANSWER + "\n")
        self.assertEqual(self.out(*run, "--think"), SHOWN)

    def test_markers_that_are_special_tokens(self):
        facts = json.loads(self.out("run", self.model(special_markers=True), "Why?", "--temp", 0, "--json"))
        self.assertEqual((facts["text"], facts["reasoning"]), (ANSWER, THOUGHT))

    def test_limits_and_stop_strings(self):
        run = ["run", self.model(), "Why?", "--temp", 0]
        for flags, shown in (([], "<think>\nHmm, wait.\n</think>\n\n\n"), (["--hide-thinking"], "\n")):
            done = self.kinglet(*run, "-n", 3, *flags)
            self.assertEqual(done.stdout.replace(" \n", "\n"), shown)
            self.assertIn("--max-tokens was reached before the thinking came to an end", done.stderr)
        facts = json.loads(self.out(*run, "-n", 3, "--json"))
        self.assertEqual((facts["text"], facts["reasoning"].strip(), facts["finish_reason"]), ("", "Hmm, wait.", "length"))
        facts = json.loads(self.out(*run, "--stop", "wait", "--stop", "sky", "--json"))
        self.assertEqual((facts["text"], facts["reasoning"], facts["finish_reason"]), ("Blue ", THOUGHT, "stop"))

    def test_presets(self):
        model = self.model()
        self.kinglet("preset", "save", "plain", "--model", model, "--temp", 0)
        self.kinglet("preset", "save", "quick", "--model", model, "--temp", 0, "--no-think")
        self.assertNotIn("think", json.loads(self.out("preset", "show", "plain")))
        self.assertEqual(self.out("run", "plain", "Why?"), SHOWN)
        self.assertEqual(self.out("run", "quick", "Why?"), ANSWER + "\n")
        self.assertEqual(self.out("run", "quick", "Why?", "--think"), SHOWN)

    def test_control_c_while_it_thinks(self):
        with subprocess.Popen([PROGRAM, "run", self.model(ENDLESS), "Why?", "--temp", "0", "--ctx", "1000000"], env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.assertTrue(process.stdout.read(30))
            process.send_signal(signal.SIGINT)
            out, told = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 130, told)
            self.assertTrue(out.endswith(b"\n</think>\n\n\n"), out[-80:])

    def test_on_a_terminal(self):
        model = self.model()
        for env, dim, plain in (({}, "\x1b[2m", "\x1b[0m"), ({"NO_COLOR": "1"}, "", ""), ({"TERM": "dumb"}, "", "")):
            with self.subTest(env=env):
                terminal = Terminal(["run", model, "Why?", "--temp", "0"], {**self.environment, **env}, self.folder)
                self.addCleanup(terminal.close)
                self.assertEqual(terminal.wait(), 0)
                while terminal.pump(0.1):
                    pass
                self.assertEqual(terminal.text.replace("\r", ""), f"{dim}<think>\n{THOUGHT}\n</think>{plain}\n\n{ANSWER}\n")

    def prompt_tokens(self, model, saved, question):
        """What the next prompt of a saved conversation must have."""
        messages = json.loads((self.folder / saved).read_text())["messages"] + [{"role": "user", "content": question}]
        text = self.out("render", model, self.file("messages.json", json.dumps(messages)))
        self.assertNotIn(THOUGHT, text)
        return len(self.out("tokenize", model, "--ids", text_in=text).split())

    def test_a_conversation(self):
        model = self.model()
        chat = Terminal(["run", model, "--temp", "0", "--stats"], {**self.environment, "NO_COLOR": "1"}, self.folder)
        self.addCleanup(chat.close)
        chat.until(PROMPT)
        for _ in range(2):
            self.assertIn(f"{THOUGHT}\n</think>\n\n{ANSWER}", chat.ask("Why?").replace("\r", ""))
        chat.ask("/save talk.json")
        saved = json.loads((self.folder / "talk.json").read_text())["messages"]
        self.assertEqual(saved[3], {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT})
        self.assertIn(f"prompt {self.prompt_tokens(model, 'talk.json', 'And now?')} tokens", chat.ask("And now?"))
        chat.ask("/set think off")
        self.assertNotIn(THOUGHT, chat.ask("Why?"))
        chat.ask("/set think on")
        self.assertIn(THOUGHT, chat.ask("Why?"))
        chat.ask("/clear")
        self.assertIn("4 messages", chat.ask("/load talk.json"))
        self.assertIn(f"prompt {self.prompt_tokens(model, 'talk.json', 'And now?')} tokens", chat.ask("And now?"))
        chat.send("/bye\r")
        self.assertEqual(chat.wait(), 0)


if __name__ == "__main__":
    unittest.main()
