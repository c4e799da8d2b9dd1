import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Call, Interceptor } from "../call.ts";
import { toConnectError } from "../status.ts";

const getter = {
  get: (call: Call, name: string): string | undefined => call.requestMetadata.get(name),
  keys: (call: Call): string[] => Array.from(call.requestMetadata.entries(), ([name]) => name),
};

/**
 * One span per call, by OpenTelemetry's RPC conventions, child of the caller's if it sent
 * `traceparent`. For a streaming answer the span covers the call until the stream is handed over.
 */
export function traceCalls(): Interceptor {
  const tracer = trace.getTracer("collector");
  return (next) => (input, call) => {
    const parent = propagation.extract(context.active(), call, getter);
    const attributes = {
      "rpc.system": call.protocol === "connect" ? "connect_rpc" : "grpc",
      "rpc.service": call.serviceName,
      "rpc.method": call.methodName,
    };
    const name = `${call.serviceName}/${call.methodName}`;
    return tracer.startActiveSpan(
      name,
      { kind: SpanKind.SERVER, attributes },
      parent,
      async (span) => {
        try {
          return await next(input, call);
        } catch (error) {
          const { code, rawMessage } = toConnectError(error);
          span.setAttribute("rpc.grpc.status_code", code);
          span.setStatus({ code: SpanStatusCode.ERROR, message: rawMessage });
          throw error;
        } finally {
          span.setAttribute("collector.namespace", call.namespace);
          span.end();
        }
      },
    );
  };
}
