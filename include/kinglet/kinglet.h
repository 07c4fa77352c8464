// Kinglet's public C++ API: load a model, tokenize, generate, chat. Everything a program needs is in this header; what
// is behind it may change from release to release, this may not without a new version number.
//
//   auto model = kinglet::api::Model::load("model.gguf");
//   if (!model) return fail(model.failure().message);
//   auto answer = model->chat({{"user", "Why is the sky blue?"}}, {}, [](std::string_view text) {
//     std::cout << text << std::flush;
//     return true;
//   });
//
// Link with Kinglet::kinglet (find_package(Kinglet)). C++20. Nothing here throws but std::bad_alloc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace kinglet::api {

// "0.1.0"
std::string version();

// Why something did not work.
struct Failure {
  enum class Kind {
    kInvalid,      // malformed input: a file, a request
    kNotFound,     // a file, a model or a part of it that does not exist
    kUnsupported,  // well-formed, but something Kinglet cannot do
    kResource,     // memory or another budget is exhausted
    kIo,           // the operating system refused
    kNetwork,      // a peer refused or went away
    kCancelled,    // the caller gave up
  };
  Kind kind = Kind::kInvalid;
  std::string message;  // a sentence that a user can act on
};

// A value, or the failure that kept it from being. Reading the one that isn't there is undefined.
template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Outcome(Failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  const Failure& failure() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Failure> state_;
};

struct LoadOptions {
  bool exact = false;           // float activations: slower, the reference; else int8 ones meet quantised weights
  std::string kv_type = "f16";  // of the cache: "f32", "f16" or "q8_0"
  int threads = 0;              // 0: one for each core
  int64_t context = 0;          // tokens of prompt and answer; 0: as trained for, or what memory allows
  int64_t max_sequences = 8;    // generations that run at once; more wait
  uint64_t kv_bytes = 0;        // for the cache; 0: what max_sequences full contexts need, as far as memory allows
  // Tokens that a repetition in the text suggests, or the model's own prediction layer, are checked several at once
  // where that is faster; the answers are the same.
  bool speculate = true;
  // The path of a smaller model with the same vocabulary that suggests tokens, too; or empty. Not read without
  // `speculate`.
  std::string draft;
  std::function<void(double fraction)> progress;  // while weights are read; may be empty
};

// How tokens are chosen, in the order of the steps: bias and penalties, temperature, top-k, top-p, min-p, typical-p.
// These are the defaults of the command line, too; there a model's own advice (generation_config.json) comes first.
struct Sampling {
  float temperature = 0.8f;         // 0: always the most probable token
  int64_t top_k = 40;               // keep so many of the most probable tokens; 0: all
  float top_p = 0.95f;              // keep the most probable tokens up to this probability; 1: all
  float min_p = 0.05f;              // keep tokens with this share of the best one's probability; 0: all
  float typical_p = 1.0f;           // locally typical sampling; 1: off
  float repetition_penalty = 1.0f;  // on recent tokens; 1: off
  int64_t repetition_last_n = 64;   // how far it looks back; -1: everything
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::optional<uint64_t> seed;  // the same seed gives the same text, whatever runs beside it
};

struct GenerateOptions {
  Sampling sampling;
  int64_t max_tokens = -1;        // -1: until the context is full
  std::vector<std::string> stop;  // the answer ends before the first of these
  bool ignore_end = false;        // go on past end-of-generation tokens
  std::string json_schema;        // the answer follows this schema
  std::string regex;              // the answer matches this expression; not together with json_schema
};

struct Message {
  std::string role;  // "system", "user", "assistant", …
  std::string content;
};

struct ChatOptions {
  GenerateOptions generate;
  std::string tools_json;          // a JSON array of tools for the template, or empty
  std::string template_args_json;  // a JSON object of further template variables, or empty
};

struct Answer {
  std::string text;
  std::vector<int32_t> tokens;
  enum class End { kStop, kLength, kCancelled } end = End::kStop;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;      // of the prompt, those that an earlier text began with, too
  double prompt_seconds = 0.0;    // until the first token was chosen
  double generate_seconds = 0.0;  // from then on
  int64_t drafted_tokens = 0;     // suggested ahead of their turn and checked (LoadOptions::speculate)
  int64_t accepted_tokens = 0;    // of those, the ones that are part of the answer
  uint64_t seed = 0;
};

// Called with each piece of the answer, complete UTF-8; false ends the generation (Answer::End::kCancelled).
using OnText = std::function<bool(std::string_view text)>;

struct ModelFacts {
  std::string family, architecture;  // "qwen2", …
  int64_t vocabulary = 0;
  int64_t context = 0;         // tokens of prompt and answer together
  std::string context_reason;  // why it is that many
  std::string instruction_set;
  int threads = 0;
  uint64_t weight_bytes = 0;
  std::vector<std::string> notes;  // what a user should know: weights widened, tensors ignored
};

// A loaded model. Copies share it; it is freed with the last one. All functions may be called from several threads at
// once: generations then run together, each with the answer it would have alone.
class Model {
 public:
  // A GGUF file (or the first of a split), or a Hugging Face folder.
  static Outcome<Model> load(const std::string& path, const LoadOptions& options = {});

  ModelFacts facts() const;

  // add_special: what the model puts around a text (BOS …). parse_special: "<|im_end|>" in the text is that one token.
  Outcome<std::vector<int32_t>> tokenize(std::string_view text, bool add_special = true,
                                         bool parse_special = true) const;
  std::string detokenize(std::span<const int32_t> tokens, bool skip_special = true) const;

  // The text that the model's chat template makes of messages, up to where the answer begins. kNotFound without
  // template.
  Outcome<std::string> render_chat(std::span<const Message> messages, const ChatOptions& options = {}) const;

  // Goes on from a prompt. Blocks; `on_text` (may be empty) is called on the calling thread.
  Outcome<Answer> generate(std::string_view prompt, const GenerateOptions& options = {},
                           const OnText& on_text = {}) const;
  Outcome<Answer> generate(std::span<const int32_t> prompt, const GenerateOptions& options = {},
                           const OnText& on_text = {}) const;
  // Answers the last message.
  Outcome<Answer> chat(const std::vector<Message>& messages, const ChatOptions& options = {},
                       const OnText& on_text = {}) const;

 private:
  struct State;
  explicit Model(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

struct EmbedderOptions {
  bool exact = false;      // as LoadOptions
  int threads = 0;         // 0: one for each core
  std::string pooling;     // "mean", "cls" or "last"; empty: as the model says
  bool normalize = true;   // vectors of length 1
  int64_t dimensions = 0;  // the first so many are kept; 0: all
  bool truncate = false;   // longer texts than the model reads lose their end, instead of being a failure
};

// A model that turns texts into vectors: an encoder of text, or an embedding model. Copies share it; all functions may
// be called from several threads at once, which then take turns.
class Embedder {
 public:
  static Outcome<Embedder> load(const std::string& path, const EmbedderOptions& options = {});

  int64_t dimensions() const;
  // A vector for each text: the same for the same text, whatever stands beside it.
  Outcome<std::vector<std::vector<float>>> embed(std::span<const std::string> texts) const;

 private:
  struct State;
  explicit Embedder(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace kinglet::api
