// Browser guard: a server without keys trusts everyone who reaches it, and any page in a browser on the machine does.
// So requests of other sites' pages are refused: those that say where they come from (Origin), and those of a page that
// made its own name point here (DNS rebinding: Host). Programs send no Origin.
#pragma once

#include <optional>
#include <string>

#include "server/http.h"

namespace kinglet::server {

// Whether a host, as in Host ("localhost:8080", "[::1]") or as an address ("::1"), means the machine itself.
bool names_this_machine(std::string_view host);

// Why the request is refused; nothing where it is welcome. `local`: the server listens for its own machine only.
std::optional<std::string> refuse_page(const HttpRequest& request, bool local);

}  // namespace kinglet::server
