"""Files around build/dev/kinglet's commands: outputs that would destroy an input or can't come to be, and inputs that are
pipes, devices, folders, or have no end."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cli_support import PROGRAM, TINY, CliCase, Gguf  # noqa: E402

MALFORMED, USAGE, NOT_FOUND, NO_ROOM, NO_IO = 1, 2, 3, 5, 6
GGUF, FOLDER = TINY / "llama-mqa.gguf", TINY.parent / "hf/llama-mqa"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Outputs(CliCase):
    """An output never takes the place of an input, under whatever name."""

    def setUp(self):
        super().setUp()
        shutil.copytree(FOLDER, self.folder / "H")
        self.model = self.file("m.gguf", GGUF.read_bytes())
        self.text = self.file("text.txt", "some words to measure with " * 20)
        os.symlink("m.gguf", self.folder / "link.gguf")
        os.link(self.model, self.folder / "hard.gguf")
        os.symlink("H", self.folder / "link")
        self.names = [p.name for p in FOLDER.iterdir()]

    def refuses(self, *arguments, words="files that are read", code=MALFORMED, **options):
        before = contents(self.folder)
        with self.subTest(arguments=arguments):
            message = self.error(code, *arguments, **options)
            self.assertIn("cannot be written", message)
            self.assertIn(words, message)
            self.assertEqual(contents(self.folder), before)

    def test_the_folder_of_a_model(self):
        self.assertIn("config.json", self.names)
        (self.folder / "H/notes.md").write_text("not read, but the model's all the same")
        for name in [*self.names, "notes.md"]:
            self.refuses("convert", "H", f"H/{name}")
        for out in ("link/config.json", "H/../H/config.json", self.folder / "H/config.json"):
            self.refuses("convert", "H", out)
        self.refuses("convert", "link", "H/config.json")
        self.refuses("logits", "H", "--tokens", "1 2", "-o", "H/model.safetensors")
        self.refuses("imatrix", "H", "text.txt", "-o", "link/config.json")

    def test_what_an_earlier_run_wrote_there_is_no_input(self):
        for _ in range(2):
            self.kinglet("logits", "H", "--tokens", "1 2", "-o", "H/out.npy")

    def test_a_gguf_file(self):
        for out in ("m.gguf", "./m.gguf", "link.gguf", "hard.gguf", "H/../m.gguf"):
            self.refuses("quantize", "m.gguf", out, "Q8_0")
            self.refuses("logits", "m.gguf", "--tokens", "1 2", "-o", out)
            self.refuses("imatrix", "m.gguf", "text.txt", "-o", out)
        self.refuses("quantize", "link.gguf", "m.gguf", "Q8_0")
        self.kinglet("preset", "save", "named", "--model", self.model)
        self.refuses("logits", "named", "--tokens", "1 2", "-o", "m.gguf")

    def test_any_part_of_a_split(self):
        names = [f"part-0000{number}-of-00002.gguf" for number in (1, 2)]
        for name, content in zip(names, Gguf(GGUF).split_in_two()):
            self.file(name, content)
        self.kinglet("quantize", names[0], "whole.gguf", "Q8_0")
        for out in names:
            self.refuses("quantize", names[0], out, "Q8_0")
            self.refuses("logits", names[0], "--tokens", "1 2", "-o", f"H/../{out}")

    def test_other_inputs(self):
        self.refuses("imatrix", "m.gguf", "text.txt", "-o", "text.txt")
        with open(self.text, "rb") as standard_input:
            before = contents(self.folder)
            done = subprocess.run([PROGRAM, "imatrix", "m.gguf", "-", "-o", "text.txt"], stdin=standard_input, cwd=self.folder,
                                  env=self.environment, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, contents(self.folder)), (MALFORMED, before), done.stderr)
        self.file("i.imatrix", "not looked at before its name is")
        self.refuses("quantize", "m.gguf", "i.imatrix", "Q8_0", "--imatrix", "i.imatrix")
        self.refuses("convert", "H", "i.imatrix", "--type", "Q8_0", "--imatrix", "./i.imatrix")

    def test_older_outputs_are_replaced(self):
        self.file("old.npy", "old")
        self.file("old.gguf", "old")
        self.kinglet("logits", "m.gguf", "--tokens", "1 2", "-o", "old.npy")
        self.kinglet("quantize", "m.gguf", "old.gguf", "Q8_0")
        self.assertTrue((self.folder / "old.npy").read_bytes().startswith(b"\x93NUMPY"))
        self.assertTrue((self.folder / "old.gguf").read_bytes().startswith(b"GGUF"))
        self.assertEqual(list(self.folder.glob("*.part*")), [])

    def test_places_that_take_no_file_are_told_before_the_work(self):
        """The model isn't even looked for: it doesn't exist."""
        os.mkdir(self.folder / "locked")
        self.file("kept.npy", "kept")
        os.chmod(self.folder / "kept.npy", 0o444)
        os.chmod(self.folder / "locked", 0o555)
        self.addCleanup(os.chmod, self.folder / "locked", 0o755)
        os.mkfifo(self.folder / "pipe")
        commands = (["convert", "nosuch", "OUT"], ["quantize", "nosuch", "OUT", "Q8_0"],
                    ["imatrix", "nosuch", "text.txt", "-o", "OUT"], ["logits", "nosuch", "--tokens", "1", "-o", "OUT"])
        for out, code, words in (("none/out", NOT_FOUND, "there is no folder none"), ("text.txt/out", NO_IO, "text.txt"),
                                 ("H", NO_IO, "folder"), ("pipe", NO_IO, "pipe"), ("/dev/null", NO_IO, "device"),
                                 ("locked/out", NO_IO, "Permission denied"), ("kept.npy", NO_IO, "Permission denied")):
            for command in commands:
                self.refuses(*[out if word == "OUT" else word for word in command], code=code, words=words, bound_by_modes=True)
        self.assertTrue((self.folder / "pipe").is_fifo())


class Inputs(CliCase):
    """Files that the user names may be pipes, but signals end the wait for them; files that are found may not."""
    TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
    MESSAGES = '[{"role": "user", "content": "Hi"}]'

    def setUp(self):
        super().setUp()
        self.template, self.messages = self.file("t.jinja", self.TEMPLATE), self.file("m.json", self.MESSAGES)
        os.mkfifo(self.folder / "pipe")

    def test_pipes_that_the_user_names(self):
        script = 'exec "$0" --config <(echo "[render]"; echo "no-generation-prompt = true") render --template <(echo -n "$1") <(echo "$2")'
        done = subprocess.run(["bash", "-c", script, PROGRAM, self.TEMPLATE, self.MESSAGES], env=self.environment,
                              cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "Hi"), done.stderr)
        with subprocess.Popen([PROGRAM, "render", "--template", "pipe", self.messages], env=self.environment,
                              cwd=self.folder, stdout=subprocess.PIPE) as process:
            time.sleep(0.3)  # the writer comes later
            (self.folder / "pipe").write_text(self.TEMPLATE)
            self.assertEqual(process.communicate(timeout=60)[0], b"Hi")

    def test_signals_end_the_wait_for_a_pipe(self):
        commands = (["render", "--template", "pipe", "m.json"], ["render", "--template", "t.jinja", "pipe"],
                    ["render", "--template", "t.jinja", "m.json", "--tools", "pipe"], ["inspect", "--plan", "pipe"],
                    ["imatrix", GGUF, "pipe", "-o", "o"], ["--config", "pipe", "version"])
        for command in commands:
            for number, opened in ((signal.SIGINT, False), (signal.SIGTERM, True)):
                with self.subTest(command=command, number=number):
                    with subprocess.Popen([PROGRAM, *map(str, command)], env=self.environment, cwd=self.folder,
                                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                        writer = self.folder.joinpath("pipe").open("w") if opened else None  # which never writes
                        time.sleep(0.7)
                        self.assertIsNone(process.poll())
                        process.send_signal(number)
                        told = process.communicate(timeout=30)[1].decode()
                        # Before a command has begun the system's own way of ending holds.
                        self.assertIn(process.returncode, (128 + number, -number), told)
                        if process.returncode > 0:
                            self.assertIn("pipe", told)
                        if writer:
                            writer.close()

    def test_sources_without_end_and_folders(self):
        for arguments in (["--template", "/dev/zero", "m.json"], ["--template", "t.jinja", "/dev/zero"]):
            self.assertIn("64 MiB", self.error(NO_ROOM, "render", *arguments))
        self.assertIn("64 MiB", self.error(USAGE, "--config", "/dev/zero", "version"))
        for arguments in (["--template", ".", "m.json"], ["--template", "t.jinja", "."]):
            self.assertIn("found a folder", self.error(NO_IO, "render", *arguments))
        self.assertIn("found a folder", self.error(USAGE, "--config", ".", "version"))

    def test_what_lies_where_kinglet_looks_by_itself(self):
        config = self.folder / ".config/kinglet"
        (config / "presets").mkdir(parents=True)
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
            for place, code, command in ((config / "config.toml", USAGE, ["version"]),
                                         (config / "presets/p.json", NO_IO, ["run", "p", "hi"]),
                                         (config / "presets/p.json", NO_IO, ["preset", "show", "p"])):
                with self.subTest(place=place, command=command):
                    make(place)
                    message = self.error(code, *command)
                    self.assertIn(f"{place}: is not a regular file", message)
                    place.rmdir() if place.is_dir() else place.unlink()
        self.file(".config/kinglet/config.toml", "#" * (5 << 20))
        self.assertIn("4 MiB", self.error(USAGE, "version"))
        self.assertIn("Usage", self.out("--help"))

    def test_a_models_folder(self):
        shutil.copytree(FOLDER, self.folder / "H")
        os.remove(self.folder / "H/config.json")
        os.mkfifo(self.folder / "H/config.json")
        for command in (["inspect", "H"], ["inspect", "--plan", "H"], ["logits", "H", "--tokens", "1", "-o", "o"]):
            self.assertIn("H/config.json: is not a regular file", self.error(NO_IO, *command))


if __name__ == "__main__":
    unittest.main()
