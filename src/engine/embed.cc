#include "engine/embed.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/float_env.h"
#include "cache/page_list.h"
#include "cache/state_pool.h"

namespace kinglet {
namespace {

constexpr size_t kMostTexts = 64;  // in a step

Error invalid(const std::string& message) {
  return Error{ErrorCode::kInvalid, message};
}

int64_t length_of(const TokenText& text) {
  return static_cast<int64_t>(text.tokens.size());
}

Status check_texts(const Model& model, std::span<const TokenText> texts) {
  const ModelSpec& spec = model.spec();
  for (size_t i = 0; i < texts.size(); i++) {
    const TokenText& text = texts[i];
    const std::string name = "text " + std::to_string(i + 1);
    if (text.tokens.empty()) return invalid(name + " has no tokens");
    if (length_of(text) > model.context())
      return invalid(name + " has " + std::to_string(length_of(text)) + " tokens, more than the context of " +
                     std::to_string(model.context()));
    for (const int32_t token : text.tokens)
      if (token < 0 || token >= spec.vocabulary)
        return invalid(name + " has the token " + std::to_string(token) + "; the model's vocabulary goes from 0 to " +
                       std::to_string(spec.vocabulary - 1));
    if (!text.types.empty() && text.types.size() != text.tokens.size())
      return invalid(name + " has " + std::to_string(text.types.size()) + " token types for " +
                     std::to_string(text.tokens.size()) + " tokens");
    for (const int32_t type : text.types)
      if (type < 0 || type >= std::max<int64_t>(1, spec.encoder.token_types))
        return invalid(name + " has the token type " + std::to_string(type) + "; the model knows " +
                       std::to_string(spec.encoder.token_types));
  }
  return {};
}

// A text that was begun and has pages.
struct Running {
  size_t text = 0;
  int64_t done = 0;  // tokens
  PageList pages;
};

class TextRun {
 public:
  TextRun(Model& model, std::span<const TokenText> texts, bool last_only)
      : model_(model), texts_(texts), last_only_(last_only) {}

  Status run(const std::function<Status(size_t, int64_t, std::span<const float>)>& state) {
    const FloatEnv float_env;
    int64_t longest = 0;
    for (const TokenText& text : texts_) longest = std::max(longest, length_of(text));
    KL_TRY(BlockPool pages,
           BlockPool::create(model_.plan().page_bytes, 2 * pages_for(longest) + static_cast<int64_t>(kMostTexts)));
    pages_ = &pages;
    KL_TRY(StatePool states, StatePool::create(model_.state_bytes(), 1));
    states_ = &states;
    while (next_ < texts_.size() || !running_.empty()) {
      KL_RETURN_IF_ERROR(gather());
      const std::span<const float> rows = model_.states(slices_);
      KL_RETURN_IF_ERROR(model_.intact());
      KL_RETURN_IF_ERROR(show(rows, state));
      release_finished();
    }
    return {};
  }

 private:
  int64_t pages_for(int64_t positions) const {
    const int64_t size = model_.options().page_positions;
    return (positions + size - 1) / size;
  }
  const TokenText& text_of(const Running& running) const { return texts_[running.text]; }

  // The slices of a step: what was begun goes on, then texts begin while there is room. An encoder's text is never cut.
  Status gather() {
    slices_.clear();
    int64_t room = model_.max_step_tokens();
    for (Running& running : running_) add_slice(running, room);
    const size_t most = model_.state_bytes() > 0 ? 1 : kMostTexts;
    while (next_ < texts_.size() && room > 0 && running_.size() < most) {
      const int64_t length = length_of(texts_[next_]);
      if (model_.spec().is_encoder() && length > room) break;
      if (pages_->available() < pages_for(length)) break;
      KL_RETURN_IF_ERROR(begin_text());
      add_slice(running_.back(), room);
    }
    return {};
  }

  Status begin_text() {
    Running running;
    running.text = next_;
    KL_RETURN_IF_ERROR(running.pages.grow(*pages_, pages_for(length_of(texts_[next_]))));
    if (states_->state_bytes() > 0) {
      KL_TRY(state_, states_->allocate());
    }
    running_.push_back(std::move(running));
    next_++;
    return {};
  }

  void add_slice(Running& running, int64_t& room) {
    const TokenText& text = text_of(running);
    const int64_t count = std::min(room, length_of(text) - running.done);
    StepSlice slice;
    slice.tokens = std::span(text.tokens).subspan(static_cast<size_t>(running.done), static_cast<size_t>(count));
    if (!text.types.empty()) slice.types = text.types;
    slice.first_position = running.done;
    slice.pages = running.pages.data();
    const bool ends = running.done + count == length_of(text);
    slice.logits = !last_only_ ? LogitRows::kAll : ends ? LogitRows::kLast : LogitRows::kNone;
    if (states_->state_bytes() > 0) slice.state = states_->data(state_);
    slices_.push_back(slice);
    running.done += count;
    room -= count;
  }

  Status show(std::span<const float> rows,
              const std::function<Status(size_t, int64_t, std::span<const float>)>& state) {
    const auto width = static_cast<size_t>(model_.spec().width);
    for (size_t s = 0; s < slices_.size(); s++) {
      const StepSlice& slice = slices_[s];
      if (slice.logits == LogitRows::kNone) continue;
      const size_t count = slice.logits == LogitRows::kAll ? slice.tokens.size() : 1;
      const int64_t first = running_[s].done - static_cast<int64_t>(count);
      for (size_t i = 0; i < count; i++, rows = rows.subspan(width))
        KL_RETURN_IF_ERROR(state(running_[s].text, first + static_cast<int64_t>(i), rows.first(width)));
    }
    return {};
  }

  void release_finished() {
    std::erase_if(running_, [this](Running& running) {
      if (running.done < length_of(text_of(running))) return false;
      running.pages.release(*pages_);
      if (states_->state_bytes() > 0) states_->release(state_);
      return true;
    });
  }

  Model& model_;
  std::span<const TokenText> texts_;
  bool last_only_;
  size_t next_ = 0;  // text to begin
  std::vector<Running> running_;
  std::vector<StepSlice> slices_;  // one for each running text
  BlockPool* pages_ = nullptr;
  StatePool* states_ = nullptr;
  StateId state_{};  // of the one running text of a model with recurrent layers
};

}  // namespace

Result<Pooling> pooling_of(const Checkpoint& checkpoint, const ModelSpec& spec) {
  KL_TRY(const std::optional<Pooling> stated, stated_pooling(checkpoint));
  if (stated) return *stated;
  const std::string what = spec.labels > 0 ? "ranks or classifies texts (`kinglet rerank`)"
                                           : std::string(spec.is_encoder() ? "" : "generates text and ") +
                                                 "does not say how its states become an embedding";
  return Error{ErrorCode::kUnsupported, checkpoint.path + ": the model " + what};
}

Result<int64_t> text_limit(const Checkpoint& checkpoint, const ModelSpec& spec) {
  KL_TRY(const int64_t stated, stated_text_limit(checkpoint));
  return stated > 0 ? std::min(stated, spec.context) : spec.context;
}

Result<std::vector<int32_t>> encode_within(const Tokenizer& tokenizer, std::string_view text, int64_t limit,
                                           bool truncate) {
  KL_TRY(std::vector<int32_t> whole, tokenizer.encode(text));
  const auto count = static_cast<int64_t>(whole.size());
  if (count <= limit) return whole;
  const std::string numbers = std::to_string(count) + " tokens, more than the " + std::to_string(limit) + " allowed";
  if (!truncate) return invalid(numbers);
  KL_TRY(const std::vector<int32_t> bare, tokenizer.encode(text, {.add_special = false}));
  const auto at = std::search(whole.begin(), whole.end(), bare.begin(), bare.end());
  const auto around = static_cast<int64_t>(whole.size() - bare.size());
  if (at == whole.end() || around >= limit) return invalid(numbers + ", and nothing of it can be cut off");
  const auto kept = at + static_cast<std::ptrdiff_t>(limit - around);
  whole.erase(kept, at + static_cast<std::ptrdiff_t>(bare.size()));
  return whole;
}

Status each_state(Model& model, std::span<const TokenText> texts, bool last_only,
                  const std::function<Status(size_t, int64_t, std::span<const float>)>& state) {
  KL_RETURN_IF_ERROR(check_texts(model, texts));
  if (texts.empty()) return {};
  return TextRun(model, texts, last_only).run(state);
}

Status embed_texts(Model& model, std::span<const TokenText> texts, const EmbedOptions& options,
                   const std::function<Status(size_t, std::span<const float>)>& row) {
  if (options.dimensions < 0 || options.dimensions > model.spec().width)
    return invalid(std::to_string(options.dimensions) + " dimensions were asked for; the model's embeddings have " +
                   std::to_string(model.spec().width));
  StatePooler pooler(options, model.spec().width);
  return each_state(model, texts, options.pooling == Pooling::kLast,
                    [&](size_t text, int64_t position, std::span<const float> state) -> Status {
                      pooler.add(state);
                      return position + 1 == length_of(texts[text]) ? row(text, pooler.finish()) : Status();
                    });
}

}  // namespace kinglet
