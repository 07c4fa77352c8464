#!/usr/bin/env python3
"""Writes a GGUF file of random weights: any shape, any type, for measuring shapes that no package carries.

usage: bench/random_model.py OUT.gguf --shape qwen2-1.5b --type Q4_K_M [--layers 4 --hidden 512 ...]
                             [--tensor 'blk.*.ffn_down*=Q6_K'] [--pure] [--seed 1]

A mix's name (Q4_K_M, Q3_K_L, ...) gives each tensor the type that llama.cpp's file of that name has; any other type goes to
every matrix, the output matrix in Q6_K or Q8_0; --pure leaves it no exception. Rows that a type's block does not divide get its
stand-in. Blocks are random bits under scales that keep the activations finite; they come out of one pool of a few megabytes a
type, so that writing costs little more than the disk does. The vocabulary has the shape's size, with a merge for each entry.
The same arguments give the same bytes.
"""
import argparse
import dataclasses
import math
import os
import pathlib
import random
import sys

from parts.blocks import random_blocks
from parts.gguf_io import TYPES, aligned, tensor_bytes, write_header
from parts.shapes import MIXES, SHAPES, choose_type, matrices, model_keys, problem_of

POOL_BYTES = 2 << 20
GAIN = 1.5


class Pools:
    """Random blocks by type and standard deviation, made once."""

    def __init__(self, seed, largest_tensor):
        self._random, self._bytes = random.Random(seed), min(POOL_BYTES, 2 * largest_tensor)
        self._pools = {}

    def take(self, kind, std):
        """Endless data of whole blocks: pieces of the pool, each from another block on."""
        size = TYPES[kind][2]
        pool = self._pools.get((kind, std))
        if pool is None:
            pool = self._pools[kind, std] = random_blocks(self._random, kind, max(self._bytes // size, 2), std)
        view = memoryview(pool)
        while True:
            yield view[self._random.randrange(len(pool) // size // 2) * size:]


def write_tensor(file, pools, name, kind, shape):
    wanted = tensor_bytes(kind, shape)
    if kind == "F32" and "norm" in name:
        file.write((b"\0\0\x80\x3f") * (wanted // 4))  # 1.0
    else:
        std = 0.02 if name.endswith(".bias") else 1.0 if name == "token_embd.weight" else GAIN / math.sqrt(shape[0])
        left = wanted
        for piece in pools.take(kind, std):
            left -= file.write(piece[:left])
            if not left:
                break
    file.write(bytes(aligned(wanted) - wanted))


def write_model(path, shape, mix, name=None, pure=False, overrides=(), seed=1):
    """Returns the file's size."""
    tensors = [(tensor, choose_type(mix, tensor, dims[0], shape, pure, overrides), dims) for tensor, dims in matrices(shape)]
    pools = Pools(seed, max(tensor_bytes(kind, dims) for _, kind, dims in tensors))
    keys = model_keys(shape, mix, name or f"random {shape.architecture} {mix}")
    partial = pathlib.Path(f"{path}.part")
    try:
        with open(partial, "wb") as file:
            write_header(file, keys, tensors)
            for tensor in tensors:
                write_tensor(file, pools, *tensor)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return os.path.getsize(path)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--type", required=True, type=str.upper, choices=[*MIXES, *(t for t in TYPES if t not in MIXES)])
    parser.add_argument("--pure", action="store_true", help="every matrix in the one type")
    parser.add_argument("--tensor", action="append", default=[], metavar="PATTERN=TYPE", help="another type for some tensors")
    parser.add_argument("--seed", type=int, default=1)
    numbers = [field.name for field in dataclasses.fields(SHAPES["tiny"]) if field.type is int]
    for number in numbers:
        parser.add_argument("--" + number.replace("_", "-"), type=int, help="in place of the shape's")
    options = parser.parse_args(arguments)
    changed = {number: getattr(options, number) for number in numbers if getattr(options, number) is not None}
    overrides = []
    for text in options.tensor:
        pattern, _, kind = text.rpartition("=")
        if not pattern or kind.upper() not in TYPES:
            parser.error(f'--tensor: found "{text}", expected PATTERN=TYPE with one of {" ".join(TYPES)}')
        overrides.append((pattern, kind.upper()))
    mix = "Q3_K_M" if options.type == "Q3_K" else f"{options.type}_M" if options.type in ("Q4_K", "Q5_K") else options.type
    if options.pure:
        mix = options.type
    shape = dataclasses.replace(SHAPES[options.shape], **changed)
    if problem := problem_of(shape):
        parser.error(problem)
    return options, shape, mix, overrides


def main():
    options, shape, mix, overrides = parse(sys.argv[1:])
    try:
        size = write_model(options.out, shape, mix, f"random {options.shape} {options.type}", options.pure, overrides, options.seed)
    except OSError as error:
        raise SystemExit(f"{options.out}: cannot be written: {error.strerror}") from None
    print(f"{options.out}: {size / 1e9:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
