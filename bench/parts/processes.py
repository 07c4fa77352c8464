"""Processes that are measured: what they hold in memory, and when they say their first byte."""
import pathlib
import subprocess
import threading
import time


def own_memory():
    """Bytes: the peak, and what is resident now, anonymous and of files."""
    fields = {}
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value[:-3]) * 1024
    return {"peak": fields.get("VmHWM", 0), "anonymous": fields.get("RssAnon", 0), "file": fields.get("RssFile", 0)}


def first_byte(command, text=None):
    """(seconds from exec to the first byte on standard output, its standard error, monotonic time of exec)."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if text is not None:
        process.stdin.write(text.encode())
    process.stdin.close()
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    first = process.stdout.read(1)
    took = time.monotonic() - began
    process.stdout.read()
    process.wait()
    reader.join()
    if not first or process.returncode:
        raise RuntimeError(f"{command[0]} said nothing (exit {process.returncode}): {errors[0].decode(errors='replace')[-500:]}")
    return took, errors[0].decode(errors="replace"), began
