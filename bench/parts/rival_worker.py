#!/usr/bin/env python3
"""A rival in a process of its own: reads one JSON request a line, answers one JSON object a line. Started by compare.py.

usage: rival_worker.py RIVAL MODEL THREADS LARGEST_BATCH           serve requests
       rival_worker.py RIVAL MODEL THREADS first-token < prompt    print one token, and on standard error when imports were done
"""
import json
import os
import pathlib
import sys
import time

if not __package__:  # a program: its own folder has a llama_cpp.py that must not be taken for the package
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from parts.llama_cpp import LlamaCpp, Unsupported  # noqa: E402
from parts.other_rivals import MistralRs, OpenVino  # noqa: E402
from parts.processes import own_memory  # noqa: E402

RIVALS = {"llama.cpp": (LlamaCpp, "llama_cpp", "llama-cpp-python"), "mistral.rs": (MistralRs, "mistralrs", "mistralrs"),
          "OpenVINO": (OpenVino, "openvino_genai", "openvino-genai")}


def answer(rival, request):
    work = request.pop("do")
    if work == "about":
        return rival.about()
    if work == "memory":
        return own_memory()
    return {"value": getattr(rival, work)(**request)}


def serve(make, channel):
    try:
        rival = make()
        channel.write('{"ready": true}\n')
    except Exception as error:  # whatever the rival's library throws is told, and the comparison goes on without it
        channel.write(json.dumps({"unsupported": f"{type(error).__name__}: {error}"}) + "\n")
        return
    for line in sys.stdin:
        try:
            said = answer(rival, json.loads(line))
        except Unsupported as error:
            said = {"unsupported": str(error)}
        except Exception as error:
            said = {"unsupported": f"{type(error).__name__}: {error}"}
        channel.write(json.dumps(said) + "\n")


def main():
    name, path, threads, largest = sys.argv[1:]
    kind, module, _ = RIVALS[name]
    __import__(module)
    imported = time.monotonic()
    channel = os.fdopen(os.dup(1), "w", buffering=1)  # libraries that print must not break the lines
    os.dup2(2, 1)
    if largest != "first-token":
        serve(lambda: kind(path, int(threads), int(largest)), channel)
        return
    said = kind(path, int(threads), 1).greedy(text=sys.stdin.read(), tokens=1, special=True)
    channel.write(said["text"] + "\n")
    print(imported, file=sys.stderr)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
