import type { Call, Interceptor, Payload } from "../call.ts";

/** Who makes a call. */
export interface Principal {
  readonly id: string;
}

/**
 * Who may do what. The server runs without one until access control exists; the chain already has
 * its two places.
 */
export interface AccessControl {
  /** Finds out who calls, before the request is looked at. @throws {CollectorError} UNAUTHENTICATED */
  authenticate(call: Call): Principal | Promise<Principal>;
  /**
   * Decides on the resolved method, namespace and request.
   * @throws {CollectorError} PERMISSION_DENIED
   */
  authorize(principal: Principal, call: Call, input: Payload): void | Promise<void>;
}

const principals = new WeakMap<Call, Principal>();

/** The caller of `call`, once `authenticate` has passed. */
export function principalOf(call: Call): Principal | undefined {
  return principals.get(call);
}

export function authenticate(access: AccessControl): Interceptor {
  return (next) => async (input, call) => {
    principals.set(call, await access.authenticate(call));
    return next(input, call);
  };
}

export function authorize(access: AccessControl): Interceptor {
  return (next) => async (input, call) => {
    const principal = principals.get(call);
    if (principal === undefined) throw new Error("authorize runs after authenticate");
    await access.authorize(principal, call, input);
    return next(input, call);
  };
}
