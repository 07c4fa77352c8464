"""llama.cpp through the low-level interface of llama-cpp-python: contexts are made for a work and kept, so that a deep cache is
filled once and every round measures the same thing. Runs inside of a worker process (rival_worker.py)."""
import ctypes
import random
import time

FLASH = {"flash attention on": 1, "flash attention off": 0}
STEP = 512


class Unsupported(Exception):
    """The rival can't do this work; the text says why."""


class LlamaCpp:
    def __init__(self, path, threads, largest_batch):
        import llama_cpp
        self.api = llama_cpp
        self._silent = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(self._silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise Unsupported("llama.cpp does not load this file")
        self.threads, self.contexts = threads, {}
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.batch = llama_cpp.llama_batch_init(max(STEP, largest_batch), 0, 1)
        self.random = random.Random(1)

    def about(self):
        return {"name": "llama.cpp", "version": f"llama-cpp-python {self.api.__version__}", "variants": list(FLASH),
                "build": self.api.llama_print_system_info().decode().strip()}

    def _context(self, variant, kv, length, sequences):
        """A context that holds `length` tokens of each sequence."""
        parameters = self.api.llama_context_default_params()
        parameters.n_ctx = -(-length // 256) * 256 * sequences
        parameters.n_seq_max = sequences
        parameters.n_batch = parameters.n_ubatch = STEP
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.flash_attn_type = FLASH[variant]
        parameters.type_k = parameters.type_v = {"f32": 0, "f16": 1, "q8_0": 8}[kv]
        context = self.api.llama_init_from_model(self.model, parameters)
        if not context:
            raise Unsupported(f"llama.cpp has no KV of type {kv} with {variant}")
        return context

    def _step(self, context, tokens, position, sequences=1):
        """One decode: `tokens` of one sequence from a position on, or one token of each sequence there. The last position's
        logits are asked for."""
        b = self.batch
        b.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            b.token[i] = token
            b.pos[i] = position if sequences > 1 else position + i
            b.n_seq_id[i] = 1
            b.seq_id[i][0] = i if sequences > 1 else 0
            b.logits[i] = sequences > 1 or i == len(tokens) - 1
        if self.api.llama_decode(context, b) != 0:
            raise Unsupported("llama_decode failed")

    def _tokens(self, count):
        return [self.random.randrange(self.vocabulary) for _ in range(count)]

    def _feed(self, context, tokens, position):
        for at in range(0, len(tokens), STEP):
            self._step(context, tokens[at:at + STEP], position + at)
        self.api.llama_synchronize(context)

    def _at_depth(self, variant, kv, depth, more, sequences):
        """A context with `depth` tokens in its cache and room for `more`; what an earlier work left behind is cut off."""
        key = variant, kv, depth, more, sequences
        if key not in self.contexts:
            self.contexts[key] = self._context(variant, kv, depth + more, sequences)
            self._feed(self.contexts[key], self._tokens(depth), 0)
        memory = self.api.llama_get_memory(self.contexts[key])
        if not self.api.llama_memory_seq_rm(memory, -1, depth, -1):
            raise Unsupported("the cache can't be cut")
        return self.contexts[key]

    def prompt(self, variant, tokens, depth, kv):
        """Tokens a second, after a run that is not measured."""
        for _ in range(2):
            context = self._at_depth(variant, kv, depth, tokens, 1)
            ids = self._tokens(tokens)
            began = time.perf_counter()
            self._feed(context, ids, depth)
            took = time.perf_counter() - began
        return tokens / took

    def generation(self, variant, tokens, depth, kv, batch):
        """All sequences' tokens a second."""
        if batch > 1 and depth:
            raise Unsupported("batches are measured from an empty cache")
        for count in (min(4, tokens), tokens):
            context = self._at_depth(variant, kv, depth, tokens, batch)
            ids = [self._tokens(batch) for _ in range(count)]
            began = time.perf_counter()
            for i in range(count):
                self._step(context, ids[i], depth + i, batch)
                self.api.llama_synchronize(context)
            took = time.perf_counter() - began
        return tokens * batch / took

    def tokenize(self, text, special):
        data = text.encode()
        ids = (self.api.llama_token * (len(data) + 8))()
        count = self.api.llama_tokenize(self.vocab, data, len(data), ids, len(ids), special, True)
        return list(ids[:count])

    def _best(self, context):
        logits = self.api.llama_get_logits_ith(context, -1)
        return max(range(self.vocabulary), key=lambda i: logits[i])

    def greedy(self, text, tokens, special):
        """The ids of the prompt, and the bytes and ids of what follows. `special`: tokens that open a text are added."""
        prompt = self.tokenize(text, special)
        context = self._context("flash attention off", "f16", len(prompt) + tokens, 1)
        self._feed(context, prompt, 0)
        ids, said = [], b""
        while len(ids) < tokens:
            best = self._best(context)
            if self.api.llama_vocab_is_eog(self.vocab, best):
                break
            ids.append(best)
            piece = ctypes.create_string_buffer(256)
            length = self.api.llama_token_to_piece(self.vocab, best, piece, 256, 0, False)
            said += piece.raw[:length]
            self._step(context, [best], len(prompt) + len(ids) - 1)
        self.api.llama_free(context)
        return {"prompt": prompt, "ids": ids, "text": said.decode(errors="replace")}
