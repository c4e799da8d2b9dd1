/** What `collector` exports; see `src/client/index.ts` for why it is written in this way. */
import { type Config, defaultConfig } from "./config.ts";
import {
  CollectorError,
  type CollectorErrorOptions,
  type ErrorReason,
  type FieldViolation,
} from "./errors.ts";
import { defaultLimits, type Limits } from "./lib/limits.ts";
import type {
  Call,
  MethodHandler,
  Payload,
  RequestMetadata,
  ResponseMetadata,
  ServiceHandlers,
} from "./rpc/call.ts";
import { PortTakenError } from "./rpc/http/port.ts";
import type { AccessControl, Principal } from "./rpc/interceptors/access.ts";
import type { LocalCaller, LocalCallOptions } from "./rpc/local/local-caller.ts";
import type { Serve, ServedService, ServeOptions } from "./rpc/runtime/serve-handlers.ts";
import { type Collector, type CollectorOptions, createCollector } from "./server.ts";
import { DataFolderLockedError } from "./storage/sqlite/data-folder.ts";

export {
  type AccessControl,
  type Call,
  type Collector,
  CollectorError,
  type CollectorErrorOptions,
  type CollectorOptions,
  type Config,
  createCollector,
  DataFolderLockedError,
  defaultConfig,
  defaultLimits,
  type ErrorReason,
  type FieldViolation,
  type Limits,
  type LocalCaller,
  type LocalCallOptions,
  type MethodHandler,
  type Payload,
  PortTakenError,
  type Principal,
  type RequestMetadata,
  type ResponseMetadata,
  type Serve,
  type ServedService,
  type ServeOptions,
  type ServiceHandlers,
};
