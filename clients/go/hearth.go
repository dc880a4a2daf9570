// Package hearth connects to a Hearth mesh: the API's service config, keepalive, and who calls.
//
// The messages and clients of the API are in package hearthv1, beside it.
package hearth

import (
	"context"
	_ "embed" // the service config
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// The deadline of each method, retries where they are safe, and round robin over servers.
//
//go:embed hearthv1/service_config.json
var serviceConfig string

// Options say how calls are made. The zero value calls without TLS and without a key.
type Options struct {
	// Key is sent as a bearer token.
	Key string
	// Owner is on whose behalf calls are made, where no key says so.
	Owner string
	// TLS is how the connection is secured; nil means that it is not.
	TLS credentials.TransportCredentials
}

// Dial connects to an address: host:port, or dns:///name:port to spread calls over all of a name's addresses.
//
// A call that sets no deadline gets that of its method. gRPC for Go before 1.40 retries only where the environment
// has GRPC_GO_RETRY=on.
func Dial(ctx context.Context, address string, options Options) (*grpc.ClientConn, error) {
	secured := grpc.WithInsecure()
	if options.TLS != nil {
		secured = grpc.WithTransportCredentials(options.TLS)
	}
	return grpc.DialContext(ctx, address,
		secured,
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.WithUnaryInterceptor(options.unary),
		grpc.WithStreamInterceptor(options.stream),
	)
}

func (o Options) unary(ctx context.Context, method string, request, answer interface{}, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, calls ...grpc.CallOption) error {
	return invoke(o.identified(ctx), method, request, answer, connection, calls...)
}

func (o Options) stream(ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, calls ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(o.identified(ctx), description, connection, method, calls...)
}

func (o Options) identified(ctx context.Context) context.Context {
	if o.Key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+o.Key)
	}
	if o.Owner != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-hearth-owner", o.Owner)
	}
	return ctx
}
