#!/usr/bin/env python3
"""A hub to test against: speaks the protocol of model hubs on two loopback ports and misbehaves on request.

    fake_hub.py ROOT      prints "PORT STORAGE_PORT" and serves until killed

ROOT/repos/ORG/NAME/...   the files of the repositories
ROOT/scenario.json        read anew for every request; all fields optional ("epoch" tells scenarios apart, for `times`):
    {"epoch": N, "commit": "40 hex digits",
     "rules": [{"match": REGEX on "hub PATH" or "storage PATH", "times": N, "action": ..., ...}]}
ROOT/requests.log         one JSON object a request: port, path, range, if_range, authorization, status

The port answers the interface and small files itself and redirects large files (*.gguf, *.safetensors) to the storage
port, as real hubs do. Actions of rules, the first that matches and has `times` left:
    status     answer "status" with "headers" and "body"
    cut        serve, but close the connection after "after" bytes of the body
    stall      serve, but deliver nothing more after "after" bytes
    slow       serve "rate" bytes a second
    no_range   ignore Range
    corrupt    serve with the byte at "at" changed
    size       serve a file that is "delta" bytes longer or shorter; "no_range": true as well
    etag       serve with the entity tag "etag"
    redirect   redirect to "to" ({hub} and {storage} stand for the ports)
    raw        answer 200 with "body" as it is
"""
import hashlib
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

ROOT = sys.argv[1]
LARGE = (".gguf", ".safetensors")
DEFAULT_COMMIT = "0123456789abcdef0123456789abcdef01234567"
lock = threading.Lock()
used = {}  # how often each rule has been applied
ports = {}


def scenario():
    try:
        with open(os.path.join(ROOT, "scenario.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def matching_rule(subject):
    current = scenario()
    for number, rule in enumerate(current.get("rules", [])):
        if not re.search(rule["match"], subject):
            continue
        key = (current.get("epoch"), number)
        with lock:
            if used.get(key, 0) >= rule.get("times", 1 << 60):
                continue
            used[key] = used.get(key, 0) + 1
        return rule
    return {"action": "serve"}


def listing(repo):
    folder = os.path.join(ROOT, "repos", repo)
    siblings = []
    for base, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                data = file.read()
            entry = {"rfilename": os.path.relpath(path, folder), "size": len(data)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if name.endswith(LARGE):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            siblings.append(entry)
    return {"id": repo, "sha": scenario().get("commit", DEFAULT_COMMIT), "siblings": siblings}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    side = "hub"

    def log_message(self, *arguments):
        pass

    def note(self, status):
        line = json.dumps({"port": self.side, "path": self.path, "range": self.headers.get("Range"),
                           "if_range": self.headers.get("If-Range"),
                           "authorization": self.headers.get("Authorization"), "status": status})
        with lock, open(os.path.join(ROOT, "requests.log"), "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def answer(self, status, body, headers=None):
        self.note(status)
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def redirect(self, to):
        self.answer(302, "", {"Location": to.format(**ports)})

    def do_GET(self):
        try:
            self.serve()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def serve(self):
        path = unquote(urlsplit(self.path).path)
        rule = matching_rule(self.side + " " + path)
        if rule["action"] == "status":
            return self.answer(rule["status"], rule.get("body", ""), rule.get("headers"))
        if rule["action"] == "redirect":
            return self.redirect(rule["to"])
        if rule["action"] == "raw":
            return self.answer(200, rule["body"])
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path)
        if api and os.path.isdir(os.path.join(ROOT, "repos", api[1])):
            return self.answer(200, json.dumps(listing(api[1])), {"Content-Type": "application/json"})
        resolved = re.fullmatch(r"/(?:storage/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        local = os.path.join(ROOT, "repos", resolved[1], resolved[3]) if resolved else ""
        if not os.path.isfile(local):
            return self.answer(404, "Not found", {"X-Error-Message": "Repository or file not found"})
        if self.side == "hub" and local.endswith(LARGE):
            return self.redirect("http://127.0.0.1:{storage}/storage" + self.path.replace("{", "{{").replace("}", "}}"))
        return self.send_file(local, rule)

    def send_file(self, local, rule):
        with open(local, "rb") as file:
            data = file.read()
        action = rule["action"]
        etag = rule.get("etag", '"' + hashlib.sha256(data).hexdigest()[:32] + '"')
        if action == "size":
            data = data[:rule["delta"]] if rule["delta"] < 0 else data + b"x" * rule["delta"]
        if action == "corrupt":
            at = rule.get("at", 0)
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
        status, begin, end = 200, 0, len(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        fresh = self.headers.get("If-Range") in (None, etag)
        if asked and fresh and action != "no_range" and not rule.get("no_range"):
            begin, end = int(asked[1]), min(int(asked[2] or len(data) - 1) + 1, len(data))
            status = 206
            if begin >= len(data):
                return self.answer(416, "", {"Content-Range": "bytes */%d" % len(data)})
        self.note(status)
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(end - begin))
        if status == 206:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (begin, end - 1, len(data)))
        self.end_headers()
        self.send_body(data[begin:end], rule)

    def send_body(self, body, rule):
        action = rule["action"]
        if action in ("cut", "stall") and len(body) > rule["after"]:
            self.wfile.write(body[:rule["after"]])
            self.wfile.flush()
            if action == "stall":
                time.sleep(60)
            self.close_connection = True
            self.connection.shutdown(2)
        elif action == "slow":
            step = max(1, rule["rate"] // 50)
            for at in range(0, len(body), step):
                self.wfile.write(body[at:at + step])
                time.sleep(0.02)
        else:
            self.wfile.write(body)


class StorageHandler(Handler):
    side = "storage"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what the tests are about


def main():
    hub = Server(("127.0.0.1", 0), Handler)
    storage = Server(("127.0.0.1", 0), StorageHandler)
    ports.update(hub=hub.server_address[1], storage=storage.server_address[1])
    for server in (hub, storage):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(ports["hub"], ports["storage"], flush=True)
    # Lives as long as whoever started it keeps our standard input open.
    sys.stdin.read()


if __name__ == "__main__":
    main()
