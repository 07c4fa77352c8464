"""The two sides of a comparison as objects: Kinglet's program, and rivals in worker processes."""
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

from .processes import first_byte
from .rival_worker import RIVALS

WORKER = pathlib.Path(__file__).with_name("rival_worker.py")


class Kinglet:
    def __init__(self, binary, path, threads, isa=None):
        self.binary, self.path, self.threads = str(binary), str(path), threads
        self.flags = ["-t", str(threads), *(["--isa", isa] if isa else [])]

    def _run(self, *arguments):
        done = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"kinglet {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def about(self):
        return self._run("version").strip().splitlines()

    def limits(self):
        """Of this number of threads."""
        return json.loads(self._run("bench", "--limits", *self.flags, "-o", "json"))[-1]

    def inspect(self):
        return json.loads(self._run("inspect", self.path, "--json"))

    def bench(self, prompts, generations, depths, batches, kv, repetitions):
        """Rows of `kinglet bench`."""
        def listed(numbers):
            return ",".join(map(str, numbers or [0]))
        return json.loads(self._run("bench", self.path, "-p", listed(prompts), "-n", listed(generations), "-d", listed(depths),
                                    "-b", listed(batches), "--kv", kv, "-r", repetitions, *self.flags, "-o", "json"))

    def rendered(self, prompt):
        """(the text that the model reads, whether a template made it)."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump([{"role": "user", "content": prompt}], file)
            file.flush()
            done = subprocess.run([self.binary, "render", self.path, file.name], capture_output=True, text=True, check=False)
        return (done.stdout, True) if done.returncode == 0 else (prompt, False)

    def token_count(self, text):
        return len(self._run("tokenize", self.path, "--ids", text).split())

    def first_token(self, prompt):
        """Seconds from exec."""
        return first_byte([self.binary, "run", self.path, prompt, "-n", "1", "--temp", "0", *self.flags])[0]

    def greedy(self, prompt, tokens):
        answer = json.loads(self._run("run", self.path, prompt, "-n", tokens, "--temp", "0", "--json", *self.flags))
        return answer["reasoning"] + answer["text"]

    def memory(self, prompt, generate):
        """After a prompt and a generation, as the process itself reads it from the system."""
        return self.bench([prompt], [generate], None, [1], "f16", 1)[-1]["resident_bytes"]


class Rival:
    """A worker process; what it can't do raises Cannot."""

    class Cannot(Exception):
        pass

    def __init__(self, name, path, threads, largest_batch):
        self.command = [sys.executable, str(WORKER), name, str(path), str(threads)]
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen([*self.command, str(largest_batch)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._errors, text=True)
        try:
            self._read()
            self.about = self.ask(do="about")
        except Rival.Cannot:
            self.end()
            raise
        self.name = self.about["name"]

    @staticmethod
    def installed(name):
        """Or why not."""
        _, module, package = RIVALS[name]
        return "" if importlib.util.find_spec(module) else f"the package {package} is not installed"

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            raise Rival.Cannot(f"its process ended with {code}: {said[-1][:300] if said else 'no word'}")
        said = json.loads(line)
        if "unsupported" in said:
            raise Rival.Cannot(said["unsupported"])
        return said

    def ask(self, **request):
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Rival.Cannot("its process has ended") from None
        said = self._read()
        return said.get("value", said)

    def first_token(self, text):
        """Seconds from exec, and from the moment when Python and the package were there."""
        took, errors, began = first_byte([*self.command, "first-token"], text)
        imported = float(errors.strip().splitlines()[-1])
        return took, took - (imported - began)

    def end(self):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
