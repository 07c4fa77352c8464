"""What the tests of the command line share: the program, models, folders of their own, models with one thing changed."""
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("KINGLET_PROGRAM", ROOT / "build/dev/kinglet"))
REAL_MODEL = pathlib.Path(os.environ.get("KINGLET_TEST_MODELS", ROOT / "build/test-models")) / "smollm2.gguf"
TINY = ROOT / "tests/golden/models/gguf"
LIMIT_S = 120


class CliCase(unittest.TestCase):
    """A folder of its own as home, store, configuration and working directory."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        os.chmod(self.folder, 0o755)
        self.environment = {key: value for key, value in os.environ.items()
                            if not key.startswith(("KINGLET_", "HF_", "XDG_")) and key not in ("NO_COLOR", "http_proxy")}
        self.environment.update(HOME=str(self.folder), KINGLET_HOME=str(self.folder / "store"), HF_HUB_OFFLINE="1",
                                TERM="xterm-256color", LC_ALL="C.UTF-8")

    def kinglet(self, *arguments, expect=0, text_in=None, binary=False, env=None, bound_by_modes=False, **options):
        """Runs the program without a terminal; returns what it did, after a check of its exit code. `bound_by_modes`:
        file modes bind it even where the tests run as root."""
        wrapper = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if bound_by_modes and os.getuid() == 0 else []
        done = subprocess.run([*wrapper, PROGRAM, *map(str, arguments)], cwd=self.folder, env={**self.environment, **(env or {})},
                              input=text_in.encode() if isinstance(text_in, str) else text_in,
                              stdin=subprocess.DEVNULL if text_in is None else None, capture_output=True,
                              timeout=LIMIT_S, check=False, **options)
        if not binary:
            done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
            self.assertNotIn("\033", done.stdout + done.stderr, "escape codes into a pipe")
        if expect is not None:
            self.assertEqual(done.returncode, expect, f"{arguments}\n{done.stdout}\n{done.stderr}"[-3000:])
        return done

    def out(self, *arguments, **options):
        return self.kinglet(*arguments, **options).stdout

    def error(self, code, *arguments, **options):
        """The message of a command that must fail with `code`."""
        done = self.kinglet(*arguments, expect=code, **options)
        self.assertIn("error: ", done.stderr)
        return done.stderr

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def needs_real_model(case):
    return unittest.skipUnless(REAL_MODEL.exists(), f"{REAL_MODEL} is not here: ./test models")(case)


SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Gguf:
    """Just enough of the format to find where the metadata lie."""

    def __init__(self, path):
        self.data = bytearray(pathlib.Path(path).read_bytes())
        self.tensors, self.count = struct.unpack_from("<QQ", self.data, 8)
        self.values, at = {}, 24  # key -> (start of the key, start of the value, end)
        for _ in range(self.count):
            start = at
            key, at = self._string(at)
            value = at
            at = self._skip(at + 4, struct.unpack_from("<I", self.data, at)[0])
            self.values[key] = (start, value, at)
        self.end = at

    def _string(self, at):
        size, = struct.unpack_from("<Q", self.data, at)
        return bytes(self.data[at + 8:at + 8 + size]).decode(), at + 8 + size

    def _skip(self, at, kind):
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", self.data, at)[0]
        if kind != 9:
            return at + SIZES[kind]
        inner, count = struct.unpack_from("<IQ", self.data, at)
        at += 12
        if inner in SIZES:
            return at + count * SIZES[inner]
        for _ in range(count):
            at = self._skip(at, inner)
        return at

    def with_template(self, text):
        """The same file with another chat template, filled up with spaces to the length of the old one."""
        _, value, end = self.values["tokenizer.chat_template"]
        size = end - value - 12
        assert len(text) <= size
        data = bytearray(self.data)
        data[value + 12:end] = text.encode().ljust(size)
        return bytes(data)

    def without_template(self):
        start, _, _ = self.values["tokenizer.chat_template"]
        data = bytearray(self.data)
        data[start + 8:start + 9] = b"x"  # another key
        return bytes(data)

    def vocabulary_only(self):
        return b"GGUF" + struct.pack("<IQQ", 3, 0, self.count) + bytes(self.data[24:self.end])

    def _end_of_tensor_list(self):
        at = self.end
        for _ in range(self.tensors):
            _, at = self._string(at)
            at += 4 + 8 * struct.unpack_from("<I", self.data, at)[0] + 12
        return at

    def split_in_two(self):
        """The same model as two files: all tensors in the first, none in the second."""
        def head(number, tensors):
            keys = b"".join(struct.pack("<Q", len(key)) + key + struct.pack("<IH", 2, value)
                            for key, value in ((b"split.no", number), (b"split.count", 2)))
            return b"GGUF" + struct.pack("<IQQ", 3, tensors, self.count + 2) + bytes(self.data[24:self.end]) + keys
        listed = self._end_of_tensor_list()
        first = head(0, self.tensors) + bytes(self.data[self.end:listed])
        aligned = -(-listed // 32) * 32
        return first + bytes(-len(first) % 32) + bytes(self.data[aligned:]), head(1, 0)
