import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { Edition } from "@bufbuild/protobuf/wkt";
import { quote } from "../names.ts";
import { fileFeatures, supportedEditions, syntaxOf } from "../schema/features.ts";
import { qualify } from "../schema/file-index.ts";
import { checkEnum } from "./check-enum.ts";
import { checkField } from "./check-field.ts";
import { checkMessage } from "./check-message.ts";
import { checkService } from "./check-service.ts";
import { checkOptions, type FileContext, ScopeNames } from "./context.ts";
import { isQualifiedName, symbolCharsMax } from "./identifiers.ts";
import type { Report } from "./problems.ts";

/**
 * Checks everything about a file that can be told without other files. The file must be normalized
 * and within the limits, which bound the recursion.
 */
export function checkFile(
  file: FileDescriptorProto,
  report: Report,
  reportDuplicate: Report,
): void {
  const syntax = syntaxOf(file);
  if (syntax === undefined) {
    report("syntax", `${quote(file.syntax)} is not one of proto2, proto3, editions`);
    return;
  }
  if (syntax === "editions" && !supportedEditions.includes(file.edition)) {
    const known = supportedEditions.map((edition) => Edition[edition]).join(", ");
    report("edition", `${file.edition} is not one of ${known}`);
    return;
  }
  if (file.package !== "" && !isQualifiedName(file.package)) {
    report("package", `${quote(file.package)} is not a name such as shop.v1`);
  }
  if (file.package.length > symbolCharsMax) {
    report("package", `has ${file.package.length} characters, the limit is ${symbolCharsMax}`);
  }
  checkImports(file, report);

  const context: FileContext = { syntax, report, reportDuplicate };
  checkOptions(file.options, "file", context);
  const names = new ScopeNames(reportDuplicate);
  const features = fileFeatures(file);
  for (const proto of file.messageType) {
    checkMessage(proto, file.package, names, features, context);
    if (proto.options?.mapEntry === true) {
      report(`message ${qualify(file.package, proto.name)}`, "is a map entry outside of a message");
    }
  }
  for (const proto of file.enumType) checkEnum(proto, file.package, names, features, context);
  for (const proto of file.extension) {
    const fullName = qualify(file.package, proto.name);
    names.declare(proto.name, `extension ${fullName}`);
    checkField(proto, fullName, features, context);
  }
  for (const proto of file.service) checkService(proto, file.package, names, context);
}

function checkImports(file: FileDescriptorProto, report: Report): void {
  const seen = new Set<string>();
  for (const name of file.dependency) {
    if (seen.has(name)) report(`import ${quote(name)}`, "is there twice");
    if (name === file.name) report(`import ${quote(name)}`, "is the file itself");
    seen.add(name);
  }
  for (const index of [...file.publicDependency, ...file.weakDependency]) {
    if (file.dependency[index] === undefined) {
      report("public or weak import", `there is no import with index ${index}`);
    }
  }
}
