// For browsers: gRPC-Web, which Envoy turns into gRPC (deploy/envoy of Hearth).

import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { type Clients, clientsOver, DEADLINE_MS, interceptors, type Options } from "./clients.js";

/** Clients of the mesh behind an address, `https://` with host and port. */
export function connect(address: string, options: Options = {}): Clients {
  const transport = createGrpcWebTransport({
    baseUrl: address,
    interceptors: interceptors(options),
    defaultTimeoutMs: options.deadlineMs ?? DEADLINE_MS,
  });
  return clientsOver(() => transport);
}
