#include "server/openai_tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.h"

namespace kinglet::server {
namespace {

constexpr size_t kMostTools = 1024;
constexpr size_t kMostNameBytes = 256;  // as ToolCallParser

bool is_known(const ToolUse& use, const std::string& name) {
  return std::ranges::any_of(use.tools, [&](const Tool& tool) { return tool.name == name; });
}

// {"type": "function", "function": {"name", "parameters", "strict"}}
void read_tool(Fields& outer, const std::string& path, const Json& given, ToolUse* use) {
  if (!given.is_object()) return outer.fail(path, "expected an object with type and function");
  Fields fields(given, path + ".");
  const std::string type = fields.text("type").value_or("function");
  if (type != "function") fields.fail("type", fmt::format("found {}, expected \"function\"", quote(type, 64)));
  const Json none = Json::object();
  const Json* function = fields.object("function");
  if (!function) fields.fail("function", "it is missing; expected an object with a name");
  Fields inner(function ? *function : none, path + ".function.");
  Tool tool;
  tool.name = inner.text("name").value_or("");
  if (tool.name.empty() || tool.name.size() > kMostNameBytes) {
    inner.fail("name", fmt::format("expected a name of 1 to {} bytes", kMostNameBytes));
  } else if (is_known(*use, tool.name)) {
    inner.fail("name", fmt::format("{} is the name of an earlier tool, too", quote(tool.name, 64)));
  }
  if (const Json* parameters = inner.object("parameters")) tool.parameters = to_text(*parameters);
  if (inner.boolean("strict").value_or(false)) use->strict = true;
  for (const Fields* one : {&fields, &inner}) {
    // The message says the path itself.
    if (one->error())
      return outer.fail(one->failed_field(), one->error()->message.substr(one->failed_field().size() + 2));
  }
  use->tools.push_back(std::move(tool));
}

void read_choice(Fields& fields, ChatCall* call) {
  constexpr const char* kExpected =
      R"(expected "none", "auto", "required" or {"type": "function", "function": {"name": NAME}})";
  const Json* choice = fields.find("tool_choice");
  if (!choice || *choice == "auto") return;
  ToolUse& use = call->tool_use;
  if (*choice == "none") {
    use = {};
    call->tools_json.clear();
    return;
  }
  if (*choice != "required") {
    const auto function = choice->is_object() ? choice->find("function") : choice->end();
    if (!choice->is_object() || function == choice->end() || !function->is_object() || !function->contains("name") ||
        !(*function)["name"].is_string()) {
      return fields.fail("tool_choice", kExpected);
    }
    use.only = (*function)["name"].get<std::string>();
    if (!is_known(use, use.only)) {
      return fields.fail("tool_choice", fmt::format("there is no {} among the tools", quote(use.only, 64)));
    }
  }
  if (use.tools.empty()) return fields.fail("tool_choice", "a call is required, but there are no tools");
  use.required = true;
}

}  // namespace

void read_openai_tools(Fields& fields, ChatCall* call) {
  const Json* tools = fields.array("tools");
  if (tools && tools->size() > kMostTools) {
    return fields.fail("tools", fmt::format("found {} of them, expected at most {}", tools->size(), kMostTools));
  }
  for (size_t i = 0; tools && i < tools->size() && !fields.error(); ++i) {
    read_tool(fields, fmt::format("tools[{}]", i), (*tools)[i], &call->tool_use);
  }
  if (tools && !tools->empty()) call->tools_json = to_text(*tools);
  call->tool_use.parallel = fields.boolean("parallel_tool_calls").value_or(true);
  read_choice(fields, call);
}

}  // namespace kinglet::server
