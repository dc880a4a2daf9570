// Connects to a Hearth mesh: the API's service config, keepalive, who calls, and what went wrong.
//
// The messages and stubs of the API are in hearth/v1/*.pb.h and hearth/v1/*.grpc.pb.h, namespace hearth::v1.

#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace hearth {

// A channel to an address: host:port, or dns:///name:port to spread calls over all of a name's addresses. Calls are retried
// as the service config says: where that is safe, while the server is away.
std::shared_ptr<grpc::Channel> Connect(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = grpc::InsecureChannelCredentials());

// Who calls. A key is sent as a bearer token; an owner says on whose behalf, where no key does.
struct Caller {
  std::string key;
  std::string owner;
};

// The context of one call: its caller, and the time that it may take. context->TryCancel() ends it, on the server too.
std::unique_ptr<grpc::ClientContext> Context(std::chrono::milliseconds deadline, const Caller& caller = {});

// A field of the request that is at fault, and how.
struct Violation {
  std::string field;
  std::string problem;
};

// A call that failed, its google.rpc details decoded.
struct Failure {
  grpc::StatusCode code;
  std::string message;
  // A name of hearth.v1.ErrorReason without its prefix; empty where no server said it.
  std::string reason;
  std::vector<Violation> violations;
  // When to come back; 0 where the server names no time.
  std::chrono::milliseconds retry_after{0};
  // By which the server's log has the call.
  std::string request_id;
};

// The failure that a status stands for; details that cannot be read are left out.
Failure FailureOf(const grpc::Status& status);

}  // namespace hearth
