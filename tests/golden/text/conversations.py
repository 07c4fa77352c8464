#!/usr/bin/env python3
"""Writes conversations.jsonl: 320 generated conversations, with tools and template arguments. usage: conversations.py OUT"""
import json
import random
import sys

from texts import CODE, EMOJI, SCRIPTS, words

COUNT = 320
KINDS = ["string", "integer", "number", "boolean", "array", "object"]


def content(r):
    return r.choice([words, lambda r: r.choice(CODE), lambda r: r.choice(SCRIPTS), lambda r: r.choice(EMOJI) + " \n", lambda r: "  " + words(r) + "\n\n",
                     lambda r: "", lambda r: "{{ not }} {% a %} {# template #}", lambda r: 'quotes " \' \\ </s> <|im_end|>'])(r)


def schema(r, depth=0):
    kind = r.choice(KINDS if depth < 2 else KINDS[:4])
    s = {"type": kind, "description": words(r)[:40]}
    if kind == "array":
        s["items"] = schema(r, depth + 1)
    if kind == "object":
        s["properties"] = {f"p{i}": schema(r, depth + 1) for i in range(r.randint(0, 3))}
    if kind == "string" and r.random() < 0.3:
        s["enum"] = ["a", "b", "ü"]
    return s


def tool(r):
    properties = {r.choice(["city", "unit", "n", "größe", "q"]): schema(r) for _ in range(r.randint(0, 4))}
    return {"type": "function", "function": {"name": f"tool_{r.randint(0, 99)}", "description": words(r),
                                             "parameters": {"type": "object", "properties": properties, "required": list(properties)[:1]}}}


def value(r, depth=0):
    return r.choice([lambda: r.randint(-10**6, 10**12), lambda: round(r.uniform(-1e3, 1e3), 4), lambda: r.choice([1e-7, 1.5e20, 0.0, -2.0]), lambda: True,
                     lambda: None, lambda: content(r), lambda: [] if depth > 2 else [value(r, depth + 1) for _ in range(r.randint(0, 3))],
                     lambda: {} if depth > 2 else {f"k{i}": value(r, depth + 1) for i in range(r.randint(0, 3))}])()


def assistant(r, with_calls):
    m = {"role": "assistant", "content": content(r)}
    if r.random() < 0.25:
        m["reasoning_content"] = words(r)
    elif r.random() < 0.15:
        m["content"] = "<think>\n" + words(r) + "\n</think>\n\n" + m["content"]
    if with_calls:
        m["tool_calls"] = [{"id": "".join(r.choice("abcXYZ019") for _ in range(9)), "type": "function",
                            "function": {"name": f"tool_{r.randint(0, 99)}", "arguments": {f"a{i}": value(r) for i in range(r.randint(0, 3))}}}
                           for _ in range(r.choice([1, 1, 2]))]
        if r.random() < 0.4:
            m["content"] = None
    return m


def conversation(r):
    messages = [{"role": "system", "content": content(r)}] if r.random() < 0.5 else []
    for _ in range(r.randint(1, 4)):
        user = {"role": "user", "content": content(r)}
        if r.random() < 0.08:
            user["content"] = [{"type": "text", "text": content(r)}, {"type": "image", "url": "x.png"}]
        messages.append(user)
        calls = r.random() < 0.25
        messages.append(assistant(r, calls))
        if calls:
            for call in messages[-1]["tool_calls"]:
                messages.append({"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": r.choice([content(r), json.dumps(value(r))])})
            if r.random() < 0.8:
                messages.append(assistant(r, False))
    if r.random() < 0.7:
        while messages[-1]["role"] != "user":
            messages.pop()
    if r.random() < 0.04:
        r.shuffle(messages)
    case = {"messages": messages, "tools": [tool(r) for _ in range(r.randint(1, 3))] if r.random() < 0.4 else None, "args": {},
            "add_generation_prompt": r.random() < 0.7}
    if r.random() < 0.4:
        case["args"]["enable_thinking"] = r.random() < 0.5
    if r.random() < 0.2:
        case["args"]["date_string"] = "1 Apr 2025"
    return case


def main():
    r = random.Random(20261123)
    with open(sys.argv[1], "w", encoding="ascii") as f:
        for _ in range(COUNT):
            f.write(json.dumps(conversation(r)) + "\n")


if __name__ == "__main__":
    main()
