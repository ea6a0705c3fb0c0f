/** A certificate for 127.0.0.1 and the authority that signed it, made by the program openssl. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate {
  /** Files in PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  remove(): void;
}

/** @param address what the certificate is for */
export function certificate(address = "IP:127.0.0.1"): Certificate {
  const folder = mkdtempSync(join(tmpdir(), "tidings-tls-"));
  const file = (name: string): string => join(folder, name);
  const openssl = (line: string): void => void execFileSync("openssl", line.split(" "), { cwd: folder, stdio: "pipe" });
  const fresh = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
  openssl(`req -x509 ${fresh} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority`);
  openssl(`req ${fresh} -keyout key.pem -out request.pem -subj /CN=engine`);
  writeFileSync(file("names"), `subjectAltName=${address}\n`);
  openssl("x509 -req -in request.pem -out cert.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names");
  return {
    cert: file("cert.pem"),
    key: file("key.pem"),
    ca: file("ca.pem"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
