/**
 * Starts nginx with the nchan module, one worker, memory store. The writer inserts and then posts to the user's channel;
 * many recipients are one post for 255 channels each, nchan's most. Twenty messages of a channel are kept.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { eventually } from "../helpers/eventually.ts";
import { freePorts, isListening, NGINX } from "../helpers/nginx.ts";
import type { Contender, Database, Workshop } from "./contender.ts";
import { probeFromOutside } from "./processes.ts";
import { stopProcess } from "./tidings.ts";

const MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/** What to install; undefined where all is there. */
export function nchanMissing(): string | undefined {
  return NGINX && existsSync(MODULE) ? undefined : "apt install nginx-light libnginx-mod-nchan";
}

export async function startNchan(shop: Workshop, database: Database): Promise<Contender> {
  const [port] = await freePorts(1);
  const child = await startNginx(shop, port!);
  const url = `http://127.0.0.1:${port}`;
  const where = { url: database.url, publish: { via: "nchan", url } } as const;
  return {
    name: "nchan",
    rival: true,
    kind: "bare",
    url,
    database,
    probe: probeFromOutside([child.pid!]),
    /** At /sub what comes from now on, at /replay what is kept first. */
    targets: async (users, path = "/sub") =>
      users.map((user) => ({ user, url: `${path.includes("sse") ? url : url.replace("http", "ws")}${path}/${user}` })),
    write: (rows) => shop.writing().call("write", { ...rows, ...where, table: "source" }),
    burst: (rows) => shop.writing().call("burst", { ...rows, ...where }),
    broadcast: (order) => shop.writing().call("broadcast", { ...order, ...where }),
    shout: (n) => shop.writing().call("shout", { n, ...where }),
  };
}

async function startNginx(shop: Workshop, port: number): Promise<ChildProcess> {
  const prefix = await mkdtemp(join(tmpdir(), "tidings-nchan-"));
  shop.undo(() => rm(prefix, { recursive: true, force: true }));
  const file = join(prefix, "nginx.conf");
  await writeFile(file, configuration(prefix, port));
  const child = spawn(NGINX!, ["-p", prefix, "-c", file, "-e", "stderr"], { stdio: ["ignore", "ignore", "pipe"] });
  shop.undo(() => stopProcess(child));
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-1_000);
  });
  const ended = new Promise<never>((_, reject) => {
    child.once("exit", () => reject(new Error(`nginx ended: ${said}`)));
  });
  await Promise.race([eventually(() => isListening(port)), ended]);
  ended.catch(() => {});
  return child;
}

function configuration(prefix: string, port: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`);
  const user = process.getuid?.() === 0 ? `user ${userInfo().username};` : "";
  const subscriber = "nchan_subscriber websocket eventsource; nchan_channel_id $1;";
  return `load_module ${MODULE}; ${user}
    daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid ${join(prefix, "nginx.pid")}; error_log stderr crit;
    events { worker_connections 20000; }
    http {
      access_log off; keepalive_requests 100000000; nchan_shared_memory_size 512M; ${temporary.join(" ")}
      server {
        listen 127.0.0.1:${port} backlog=8192;
        location ~ "^/(?:sub|sse)/(\\d+)$" { ${subscriber} nchan_subscriber_first_message newest; }
        location ~ "^/replay/(\\d+)$" { ${subscriber} nchan_subscriber_first_message oldest; }
        location ~ "^/pub/([\\d,]+)$" { nchan_publisher; nchan_channel_id $1; nchan_channel_id_split_delimiter ",";
          nchan_max_channel_id_length 4096; nchan_message_buffer_length 20; nchan_message_timeout 10m; }
      }
    }\n`;
}
