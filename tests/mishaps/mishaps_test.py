"""What befalls a command from outside: full and read-only disks, two processes in one store, signals while it pulls and
loads, a broken store, a chat's files that are something else (build/dev/kinglet)."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "cli"), str(TESTS / "chat")]
from chat_test import PROMPT, Terminal  # noqa: E402
from cli_support import PROGRAM, REAL_MODEL, TINY, CliCase, needs_real_model  # noqa: E402

MALFORMED, NO_ROOM, NO_IO = 1, 5, 6
MODEL, FOLDER = TINY / "llama-mqa.gguf", TINY.parent / "hf/llama-mqa"


class Case(CliCase):
    def disk(self, options):
        """A file system of its own, where the tests may mount one."""
        path = self.folder / "disk"
        path.mkdir()
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=False,
                                              capture_output=True).returncode != 0:
            self.skipTest("file systems can't be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=True)
        return path

    def hub(self, size, rules=()):
        root = self.folder / "hub"
        (root / "repos/org/model").mkdir(parents=True)
        (root / "repos/org/model/m.gguf").write_bytes(MODEL.read_bytes() + bytes(size))
        (root / "scenario.json").write_text(json.dumps({"epoch": 1, "rules": list(rules)}))
        hub = subprocess.Popen([sys.executable, TESTS / "hub/fake_hub.py", root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for close in (hub.stdout.close, hub.stdin.close, hub.wait, hub.kill):
            self.addCleanup(close)
        self.environment.update(HF_ENDPOINT=f"http://127.0.0.1:{hub.stdout.readline().split()[0]}", HF_HUB_OFFLINE="0")
        return root

    def start(self, *arguments, **options):
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process


class Disks(Case):
    def test_a_full_one(self):
        disk = self.disk("size=64k")
        self.hub(100_000)
        before = sorted(disk.rglob("*"))
        for arguments in (["logits", MODEL, "--tokens", "1 " * 100, "-o", disk / "o.npy"], ["quantize", MODEL, disk / "q.gguf", "Q8_0"],
                          ["convert", FOLDER, disk / "c.gguf"]):
            message = self.error(NO_ROOM, *arguments)
            self.assertIn("No space left", message)
            self.assertIn(str(disk), message)
            self.assertEqual(sorted(disk.rglob("*")), before)
        self.assertIn("No space", self.error(NO_ROOM, "preset", "save", "p", "--model", "m", "--system", "x" * 100_000,
                                             env={"XDG_CONFIG_HOME": str(disk)}))
        self.assertEqual(list(disk.rglob("p.json*")), [])
        message = self.error(NO_ROOM, "pull", "org/model", env={"KINGLET_HOME": str(disk / "store")})
        self.assertIn("point KINGLET_HOME elsewhere", message)
        self.assertEqual(json.loads(self.out("list", "--json", env={"KINGLET_HOME": str(disk / "store")})), [])

    def test_a_read_only_one(self):
        disk = self.disk("ro")
        self.hub(0)
        for env, code, *arguments in (({"KINGLET_HOME": str(disk)}, NO_IO, "pull", "org/model"),
                                      ({"XDG_CONFIG_HOME": str(disk)}, NO_IO, "preset", "save", "p", "--model", "m"),
                                      ({}, NO_IO, "logits", MODEL, "--tokens", "1", "-o", disk / "o.npy")):
            message = self.error(code, *arguments, env=env)
            self.assertIn("Read-only file system", message)
            self.assertIn(str(disk), message)
        everywhere = {"KINGLET_HOME": str(disk), "XDG_CONFIG_HOME": str(disk), "XDG_CACHE_HOME": str(disk), "HOME": str(disk)}
        self.kinglet("logits", MODEL, "--tokens", "1", "-o", "o.npy", env=everywhere)
        self.kinglet("list", env=everywhere)


class Pulls(Case):
    SLOW = {"match": "^storage", "times": 999, "action": "slow", "rate": 200_000}

    def stored(self):
        return [model["name"] for model in json.loads(self.out("list", "--json"))]

    def test_two_at_once(self):
        root = self.hub(300_000, [self.SLOW])
        processes = [self.start("pull", "org/model") for _ in range(3)]
        said = [process.communicate(timeout=60) for process in processes]
        self.assertEqual([process.returncode for process in processes], [0] * 3, said)
        self.assertEqual(len({out for out, _ in said}), 1)
        self.kinglet("verify")
        self.kinglet("inspect", "org/model")
        served = [json.loads(line) for line in (root / "requests.log").read_text().splitlines()]
        fetched = [request["range"] for request in served if request["port"] == "storage"]
        self.assertEqual(len(set(fetched)), len(fetched), "a range was fetched twice")
        self.assertEqual(self.kinglet("list").stderr, "")

    def test_signals_end_one_and_the_next_goes_on(self):
        self.hub(1_500_000, [self.SLOW])
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("pull", "org/model")
            time.sleep(2)
            self.assertIsNone(process.poll())
            process.send_signal(number)
            _, told = process.communicate(timeout=10)
            self.assertEqual(process.returncode, 128 + number, told)
            self.assertEqual(self.stored(), [])
        (self.folder / "hub/scenario.json").write_text(json.dumps({"epoch": 2, "rules": []}))
        self.kinglet("pull", "org/model")
        self.kinglet("verify", "org/model")


def sparse_model(path, width=2048, hidden=32768, layers=2):
    """A model of 440 million zeros of type Q4_0 that takes no room on the disk."""
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()
    keys = [("general.architecture", 8, text("llama")), ("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5))]
    keys += [(f"llama.{name}", 4, struct.pack("<I", value)) for name, value in (
        ("block_count", layers), ("embedding_length", width), ("feed_forward_length", hidden), ("context_length", 256),
        ("attention.head_count", 16), ("attention.head_count_kv", 16), ("vocab_size", 64))]
    shapes = {"token_embd": (width, 64), "output_norm": (width,)}
    for i in range(layers):
        shapes |= {f"blk.{i}.{name}": (width, width) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        shapes |= {f"blk.{i}.ffn_gate": (width, hidden), f"blk.{i}.ffn_up": (width, hidden), f"blk.{i}.ffn_down": (hidden, width)}
        shapes |= {f"blk.{i}.attn_norm": (width,), f"blk.{i}.ffn_norm": (width,)}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(keys))
    head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in keys)
    offset = 0
    for name, shape in shapes.items():
        q4_0 = len(shape) == 2
        head += text(f"{name}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 2 if q4_0 else 0, offset)
        offset += shape[0] * shape[1] // 32 * 18 if q4_0 else shape[0] * 4
        offset = -(-offset // 32) * 32
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32))
        file.truncate(file.tell() + offset)


class Signals(Case):
    def test_while_loading(self):
        """At whatever moment one comes: the command ends soon, and leaves nothing half written."""
        sparse_model(self.folder / "large.gguf")
        self.kinglet("logits", "large.gguf", "--tokens", "1", "-o", "whole.npy")
        whole = (self.folder / "whole.npy").read_bytes()
        codes = set()
        for step in range(12):
            number = (signal.SIGINT, signal.SIGTERM)[step % 2]
            process = self.start("logits", "large.gguf", "--tokens", "1", "-o", "o.npy")
            time.sleep(0.02 + 0.05 * step)
            process.send_signal(number)
            _, told = process.communicate(timeout=30)
            codes.add(process.returncode)
            self.assertIn(process.returncode, (0, 128 + number, -number), told)
            if process.returncode > 0:
                self.assertEqual(told, "error: interrupted\n")
            if process.returncode == 0:
                self.assertEqual((self.folder / "o.npy").read_bytes(), whole)
            (self.folder / "o.npy").unlink(missing_ok=True)
            self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["large.gguf", "whole.npy"])
        self.assertTrue(codes - {0}, "no signal came in time")

    @needs_real_model
    def test_while_tokenizing(self):
        # Takes a quarter of a minute, and is less than what a chat template may put together.
        text = self.file("long.txt", " ".join(f"word{i} {i * i}" for i in range(600_000)))
        for command in (["tokenize", REAL_MODEL, "--ids"], ["perplexity", REAL_MODEL, "-"], ["run", REAL_MODEL]):
            with text.open() as standard_input, \
                 subprocess.Popen([PROGRAM, *map(str, command)], env=self.environment, stdin=standard_input,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
                time.sleep(4)
                self.assertIsNone(process.poll())
                process.send_signal(signal.SIGTERM)
                start = time.monotonic()
                _, told = process.communicate(timeout=60)
                self.assertEqual((process.returncode, told), (143, "error: interrupted\n"))
                self.assertLess(time.monotonic() - start, 3)

    def test_work_that_asks_no_flag(self):
        messages = self.file("m.json", '[{"role": "user", "content": "Hi"}]')
        long = self.file("long.jinja", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("render", "--template", long, messages)
            time.sleep(0.5)
            process.send_signal(number)
            _, told = process.communicate(timeout=30)
            if process.returncode == NO_ROOM:
                continue  # the bound on templates was faster
            self.assertEqual((process.returncode, told), (128 + number, "error: interrupted\n"))


class BrokenStore(Case):
    def test_each_is_told_once(self):
        ready = self.folder / "store/models/ready"
        (ready / "json").mkdir(parents=True)
        (ready / "json/manifest.json").write_text("{")
        (ready / "pipe").mkdir()
        os.mkfifo(ready / "pipe/manifest.json")
        (ready / "file").write_text("no folder")
        (ready / "link").symlink_to("nowhere")
        for arguments in (["list"], ["list", "--json"]):
            told = self.kinglet(*arguments).stderr
            for name in ("json", "pipe", "file", "link"):
                self.assertEqual(told.count(f"{ready / name}/manifest.json"), 1, told)
                self.assertIn(f"kinglet rm {name}", told)
        message = self.kinglet("verify", expect=None).stderr
        for name in ("json", "pipe", "file", "link"):
            self.assertIn(f"kinglet rm {name}", message)
            self.kinglet("rm", name)
        self.assertEqual(list(ready.iterdir()), [])
        self.kinglet("verify")

    def test_verify_goes_on_and_fails(self):
        self.hub(0)
        self.kinglet("pull", "org/model")
        files = list((self.folder / "store").rglob("m.gguf"))
        shutil.copytree(files[0].parents[1], files[0].parents[2] / "aaa")  # a name that isn't its manifest's
        done = self.kinglet("verify", expect=MALFORMED)
        self.assertIn("as pulled", done.stdout)
        self.assertIn("kinglet rm aaa", done.stderr)


@needs_real_model
class ChatFiles(Case):
    def chat(self, *arguments, env=None):
        terminal = Terminal(["run", "-n", "2", *arguments], {**self.environment, **(env or {})}, self.folder, 20)
        self.addCleanup(terminal.close)
        terminal.until(PROMPT)
        return terminal

    def test_save_never_replaces_the_model(self):
        os.link(REAL_MODEL, self.folder / "m.gguf")
        os.symlink("m.gguf", self.folder / "l")
        chat = self.chat("./m.gguf")
        for name in ("m.gguf", "l"):
            self.assertIn("files that are read", chat.ask(f"/save {name}").replace("\r\n", ""))
        chat.send("/bye\r")
        self.assertEqual(chat.wait(), 0)
        self.assertTrue((self.folder / "m.gguf").samefile(REAL_MODEL))
        self.assertTrue((self.folder / "l").is_symlink())

    def test_a_history_that_is_something_else(self):
        history = self.folder / ".config/kinglet/history"
        history.parent.mkdir(parents=True)
        (self.folder / "target").mkdir()
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink(self.folder / "pipe", path)):
            if not (self.folder / "pipe").exists():
                os.mkfifo(self.folder / "pipe", 0o644)
            make(history)
            mode = history.stat().st_mode
            chat = self.chat(str(REAL_MODEL))
            chat.ask("/stats")
            chat.send("/bye\r")
            self.assertEqual(chat.wait(), 0)
            self.assertEqual(history.stat().st_mode, mode)
            self.assertEqual([p.name for p in history.parent.iterdir()], ["history"])
            history.rmdir() if history.is_dir() else history.unlink()
        linked = self.file("real history", "")
        history.symlink_to(linked)
        chat = self.chat(str(REAL_MODEL))
        chat.ask("/stats")
        chat.send("/bye\r")
        self.assertEqual(chat.wait(), 0)
        self.assertTrue(history.is_symlink())
        self.assertIn("/stats", linked.read_text())

    def test_a_disk_without_room_for_the_history(self):
        disk = self.disk("size=8k")
        (disk / "kinglet").mkdir()
        (disk / "kinglet/history").write_text("_HiStOrY_V2_\nearlier\n")
        (disk / "kinglet/fill").write_bytes(bytes(4096))
        chat = self.chat(str(REAL_MODEL), env={"XDG_CONFIG_HOME": str(disk)})
        self.assertIn("cannot be written", chat.ask("/stats").replace("\r\n", ""))
        self.assertNotIn("cannot be written", chat.ask("/stats").replace("\r\n", ""))
        chat.send("/bye\r")
        self.assertEqual(chat.wait(), 0)
        self.assertEqual((disk / "kinglet/history").read_text(), "_HiStOrY_V2_\nearlier\n")


if __name__ == "__main__":
    unittest.main()
