// Streams a steered chat: chat ADDRESS [FEATURE [STRENGTH [KEY]]]

#include <chrono>
#include <iostream>
#include <string>

#include "hearth/client.h"
#include "hearth/v1/inference_service.grpc.pb.h"

namespace {

int Chat(const std::string& address, unsigned feature, float strength, const std::string& key) {
  hearth::v1::GenerateRequest request;
  auto* question = request.mutable_prompt()->mutable_chat()->add_messages();
  question->set_role(hearth::v1::ROLE_USER);
  question->set_content("What did you do this weekend?");
  auto* edit = request.mutable_steering()->add_edits();
  edit->mutable_feature()->set_index(feature);
  edit->set_nudge(strength);
  request.mutable_sampling()->set_temperature(0);
  request.mutable_sampling()->set_max_tokens(40);

  const auto stub = hearth::v1::InferenceService::NewStub(hearth::Connect(address));
  const auto context = hearth::Context(std::chrono::minutes(2), {key, ""});
  const auto stream = stub->Generate(context.get(), request);
  for (hearth::v1::GenerateResponse event; stream->Read(&event);) {
    std::cout << event.delta().text() << std::flush;
  }
  const auto status = stream->Finish();
  if (status.ok()) return 0;

  const auto failure = hearth::FailureOf(status);
  std::cerr << "code " << failure.code << ": " << failure.message << "\n";
  for (const auto& [field, problem] : failure.violations) std::cerr << "  " << field << ": " << problem << "\n";
  if (failure.retry_after.count() > 0) {
    std::cerr << "  try again in " << failure.retry_after.count() << " ms\n";
  }
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  const auto argument = [&](int number, const char* unless) {
    return std::string(number < count ? arguments[number] : unless);
  };
  return Chat(argument(1, "localhost:50051"), std::stoul(argument(2, "114")), std::stof(argument(3, "0.5")),
              argument(4, ""));
}
