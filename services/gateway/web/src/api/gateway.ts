/** The gateway's own routes, which no .proto describes: readiness and what the page may know before it has a key. */

type Get<Answer, Otherwise = never> = {
  parameters: { query?: never; header?: never; path?: never; cookie?: never };
  get: {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    requestBody?: never;
    responses: {
      200: { headers: Record<string, unknown>; content: { "application/json": Answer } };
      503: { headers: Record<string, unknown>; content: { "application/json": Otherwise } };
    };
  };
};

/** Whether each service serves. */
export interface Readiness {
  ready: boolean;
  serving: Record<string, boolean>;
}

/** What a page needs to know before its first call. */
export interface Session {
  /** The key to use where the gateway listens on this machine alone; null where one must be given. */
  key: string | null;
  version: string;
}

export interface GatewayPaths {
  "/readyz": Get<Readiness, Readiness>;
  "/hearth/v1/session": Get<Session>;
}
