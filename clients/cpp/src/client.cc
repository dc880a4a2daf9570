#include "hearth/client.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "service_config.h"

namespace hearth {

std::shared_ptr<grpc::Channel> Connect(const std::string& address,
                                       const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

std::unique_ptr<grpc::ClientContext> Context(std::chrono::milliseconds deadline, const Caller& caller) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + deadline);
  if (!caller.key.empty()) context->AddMetadata("authorization", "Bearer " + caller.key);
  if (!caller.owner.empty()) context->AddMetadata("x-hearth-owner", caller.owner);
  return context;
}

Failure FailureOf(const grpc::Status& status) {
  Failure failure{status.error_code(), status.error_message(), {}, {}, {}, {}};
  google::rpc::Status detailed;
  if (!detailed.ParseFromString(status.error_details())) return failure;
  for (const auto& detail : detailed.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest request;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info) && info.domain() == "hearth") {
      failure.reason = info.reason();
      const auto found = info.metadata().find("request_id");
      if (found != info.metadata().end()) failure.request_id = found->second;
    } else if (detail.UnpackTo(&request)) {
      for (const auto& each : request.field_violations()) {
        failure.violations.push_back({each.field(), each.description()});
      }
    } else if (detail.UnpackTo(&retry)) {
      const auto& delay = retry.retry_delay();
      failure.retry_after = std::chrono::seconds(delay.seconds()) +
                            std::chrono::duration_cast<std::chrono::milliseconds>(
                                std::chrono::nanoseconds(delay.nanos()));
    }
  }
  return failure;
}

}  // namespace hearth
