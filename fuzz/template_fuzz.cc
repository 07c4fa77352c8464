// Any bytes as a chat template: compiling and rendering give text or an error, within bounds.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view source(reinterpret_cast<const char*>(data), size);
  auto compiled = kinglet::ChatTemplate::from_source(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  if (!compiled.ok()) {
    KL_CHECK(!compiled.error().message.empty(), "an error without a message");
    return 0;
  }
  kinglet::RenderRequest request;
  request.messages_json =
      R"([{"role":"system","content":"S"},{"role":"user","content":"Hi <b>"},{"role":"assistant","content":null,
          "tool_calls":[{"id":"123456789","function":{"name":"f","arguments":{"a":[1,2.5,null,true,"x"]}}}]},
         {"role":"tool","content":"{}"}])";
  request.tools_json = R"([{"type":"function","function":{"name":"f","parameters":{"properties":{}}}}])";
  request.now = 1'700'000'000;
  auto rendered = (*compiled)->render(request);
  KL_CHECK(rendered.ok() || rendered.error().code != kinglet::ErrorCode::kUnsupported, "a panic in textlib");
  return 0;
}
