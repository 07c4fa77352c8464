// Names from untrusted files in messages for people.
#pragma once

#include <string>
#include <string_view>

namespace kinglet {

// The text in double quotes; control characters and bytes that are no UTF-8 as \xNN (a terminal must not obey a file),
// cut to about `limit` bytes with "..." where longer.
std::string quote(std::string_view text, size_t limit = 96);

}  // namespace kinglet
