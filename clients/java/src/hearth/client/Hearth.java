package hearth.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.util.concurrent.TimeUnit;

/**
 * Connects to a Hearth mesh: the API's service config (deadlines, safe retries, round robin), keepalive, and who calls.
 *
 * <p>The messages of the API are in package {@code hearth.v1}, its stubs in {@code hearth.v1.*Grpc}.
 */
public final class Hearth {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> OWNER =
      Metadata.Key.of("x-hearth-owner", Metadata.ASCII_STRING_MARSHALLER);

  private Hearth() {}

  /**
   * A channel without TLS to an address: {@code host:port}, or {@code dns:///name:port} to spread calls over all of a name's
   * addresses. Shut it down after use.
   */
  public static ManagedChannel connect(String address) {
    return configured(ManagedChannelBuilder.forTarget(address).usePlaintext()).build();
  }

  /** The API's settings for a channel that is made in another way, such as with TLS. */
  public static ManagedChannelBuilder<?> configured(ManagedChannelBuilder<?> builder) {
    return builder
        .defaultServiceConfig(ServiceConfig.CONFIG)
        .enableRetry()
        .keepAliveTime(60, TimeUnit.SECONDS)
        .keepAliveTimeout(20, TimeUnit.SECONDS);
  }

  /**
   * Sends a key as a bearer token, and an owner on whose behalf calls are made where no key says so; empty ones are left out.
   * Use it as {@code stub.withInterceptors(Hearth.caller(key, ""))}.
   */
  public static ClientInterceptor caller(String key, String owner) {
    return new ClientInterceptor() {
      @Override
      public <Q, R> ClientCall<Q, R> interceptCall(
          MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        return new SimpleForwardingClientCall<Q, R>(next.newCall(method, options)) {
          @Override
          public void start(Listener<R> listener, Metadata headers) {
            if (!key.isEmpty()) {
              headers.put(AUTHORIZATION, "Bearer " + key);
            }
            if (!owner.isEmpty()) {
              headers.put(OWNER, owner);
            }
            super.start(listener, headers);
          }
        };
      }
    };
  }
}
