"""The server (build/dev/kinglet serve) with the default model: OpenAI's and Anthropic's own clients, raw sockets, bad manners, drain."""
import concurrent.futures
import http.client
import importlib.util
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from cli_support import PROGRAM, REAL_MODEL, CliCase, needs_real_model  # noqa: E402

LIMIT_S = 120
CHAT = {"model": "smollm2", "messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 16, "temperature": 0}


class Server:
    def __init__(self, case, *flags):
        self.log = open(case.folder / "log", "wb")
        case.addCleanup(self.close)
        self.process = subprocess.Popen([PROGRAM, "serve", REAL_MODEL, "--port", "0", "--ctx", "2048", *flags], cwd=case.folder,
                                        env=case.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        self.path = case.folder / "log"
        self.port = int(self.wait_for("listening on").rsplit(":", 1)[1])
        self.wait_for("ready: ")

    def wait_for(self, words):
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            for line in self.path.read_text().splitlines(keepends=True):
                if words in line and line.endswith("\n"):
                    return line.strip()
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"{words!r} did not come: {self.path.read_text()[-2000:]}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read(), dict((k.lower(), v) for k, v in reply.getheaders())
        finally:
            connection.close()

    def chat(self, **changes):
        status, body, _ = self.ask("POST", "/v1/chat/completions", {**CHAT, **changes})
        assert status == 200, body
        return json.loads(body)

    def metric(self, name):
        for line in self.ask("GET", "/metrics")[1].decode().splitlines():
            if line.startswith(name + "{"):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(name)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)


def chat_bytes(**changes):
    body = json.dumps({**CHAT, **changes}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def read_until(connection, words):
    data = b""
    while words not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data


@needs_real_model
class ServerCase(CliCase):
    """One server for what does it no harm."""

    def server(self, *flags):
        return Server(self, "--alias", "gpt-4o-mini", *flags)

    def test_plain_clients(self):
        server = self.server()
        with self.subTest("one answer, streamed or not"):
            whole = server.chat(logprobs=True, top_logprobs=2)
            self.assertEqual(whole["usage"]["completion_tokens"], 16)
            with server.connect() as connection:
                connection.sendall(chat_bytes(stream=True))
                data = read_until(connection, b"0\r\n\r\n").decode()
            chunks = [json.loads(line[6:]) for line in data.splitlines() if line.startswith("data: {")]
            text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
            self.assertEqual(text, whole["choices"][0]["message"]["content"])
            self.assertIn("data: [DONE]", data)
        with self.subTest("the same bits beside others"):
            def alone_or_not(i):
                return server.chat(logprobs=True, top_logprobs=2, messages=[{"role": "user", "content": f"Count to {i}."}])["choices"]
            alone = [alone_or_not(i) for i in range(4)]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                together = list(pool.map(alone_or_not, [0, 1, 2, 3] * 3))
            for i, choices in enumerate(together):
                self.assertEqual(choices, alone[i % 4])
        with self.subTest("one byte at a time, then two requests at once"):
            with server.connect() as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n":
                    connection.sendall(bytes([byte]))
                self.assertIn(b'"ok"', read_until(connection, b"}"))
                connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                data = read_until(connection, b'"status":"ok"}')
                self.assertLess(data.index(b"gpt-4o-mini"), data.index(b'"ok"'))
        with self.subTest("who goes away frees its place"):
            before = server.metric("vllm:generation_tokens_total")
            with server.connect() as connection:
                connection.sendall(chat_bytes(stream=True, max_tokens=1900, ignore_eos=True))
                read_until(connection, b"content")
            end = time.monotonic() + 20
            while server.metric("vllm:num_requests_running") > 0 and time.monotonic() < end:
                time.sleep(0.05)
            self.assertEqual(server.metric("vllm:num_requests_running"), 0)
            self.assertLess(server.metric("vllm:generation_tokens_total") - before, 1500)
        with self.subTest("what was computed before is not computed again, unless a salt says so"):
            long = [{"role": "user", "content": "Count: " + " ".join(map(str, range(120)))}]
            cached = [server.chat(messages=long, max_tokens=1, **more)["usage"]["prompt_tokens_details"]["cached_tokens"]
                      for more in ({}, {}, {"cache_salt": "a"}, {"cache_salt": "a"})]
            self.assertLess(cached[0], 60, "the template's beginning alone")
            self.assertEqual(cached[2], 0)
            self.assertGreater(cached[1], 200)
            self.assertEqual(cached[3], cached[1])
            self.assertGreaterEqual(server.metric("vllm:prefix_cache_hits_total"), sum(cached))
        with self.subTest("malformed"):
            self.malformed(server)
        with self.subTest("tools"):
            self.tools(server)

    def tools(self, server):
        """This model's template knows no tools: they change nothing, and can't be required."""
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        self.assertEqual(server.chat(tools=tools)["choices"], server.chat()["choices"])
        named = {"type": "function", "function": {"name": "f"}}
        unknown = {"type": "function", "function": {"name": "g"}}
        for changes, field, words in (({"tools": tools, "tool_choice": "required"}, "tool_choice", "chat template"),
                                      ({"tools": tools, "tool_choice": named}, "tool_choice", "chat template"),
                                      ({"tools": tools, "tool_choice": unknown}, "tool_choice", '"g"'),
                                      ({"tool_choice": "required"}, "tool_choice", "no tools"),
                                      ({"tools": [{"type": "function"}]}, "tools[0].function", "missing")):
            status, text, _ = server.ask("POST", "/v1/chat/completions", {**CHAT, **changes})
            self.assertEqual(status, 400, text)
            error = json.loads(text)["error"]
            self.assertEqual(error["param"], field)
            self.assertIn(words, error["message"])

    def malformed(self, server):
        for body, status in ((b"{", 400), (b"[" * 100000, 400), (b'{"messages": 3}', 400), (b"\xff", 400)):
            got, text, _ = server.ask("POST", "/v1/chat/completions", body)
            self.assertEqual(got, status, text)
            self.assertEqual(json.loads(text)["error"]["type"], "invalid_request_error")
        self.assertEqual(server.ask("POST", "/v1/chat/completions", {**CHAT, "model": "other"})[0], 404)
        self.assertEqual(server.ask("GET", "/v1/chat/completions")[0], 405)
        self.assertEqual(server.ask("GET", "/nothing")[0], 404)
        for raw, status in ((b"hello\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\na: " + b"b" * 70000 + b"\r\n\r\n", b"431"),
                            (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", b"413")):
            with server.connect() as connection:
                connection.sendall(raw)
                self.assertEqual(read_until(connection, b"}}").split(b" ")[1], status)
        prompt = {"model": "smollm2", "prompt": [5] * 5000, "max_tokens": 1}
        status, text, _ = server.ask("POST", "/v1/completions", prompt)
        self.assertEqual(status, 400)
        self.assertIn("5000 tokens", json.loads(text)["error"]["message"])

    def test_drain(self):
        server = self.server("--drain-timeout", "60")
        with server.connect() as running:
            running.sendall(chat_bytes(stream=True, max_tokens=200, ignore_eos=True))
            read_until(running, b"content")
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("draining")
            status, _, headers = server.ask("POST", "/v1/chat/completions", CHAT)
            self.assertEqual((status, headers["retry-after"]), (503, "1"))
            self.assertIn(b'"finish_reason":"length"', read_until(running, b"[DONE]"))
        self.assertEqual(server.process.wait(timeout=LIMIT_S), 0)

    def test_pages_of_other_sites_are_refused(self):
        server = self.server()
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
            status, body, _ = server.ask("GET", "/v1/models", headers=headers)
            self.assertEqual((status, b"--api-key-file" in body), (403, True), headers)
        self.assertEqual(server.ask("GET", "/v1/models", headers={"Origin": "http://localhost:3000"})[0], 200)

    def test_keys(self):
        self.assertIn("--allow-no-keys", self.error(1, "serve", REAL_MODEL, "--host", "0.0.0.0", "--port", "0"))
        import hashlib
        keys = self.file("keys", "ann " + hashlib.sha256(b"sk-ann").hexdigest() + "\n")
        server = self.server("--api-key-file", keys)
        self.assertEqual(server.ask("GET", "/v1/models")[0], 401)
        self.assertEqual(server.ask("GET", "/v1/models", headers={"Authorization": "Bearer sk-bob"})[0], 401)
        self.assertEqual(server.ask("GET", "/v1/models", headers={"Authorization": "Bearer sk-ann"})[0], 200)
        named = {"Authorization": "Bearer sk-ann", "Origin": "https://app.example", "Host": "kinglet.example"}
        self.assertEqual(server.ask("GET", "/v1/models", headers=named)[0], 200)  # who has a key may come from anywhere
        self.assertEqual(server.ask("GET", "/health")[0], 200)
        self.assertNotIn("sk-", server.path.read_text())

    @unittest.skipUnless(importlib.util.find_spec("openai"), "the Python package openai is not installed")
    def test_openai_client(self):
        import openai
        server = self.server()
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", timeout=LIMIT_S, max_retries=0)
        self.assertEqual([model.id for model in client.models.list()], ["smollm2", "gpt-4o-mini"])
        answer = client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2)
        self.assertEqual(len(answer.choices[0].logprobs.content), 16)
        text, usage = "", None
        for chunk in client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage or usage
        self.assertEqual((text, usage.total_tokens), (answer.choices[0].message.content, answer.usage.total_tokens))
        batch = client.completions.create(model="smollm2", prompt=["One, two,", [1, 2, 3]], n=2, max_tokens=4, seed=1, echo=True)
        self.assertEqual([choice.index for choice in batch.choices], [0, 1, 2, 3])
        self.assertTrue(batch.choices[1].text.startswith("One, two,"))
        scored = client.completions.create(model="smollm2", prompt="One, two,", max_tokens=4, logprobs=2, temperature=0).choices[0].logprobs
        self.assertEqual(scored.token_logprobs, [max(top.values()) for top in scored.top_logprobs])
        schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}}, "required": ["n"],
                  "additionalProperties": False}
        shaped = client.chat.completions.create(**{**CHAT, "max_tokens": 60}, response_format={
            "type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
        if shaped.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(shaped.choices[0].message.content)["n"], int)
        with self.assertRaises(openai.NotFoundError):
            client.chat.completions.create(**{**CHAT, "model": "other"})
        with self.assertRaisesRegex(openai.BadRequestError, "temperature"):
            client.chat.completions.create(**{**CHAT, "temperature": "hot"})

    @unittest.skipUnless(importlib.util.find_spec("anthropic"), "the Python package anthropic is not installed")
    def test_anthropic_client(self):
        import anthropic
        server = self.server()
        client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{server.port}", api_key="none", timeout=LIMIT_S, max_retries=0)
        asked = {"model": "smollm2", "messages": CHAT["messages"]}

        def system(line):  # the first block is what Claude Code sends, other in every request
            return [{"type": "text", "text": f"x-anthropic-billing-header: cch={line};"},
                    {"type": "text", "text": "You are brief. " * 20, "cache_control": {"type": "ephemeral"}}]

        whole = client.messages.create(**asked, system=system(1), max_tokens=16, extra_body={"temperature": 0})
        self.assertEqual((whole.stop_reason, whole.usage.output_tokens), ("max_tokens", 16))
        with client.messages.stream(**asked, system=system(2), max_tokens=16, extra_body={"temperature": 0}) as stream:
            kinds = [event.type for event in stream]
            streamed = stream.get_final_message()
        self.assertEqual(streamed.content[0].text, whole.content[0].text)
        self.assertEqual((kinds[0], kinds[-1]), ("message_start", "message_stop"))
        self.assertGreater(streamed.usage.cache_read_input_tokens, 50)
        count = client.messages.count_tokens(**asked, system=system(3)).input_tokens
        for usage in (whole.usage, streamed.usage):
            self.assertEqual(usage.input_tokens + usage.cache_read_input_tokens, count)
        word = whole.content[0].text.split()[1]
        stopped = client.messages.create(**asked, system=system(1), max_tokens=16, stop_sequences=[word], extra_body={"temperature": 0})
        self.assertEqual((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", word))
        with self.assertRaisesRegex(anthropic.NotFoundError, "not_found_error"):
            client.messages.create(**{**asked, "model": "other"}, max_tokens=1)
        image = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]
        with self.assertRaisesRegex(anthropic.BadRequestError, r"messages\[0\].content\[0\]: found an image") as caught:
            client.messages.create(**{**asked, "messages": [{"role": "user", "content": image}]}, max_tokens=1)
        self.assertEqual(caught.exception.request_id, caught.exception.body["request_id"])

    @unittest.skipUnless(importlib.util.find_spec("ollama"), "the Python package ollama is not installed")
    def test_ollama_client(self):
        import ollama
        server = self.server()
        self.assertEqual([server.ask(method, "/")[:2] for method in ("GET", "HEAD")], [(200, b"Kinglet is running"), (200, b"")])
        client = ollama.Client(host=f"http://127.0.0.1:{server.port}", timeout=LIMIT_S)
        names = [model.model for model in client.list().models]
        self.assertEqual(names, ["smollm2:latest", "gpt-4o-mini:latest"])
        self.assertEqual(client.ps().models[0].context_length, 2048)
        shown = client.show(names[0])
        self.assertEqual((shown.details.family, shown.modelinfo["llama.context_length"]), ("llama", 2048))
        self.assertIn("completion", shown.capabilities)
        ask = {"model": names[0], "messages": CHAT["messages"], "options": {"temperature": 0, "num_predict": 16, "num_ctx": 2048}}
        whole = client.chat(**ask)
        self.assertEqual(whole.message.content, server.chat()["choices"][0]["message"]["content"], "as OpenAI's dialect says")
        self.assertEqual((whole.done, whole.done_reason, whole.eval_count), (True, "length", 16))
        self.assertTrue(whole.total_duration >= whole.eval_duration > 0)
        lines = list(client.chat(**ask, stream=True))
        self.assertEqual("".join(line.message.content for line in lines), whole.message.content)
        self.assertEqual([line.done for line in lines], [False] * (len(lines) - 1) + [True])
        self.assertGreater(len(lines), 2)
        # Without `stream`, lines come.
        status, body, headers = server.ask("POST", "/api/generate", {"prompt": "One, two,", "raw": True, "options": ask["options"]})
        self.assertEqual((status, headers["content-type"]), (200, "application/x-ndjson"))
        text = "".join(json.loads(line)["response"] for line in body.splitlines())
        self.assertEqual(client.generate("smollm2", "One, two,", raw=True, options=ask["options"]).response, text)
        schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}}, "required": ["n"],
                  "additionalProperties": False}
        shaped = client.generate("smollm2", "A number?", format=schema, options={"temperature": 0, "num_predict": 60})
        if shaped.done_reason == "stop":
            self.assertIsInstance(json.loads(shaped.response)["n"], int)
        self.assertEqual(client.generate("smollm2").done_reason, "load")
        for words, code, call in (
                ("no \"other\" here", 404, lambda: client.chat(**{**ask, "model": "other"})),
                ("options.num_ctx", 400, lambda: client.chat(**{**ask, "options": {"num_ctx": 4096}})),
                ("^format", 400, lambda: client.chat(**ask, format={"type": "nonsense"})),
                ("kinglet pull", 501, lambda: client.delete("smollm2"))):
            with self.subTest(words), self.assertRaisesRegex(ollama.ResponseError, words) as caught:
                call()
            self.assertEqual(caught.exception.status_code, code)
        self.assertEqual(list(json.loads(server.ask("GET", "/api/nothing")[1])), ["error"])


if __name__ == "__main__":
    unittest.main()
