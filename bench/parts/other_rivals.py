"""mistral.rs and OpenVINO GenAI, through the interfaces that their packages offer: prompts and generation of one sequence from an
empty cache. They run inside of a worker process (rival_worker.py)."""
import os
import pathlib

from .llama_cpp import Unsupported

WORDS = " one two three four five six seven eight nine ten"


def _only_simple(depth, kv, batch=1):
    if depth or batch > 1 or kv != "f16":
        raise Unsupported("measured for one sequence from an empty cache")


class MistralRs:
    def __init__(self, path, threads, largest_batch):
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        import mistralrs
        self.api = mistralrs
        path = pathlib.Path(path)
        self.runner = mistralrs.Runner(which=mistralrs.Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name),
                                       prefix_cache_n=0, token_source="none")
        self.tokens_of_words = 0

    def about(self):
        from importlib.metadata import version
        return {"name": "mistral.rs", "version": f"mistralrs {version('mistralrs')}", "variants": ["default"]}

    def _run(self, text, tokens):
        request = self.api.CompletionRequest(model="default", prompt=text, max_tokens=tokens, temperature=0.0, top_k=1)
        answer = self.runner.send_completion_request(request)
        return answer.choices[0].text, answer.usage

    def _warm_up(self):
        if not self.tokens_of_words:
            counts = [self._run(WORDS * times, 1)[1].prompt_tokens for times in (1, 2)]
            self.tokens_of_words = max(counts[1] - counts[0], 1)

    def prompt(self, variant, tokens, depth, kv):
        _only_simple(depth, kv)
        self._warm_up()
        text = WORDS * max(round(tokens / self.tokens_of_words), 1)  # about so many tokens; the speed is by their number
        self._run(text, 1)
        return self._run(text, 1)[1].avg_prompt_tok_per_sec

    def generation(self, variant, tokens, depth, kv, batch):
        _only_simple(depth, kv, batch)
        self._warm_up()
        usage = self._run(WORDS, tokens)[1]
        if usage.completion_tokens < tokens // 2:
            raise Unsupported(f"it ended after {usage.completion_tokens} tokens")
        return usage.avg_compl_tok_per_sec

    def greedy(self, text, tokens, special):
        return {"text": self._run(text, tokens)[0]}


class OpenVino:
    def __init__(self, path, threads, largest_batch):
        import openvino
        import openvino_genai
        self.tensor, self.api = openvino.Tensor, openvino_genai
        self.pipeline = openvino_genai.LLMPipeline(str(path), "CPU", INFERENCE_NUM_THREADS=threads)

    def about(self):
        return {"name": "OpenVINO", "version": f"openvino-genai {self.api.__version__}", "variants": ["default"]}

    def _run(self, prompt, tokens):
        import numpy
        ids = numpy.array([[5 + 37 * i % 250 for i in range(prompt)]], dtype=numpy.int64)
        inputs = self.api.TokenizedInputs(self.tensor(ids), self.tensor(numpy.ones_like(ids)))
        return self.pipeline.generate(inputs, max_new_tokens=tokens, ignore_eos=True, do_sample=False).perf_metrics

    def prompt(self, variant, tokens, depth, kv):
        _only_simple(depth, kv)
        self._run(tokens, 1)
        return tokens / (self._run(tokens, 1).get_ttft().mean / 1e3)

    def generation(self, variant, tokens, depth, kv, batch):
        _only_simple(depth, kv, batch)
        return 1e3 / self._run(4, tokens).get_tpot().mean

    def greedy(self, text, tokens, special):
        return {"text": str(self.pipeline.generate(text, max_new_tokens=tokens, do_sample=False, apply_chat_template=False))}
