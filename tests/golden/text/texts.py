#!/usr/bin/env python3
"""Writes texts.jsonl: the texts that every tokenizer is compared on, one JSON string a line.

All of them are made here from a seed: words, code, numbers, many scripts, emoji with joiners, combining marks, control
characters, runs of white space and random code points, and mixtures. usage: texts.py texts.jsonl
"""
import json
import random
import sys

COUNT = 2200
WORDS = """the of and to in is that it was for on are as with they at be this have from or one had by word but not what all
were we when your can said there use an each which she do how their if will up other about out many then them these so
some her would make like him into time has look two more write go see number no way could people my than first water been
don't I'll you've he's we'd they're it's I'M CAN'T naïve café résumé Straße ÅNGSTRÖM coöperate""".split()
SCRIPTS = [
    "你好世界这是一个测试我们在学习语言模型的分词器", "日本語のテキストとカタカナ、ひらがな。", "안녕하세요 세계 토크나이저 시험",
    "Привет мир это проверка токенизатора", "γειά σου κόσμε δοκιμή", "مرحبا بالعالم هذا اختبار", "שלום עולם זה מבחן",
    "नमस्ते दुनिया यह एक परीक्षण है", "ทดสอบภาษาไทยสวัสดี", "வணக்கம் உலகம்", "გამარჯობა მსოფლიო", "𒀀𒀁𒀂𒀃", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛",
    "ﬁﬂﬀ Ǆ ǈ ß ẞ İı", "①②③ Ⅳ ½ ¾ ²³", "١٢٣٤ ४५६ ๗๘๙", "ｆｕｌｌｗｉｄｔｈ　ＴＥＸＴ！",
]
EMOJI = ["😀", "🎉", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "☃", "🫠", "🧑🏿‍🚀", "1️⃣", "🀄"]
CODE = [
    "def f(x, *args, **kw):\n    return [y ** 2 for y in x if y % 3 != 0]\n", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }",
    "#include <vector>\n\tstd::vector<int> v{1, 2, 3};\r\n", "SELECT a.id, COUNT(*) FROM t a WHERE x >= 10.5 GROUP BY 1;",
    "{\"key\": [1, 2.5e-3, null, true], \"nested\": {\"a\": \"b\\n\"}}", "<div class=\"x y\">&nbsp;<br/></div>", "$ git log --oneline | head -n 10 > out.txt 2>&1",
    "let s = `${a}::${b}`; // comment\n\n\n/* block */", "\\frac{1}{2} \\sum_{i=0}^{\\infty} x_i^2", "https://example.org/a-b_c/d?e=f&g=%20h#i",
    "if x:\n\tpass\n    else:\n        y=0x1F_FF", "'don''t' \"quoted\" `ticks` «guillemets» “curly” ‘single’",
]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<unk>",
           "<pad>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "<tool_call>", "</tool_call>", "<think>", "<0x0A>", "<|", "|>", "<｜end▁of▁sentence｜>",
           "<unused5>", "<table>", "[INST]", "[/INST]", "▁", "Ġ", "<|fim_prefix|>", "<reponame>", "<EOT>", "<META>"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\x0b", "\x0c", "\u2028", "\x85", "\x1c"]
MARKS = ["e\u0301", "a\u0308\u0323", "n\u0303", "Z͑ͫ̓ͪ̂ͫ̽a̴̵̜̰l̷g", "क्‍ष", "ก็", "\u0301x", "o\u0302\u0301", "가", "Å", "Å", "Å"]


def words(r):
    out = []
    for _ in range(r.randint(1, 25)):
        w = r.choice(WORDS)
        w = r.choice([w, w, w, w.capitalize(), w.upper()])
        out.append(w + r.choice(["", "", "", "", ",", ".", "!", "?", ";", ":", "...", "'s", "-", "—"]))
    return " ".join(out)


def numbers(r):
    return " ".join(r.choice([str(r.randint(0, 10 ** r.randint(1, 20))), f"{r.uniform(-1e6, 1e6):.{r.randint(0, 9)}f}",
                              f"{r.randint(0, 9999):04d}-{r.randint(1, 12):02d}", f"{r.randint(0, 10**9):,}", hex(r.getrandbits(40))])
                    for _ in range(r.randint(1, 8)))


def script(r):
    s = r.choice(SCRIPTS)
    a = r.randrange(len(s))
    return s[a:a + r.randint(1, len(s))]


def spaces(r):
    return "".join(r.choice(SPACES) * r.choice([1, 1, 2, 3, 5, 17, 40]) for _ in range(r.randint(1, 4)))


def point(r):
    while True:
        c = r.choice([r.randrange(0x80), r.randrange(0x800), r.randrange(0x3000), r.randrange(0x10000), r.randrange(0x110000)])
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def soup(r):
    return "".join(point(r) for _ in range(r.randint(1, 30)))


def control(r):
    return "".join(chr(r.choice([r.randrange(32), 127, 0x80 + r.randrange(32), 0xFEFF, 0xFFFD, 0xFFFE, 0x200D, 0x202E])) for _ in range(r.randint(1, 10)))


def mixed(r):
    kinds = [words, numbers, script, spaces, soup, control, lambda r: r.choice(EMOJI) * r.randint(1, 3), lambda r: r.choice(CODE),
             lambda r: r.choice(SPECIAL), lambda r: r.choice(MARKS), lambda r: r.choice("aA1.-=_*#/\\ \n") * r.randint(2, 60)]
    return "".join(r.choice(kinds)(r) for _ in range(r.randint(2, 7)))


def main():
    r = random.Random(20261122)
    texts = ["", " ", "a", "\n", "Hello, world!", " leading and trailing ", "\u0000", "�", "don't DON'T it'S"] + CODE + SCRIPTS + EMOJI + SPECIAL + MARKS
    kinds = [words, words, numbers, script, spaces, soup, control, mixed, mixed, mixed, mixed]
    while len(texts) < COUNT:
        texts.append(r.choice(kinds)(r))
    with open(sys.argv[1], "w", encoding="ascii") as f:
        for t in texts[:COUNT]:
            f.write(json.dumps(t) + "\n")


if __name__ == "__main__":
    main()
