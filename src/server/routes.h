// What the routes of all dialects share. Internal to this folder.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "server/server_state.h"

namespace kinglet::server {

struct Route {
  const char* method;
  const char* path;
  void (*answer)(Server::State& state, const Visit& visit);
};

std::span<const Route> ollama_routes();

// How errors look in the dialect that a visit's address belongs to.
ErrorFormat error_format_of(const Visit& visit);

void fail(const Visit& visit, int status, ErrorCode code, std::string message);
// Of what went wrong before there was an engine's request.
void fail(const Visit& visit, const Error& error);
void reply(const Visit& visit, std::string json);

// The model that a call names, or null with an answer already given.
std::shared_ptr<const ServedModel> model_for(Server::State& state, const Visit& visit, const std::string& name);

}  // namespace kinglet::server
