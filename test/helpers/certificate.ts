/** A certificate for 127.0.0.1 and the authority that signed it, made by the program openssl. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export interface Certificate {
  /** Files in PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  remove(): void;
}

export interface CertificateOptions {
  /** Default 2; below 0 it has expired. */
  readonly days?: number;
  /** Signed by the authority of this one, which is to outlive it; default: an authority of its own. */
  readonly like?: Certificate;
}

/** @param address what the certificate is for */
export function certificate(address = "IP:127.0.0.1", { days = 2, like }: CertificateOptions = {}): Certificate {
  const folder = mkdtempSync(join(tmpdir(), "tidings-tls-"));
  const file = (name: string): string => join(folder, name);
  const openssl = (line: string): void => void execFileSync("openssl", line.split(" "), { cwd: folder, stdio: "pipe" });
  const fresh = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
  if (like) for (const name of ["ca.key", "ca.pem"]) copyFileSync(join(dirname(like.ca), name), file(name));
  else openssl(`req -x509 ${fresh} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority`);
  openssl(`req ${fresh} -keyout key.pem -out request.pem -subj /CN=engine`);
  writeFileSync(file("names"), `subjectAltName=${address}\n`);
  const signed = `-CA ca.pem -CAkey ca.key -CAcreateserial -days ${days} -extfile names`;
  openssl(`x509 -req -in request.pem -out cert.pem ${signed}`);
  return {
    cert: file("cert.pem"),
    key: file("key.pem"),
    ca: file("ca.pem"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
