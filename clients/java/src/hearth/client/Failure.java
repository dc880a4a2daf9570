package hearth.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A call that failed, its google.rpc details decoded.
 *
 * @param reason a name of {@code hearth.v1.ErrorReason} without its prefix; empty where no server said it
 * @param retryAfter when to come back; empty where the server names no time
 * @param requestId by which the server's log has the call
 */
public record Failure(
    Status.Code code,
    String message,
    String reason,
    List<Violation> violations,
    Optional<Duration> retryAfter,
    String requestId) {

  /** A field of the request that is at fault, and how. */
  public record Violation(String field, String problem) {}

  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  /** The failure that an exception of a call stands for; details that cannot be read are left out. */
  public static Failure of(Throwable thrown) {
    Status status = Status.fromThrowable(thrown);
    List<Any> details = details(Status.trailersFromThrowable(thrown));
    Optional<ErrorInfo> info =
        find(details, ErrorInfo.class).filter(each -> each.getDomain().equals("hearth"));
    List<Violation> violations = new ArrayList<>();
    find(details, BadRequest.class)
        .ifPresent(
            request ->
                request
                    .getFieldViolationsList()
                    .forEach(each -> violations.add(new Violation(each.getField(), each.getDescription()))));
    return new Failure(
        status.getCode(),
        Optional.ofNullable(status.getDescription()).orElse(""),
        info.map(ErrorInfo::getReason).orElse(""),
        List.copyOf(violations),
        find(details, RetryInfo.class)
            .map(RetryInfo::getRetryDelay)
            .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos())),
        info.map(each -> each.getMetadataOrDefault("request_id", "")).orElse(""));
  }

  private static List<Any> details(Metadata trailers) {
    byte[] packed = trailers == null ? null : trailers.get(DETAILS);
    try {
      return packed == null ? List.of() : com.google.rpc.Status.parseFrom(packed).getDetailsList();
    } catch (InvalidProtocolBufferException unreadable) {
      return List.of();
    }
  }

  private static <M extends Message> Optional<M> find(List<Any> details, Class<M> type) {
    for (Any detail : details) {
      try {
        if (detail.is(type)) {
          return Optional.of(detail.unpack(type));
        }
      } catch (InvalidProtocolBufferException unreadable) {
        return Optional.empty();
      }
    }
    return Optional.empty();
  }
}
