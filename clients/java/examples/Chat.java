import hearth.client.Failure;
import hearth.client.Hearth;
import hearth.v1.InferenceServiceGrpc;
import hearth.v1.InferenceServiceOuterClass.GenerateRequest;
import hearth.v1.InferenceServiceOuterClass.Sampling;
import hearth.v1.PromptOuterClass.ChatMessage;
import hearth.v1.PromptOuterClass.Role;
import hearth.v1.SteeringOuterClass.Edit;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.nio.charset.StandardCharsets;
import java.io.PrintStream;
import java.util.concurrent.TimeUnit;

/** Streams a steered chat: Chat ADDRESS [FEATURE [STRENGTH [KEY]]]. */
public final class Chat {
  public static void main(String[] arguments) {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    GenerateRequest.Builder request = GenerateRequest.newBuilder();
    request
        .getPromptBuilder()
        .getChatBuilder()
        .addMessages(
            ChatMessage.newBuilder().setRole(Role.ROLE_USER).setContent("What did you do this weekend?"));
    Edit.Builder edit = request.getSteeringBuilder().addEditsBuilder();
    edit.getFeatureBuilder().setIndex(Integer.parseInt(argument(arguments, 1, "114")));
    edit.setNudge(Float.parseFloat(argument(arguments, 2, "0.5")));
    request.setSampling(Sampling.newBuilder().setTemperature(0).setMaxTokens(40));

    ManagedChannel channel = Hearth.connect(argument(arguments, 0, "localhost:50051"));
    try {
      InferenceServiceGrpc.newBlockingStub(channel)
          .withInterceptors(Hearth.caller(argument(arguments, 3, ""), ""))
          .withDeadlineAfter(2, TimeUnit.MINUTES)
          .generate(request.build())
          .forEachRemaining(event -> out.print(event.getDelta().getText()));
      out.flush();
    } catch (StatusRuntimeException thrown) {
      Failure failure = Failure.of(thrown);
      System.err.println(failure.code() + ": " + failure.message());
      for (Failure.Violation each : failure.violations()) {
        System.err.println("  " + each.field() + ": " + each.problem());
      }
      failure.retryAfter().ifPresent(delay -> System.err.println("  try again in " + delay));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static String argument(String[] arguments, int number, String unless) {
    return number < arguments.length ? arguments[number] : unless;
  }
}
