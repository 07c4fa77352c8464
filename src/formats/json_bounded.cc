#include "formats/json_bounded.h"

namespace kinglet {
namespace {

using Json = nlohmann::json;

// Looks at the text once without keeping anything: its syntax and its depth.
class Inspector : public nlohmann::json_sax<Json> {
 public:
  const std::string& failure() const { return failure_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(size_t) override { return enter(); }
  bool start_array(size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool parse_error(size_t, const std::string&, const Json::exception& error) override {
    failure_ = json_error_text(error);
    return false;
  }

 private:
  bool enter() {
    if (++depth_ <= kMostJsonDepth) return true;
    failure_ = "expected at most " + std::to_string(kMostJsonDepth) + " levels of nesting, found more";
    return false;
  }
  bool leave() {
    --depth_;
    return true;
  }

  size_t depth_ = 0;
  std::string failure_;
};

}  // namespace

std::string json_error_text(const Json::exception& error) {
  const std::string_view text = error.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
  const size_t end = text.find("] ");
  return std::string(end == std::string_view::npos ? text : text.substr(end + 2));
}

Result<Json> parse_json(std::string_view text, const std::string& source) {
  Inspector inspector;
  if (!Json::sax_parse(text, &inspector)) {
    return Error{ErrorCode::kInvalid, source + ": expected JSON: " + inspector.failure()};
  }
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace kinglet
