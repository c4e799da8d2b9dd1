import { execFileSync } from "node:child_process";

export interface Certificate {
  /** Both in PEM. */
  readonly cert: string;
  readonly key: string;
}

/** A certificate for `localhost` and `127.0.0.1` that nobody has signed but its own key. */
export function selfSignedCertificate(): Certificate {
  const options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const pem = execFileSync(
    "openssl",
    ["req", "-x509", "-days", "2", ...options, ...names, "-keyout", "-", "-out", "-"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
  );
  const at = pem.indexOf("-----BEGIN CERTIFICATE-----");
  return { key: pem.slice(0, at), cert: pem.slice(at) };
}
