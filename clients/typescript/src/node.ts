// For programs in Node: gRPC over HTTP/2.

import { createGrpcTransport } from "@connectrpc/connect-node";

import { type Clients, clientsOver, DEADLINE_MS, interceptors, type Options, type Process } from "./clients.js";

/** Where each process is called: `http://` or `https://`, host and port. */
export type Mesh = Record<Process, string>;

const LOCAL: Mesh = {
  inference: "http://localhost:50051",
  features: "http://localhost:50052",
  autosteer: "http://localhost:50053",
};

/** Clients of a mesh: of one address that answers for all services (such as Envoy's), or of each process's own. */
export function connect(mesh: string | Partial<Mesh> = {}, options: Options = {}): Clients {
  const around = interceptors(options);
  return clientsOver((process) =>
    createGrpcTransport({
      baseUrl: typeof mesh === "string" ? mesh : (mesh[process] ?? LOCAL[process]),
      interceptors: around,
      defaultTimeoutMs: options.deadlineMs ?? DEADLINE_MS,
      pingIntervalMs: 60_000,
    }),
  );
}
