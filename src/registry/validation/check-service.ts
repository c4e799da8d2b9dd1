import type { ServiceDescriptorProto } from "@bufbuild/protobuf/wkt";
import { qualify } from "../schema/file-index.ts";
import { checkOptions, type FileContext, ScopeNames } from "./context.ts";
import { checkFullName, checkIdentifier } from "./identifiers.ts";

export function checkService(
  proto: ServiceDescriptorProto,
  scope: string,
  names: ScopeNames,
  context: FileContext,
): void {
  const { report } = context;
  const fullName = qualify(scope, proto.name);
  const element = `service ${fullName}`;
  checkIdentifier(proto.name, element, report);
  checkFullName(fullName, element, report);
  names.declare(proto.name, element);
  checkOptions(proto.options, element, context);
  const methodNames = new ScopeNames(context.reportDuplicate);
  for (const method of proto.method) {
    const methodElement = `method ${qualify(fullName, method.name)}`;
    checkIdentifier(method.name, methodElement, report);
    // Methods are properties of an object by their name, where this one would be the prototype.
    if (method.name === "__proto__") report(methodElement, "cannot have the name __proto__");
    checkOptions(method.options, methodElement, context);
    methodNames.declare(method.name, methodElement);
  }
}
