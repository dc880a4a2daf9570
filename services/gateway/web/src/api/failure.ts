/** What can go wrong in a call, in one shape. */

/** The gateway's error body for its own routes. */
interface ErrorBody {
  error?: {
    code?: number;
    status?: string;
    reason?: string;
    message?: string;
    field_violations?: { field?: string; description?: string }[];
    retry_after_seconds?: number;
  };
}

export class Failure extends Error {
  constructor(
    message: string,
    /** HTTP status; 0 where the gateway did not answer. */
    readonly status: number,
    /** A name of ErrorReason, or empty. */
    readonly reason = "",
    /** Seconds after which to try again; 0 where nothing was said. */
    readonly retryAfter = 0,
    /** The field that is wrong, if one is. */
    readonly field = "",
  ) {
    super(message);
  }

  /** Whether something is out of order that comes back by itself. */
  get passing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** The failure that an error body describes. */
export function failureOf(body: unknown, status: number, retryAfter: string | null = null): Failure {
  const error = (body as ErrorBody | undefined)?.error ?? {};
  const violation = error.field_violations?.[0];
  const wait = error.retry_after_seconds ?? Number(retryAfter ?? 0);
  const text = violation?.description || error.message || `The server answered with status ${status}.`;
  return new Failure(
    text,
    error.code ?? status,
    error.reason,
    Number.isFinite(wait) ? wait : 0,
    violation?.field,
  );
}

export const unreachable = () => new Failure("The server does not answer.", 0, "UNREACHABLE");

export const isAbort = (error: unknown) => error instanceof DOMException && error.name === "AbortError";

/** One or two sentences for people. */
export function explain(error: unknown): string {
  if (!(error instanceof Failure)) return `Something went wrong in the page: ${String(error)}`;
  if (error.status === 0) return "The server does not answer. The page tries again by itself.";
  if (error.status === 401) return "This key is not valid. Enter another one with the key button.";
  if (error.status === 429) {
    const wait = error.retryAfter
      ? ` Try again in ${Math.ceil(error.retryAfter)} s.`
      : " Try again in a moment.";
    return (
      (error.reason === "QUEUE_FULL" ? "Too many requests are waiting." : "This key's quota is used up.") +
      wait
    );
  }
  if (error.passing) return "A part of the platform is starting or does not answer. It comes back by itself.";
  return error.field ? `${sentence(error.message)} (${error.field})` : sentence(error.message);
}

function sentence(text: string): string {
  const trimmed = text.trim();
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?)]$/.test(begun) ? begun : `${begun}.`;
}
