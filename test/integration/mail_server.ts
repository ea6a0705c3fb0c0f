/** A real SMTP server on loopback that keeps what it is sent, and can refuse it or hang up; and mails taken apart. */
import type { AddressInfo } from "node:net";
import { SMTPServer, type SMTPServerSession } from "smtp-server";

export interface Mail {
  readonly from: string;
  readonly to: string[];
  readonly raw: string;
  /** By lower-case name, unfolded. */
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
  readonly html: string;
}

/** What the server does at a step: a number is an SMTP code it refuses with. */
type Verdict = number | "drop" | "accept" | undefined;

export interface MailServer {
  readonly url: string;
  readonly mails: Mail[];
  /** How many times a connection was made. */
  readonly connections: number;
  /** Decides on each recipient, and on each whole message; may take its time. */
  onRecipient: (address: string) => Verdict | Promise<Verdict>;
  onMessage: (mail: Mail) => Verdict | Promise<Verdict>;
  /** Back to accepting everything, with nothing kept. */
  reset(): void;
  close(): Promise<void>;
}

function refusal(code: number): Error {
  return Object.assign(new Error("refused by the test"), { responseCode: code });
}

export async function mailServer(options: { port?: number } = {}): Promise<MailServer> {
  const mails: Mail[] = [];
  let connections = 0;
  const sockets = new Map<string, { destroy(): void }>();
  const drop = (session: SMTPServerSession): void => sockets.get(session.id)?.destroy();
  const decide = async (
    verdict: Verdict | Promise<Verdict>,
    session: SMTPServerSession,
    done: (error?: Error) => void,
  ): Promise<void> => {
    const decided = await verdict;
    if (decided === "drop") drop(session);
    else done(typeof decided === "number" ? refusal(decided) : undefined);
  };
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS", "AUTH"],
    logger: false,
    closeTimeout: 100,
    onConnect(session, done) {
      connections++;
      for (const one of server.connections) {
        const { id, _socket } = one as unknown as { id: string; _socket: { destroy(): void } };
        if (id === session.id) sockets.set(session.id, _socket);
      }
      done();
    },
    onRcptTo({ address }, session, done) {
      void decide(self.onRecipient(address), session, done);
    },
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        const { mailFrom, rcptTo } = session.envelope;
        const to = rcptTo.map(({ address }) => address);
        const mail = parse(Buffer.concat(chunks).toString(), mailFrom ? mailFrom.address : "", to);
        const verdict = self.onMessage(mail);
        void decide(verdict, session, (error) => {
          if (!error) mails.push(mail);
          done(error);
        });
      });
    },
  });
  server.on("error", () => {});
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));
  const { port } = server.server.address() as AddressInfo;
  const self: MailServer = {
    url: `smtp://127.0.0.1:${port}`,
    mails,
    get connections() {
      return connections;
    },
    onRecipient: () => "accept",
    onMessage: () => "accept",
    reset() {
      mails.length = 0;
      self.onRecipient = () => "accept";
      self.onMessage = () => "accept";
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  return self;
}

function parse(raw: string, from: string, to: string[]): Mail {
  const { headers, body } = split(raw);
  const boundary = /boundary="([^"]+)"/.exec(headers.get("content-type") ?? "")?.[1];
  const parts = body.split(`--${boundary}`).map((part) => split(part.replace(/^\r\n/, "")));
  const partOf = (type: string): string => {
    const part = parts.find((each) => each.headers.get("content-type")?.startsWith(type));
    return part ? decode(part.body, part.headers.get("content-transfer-encoding")) : "";
  };
  return { from, to, raw, headers, text: partOf("text/plain"), html: partOf("text/html") };
}

function split(text: string): { headers: Map<string, string>; body: string } {
  const end = text.indexOf("\r\n\r\n");
  const lines = text
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, " ")
    .split("\r\n");
  const headers = lines.map((line) => [
    line.slice(0, line.indexOf(":")).toLowerCase(),
    line.slice(line.indexOf(":") + 2),
  ]);
  return { headers: new Map(headers as [string, string][]), body: text.slice(end + 4) };
}

function decode(body: string, encoding = "7bit"): string {
  if (encoding === "base64") return Buffer.from(body, "base64").toString();
  if (encoding !== "quoted-printable") return body;
  const bytes = body
    .replace(/=\r\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
