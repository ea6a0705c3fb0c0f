/**
 * `node .ci/setup.mjs build`, called by prestart and pretest: installs the packages when node_modules does not hold
 * what package-lock.json asks for, then builds dist/ when it was not built from these sources. Both are judged by
 * content, not by dates, so a fresh clone, a branch switch and a killed install come out right. Silent when there is
 * nothing to do; two at once wait for each other. Plain Node and no packages: it runs before there are any.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const dist = path.join(root, "dist");
const fingerprintFile = path.join(dist, ".built-from");
const inRoot = (...parts) => path.join(root, ...parts);
const say = (text) => console.error(`tidings: ${text}`);
const readJson = (file) => {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return null;
  }
};

function fail(text) {
  say(text);
  process.exit(1);
}

/** Every file below a folder, relative to it, in a fixed order. */
function filesBelow(folder) {
  const names = fs.readdirSync(folder, { recursive: true }).map(String);
  return names.filter((name) => fs.statSync(path.join(folder, name)).isFile()).sort();
}

function fingerprint() {
  const hash = createHash("sha256");
  const inputs = filesBelow(inRoot("src")).map((name) => path.join("src", name));
  for (const name of [...inputs, "tsconfig.json", "package.json", path.join(".ci", "setup.mjs")]) {
    hash
      .update(`${name}\0`)
      .update(fs.readFileSync(inRoot(name)))
      .update("\0");
  }
  return hash.digest("hex");
}

function builtFromThis() {
  try {
    return fs.readFileSync(fingerprintFile, "utf8") === fingerprint();
  } catch {
    return false;
  }
}

/**
 * npm writes node_modules/.package-lock.json last, with what it has installed. A server started from a finished build
 * (an image made with --omit=dev) does not need the tools.
 */
function installed() {
  const wanted = readJson(inRoot("package-lock.json"))?.packages;
  const present = readJson(inRoot("node_modules", ".package-lock.json"))?.packages;
  if (!wanted) return fs.existsSync(inRoot("node_modules"));
  if (!present) return false;
  const toolsToo = process.env.npm_lifecycle_event !== "prestart" || !builtFromThis();
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === "" || entry.link) return true;
    const has = present[name];
    if (!has) return Boolean(entry.optional || entry.devOptional || (entry.dev && !toolsToo));
    return has.version === entry.version && has.integrity === entry.integrity;
  });
}

function install() {
  say("installing packages (npm ci)");
  const args = ["ci", "--no-audit", "--no-fund", "--no-update-notifier"];
  const cli = process.env.npm_execpath ?? "";
  // npm's own script where npm called us: the npm on PATH may belong to another Node.
  const viaCli = /npm-cli\.c?js$/.test(cli);
  const env = { ...process.env, NODE_ENV: "development" };
  const options = { cwd: root, env, stdio: ["ignore", 2, 2], shell: !viaCli && process.platform === "win32" };
  const done = viaCli ? spawnSync(process.execPath, [cli, ...args], options) : spawnSync("npm", args, options);
  if (done.status !== 0) fail("the packages could not be installed; the reason stands above");
}

/** What browsers are served, each in one file: the bell, and the script and style of the demo page. */
const BUNDLES = {
  "bell.js": "src/client/bell/index.ts",
  "demo.js": "src/demo/main.ts",
  "demo.css": "src/demo/page.css",
};

function bundle() {
  const { buildSync } = createRequire(import.meta.url)("esbuild");
  for (const [name, source] of Object.entries(BUNDLES)) {
    const options = { bundle: true, minify: true, format: "esm", target: "es2022", logLevel: "warning" };
    buildSync({ ...options, absWorkingDir: root, entryPoints: [source], outfile: path.join(dist, name) });
  }
}

/** The compiler writes beside what is there; what no source stands behind any more is taken away afterwards. */
function build() {
  say("building dist/");
  const print = fingerprint();
  const tsc = inRoot("node_modules", "typescript", "bin", "tsc");
  const args = [tsc, "-p", "tsconfig.json", "--noEmit", "false", "--noEmitOnError", "true", "--outDir", "dist"];
  const done = spawnSync(process.execPath, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (done.status !== 0) fail("the sources do not compile; dist/ was left as it was");
  try {
    bundle();
  } catch (error) {
    fail(`the browser's files could not be bundled: ${error.message}`);
  }
  const expected = new Set([path.basename(fingerprintFile), ...Object.keys(BUNDLES)]);
  for (const name of filesBelow(inRoot("src"))) {
    const source = name.match(/^(.*)\.tsx?$/);
    if (source) for (const ending of [".js", ".d.ts"]) expected.add(source[1] + ending);
    else {
      expected.add(name);
      fs.mkdirSync(path.dirname(path.join(dist, name)), { recursive: true });
      fs.copyFileSync(inRoot("src", name), path.join(dist, name));
    }
  }
  for (const name of filesBelow(dist)) if (!expected.has(name)) fs.rmSync(path.join(dist, name));
  fs.writeFileSync(fingerprintFile, print);
}

const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Stale: its owner is gone, or died before it could write who it is. */
function stale(lock) {
  const owner = Number(readJson(path.join(lock, "owner.json"))?.pid ?? 0);
  if (owner) return !alive(owner);
  try {
    return Date.now() - fs.statSync(lock).mtimeMs > 5_000;
  } catch {
    return false;
  }
}

/** Moved away before it is judged again: of two that find it stale, the slower must not remove the faster one's new lock. */
function bury(lock) {
  const grave = `${lock}-${process.pid}`;
  try {
    fs.renameSync(lock, grave);
    if (stale(grave)) fs.rmSync(grave, { recursive: true, force: true });
    else fs.renameSync(grave, lock);
  } catch (error) {
    if (error.code !== "ENOENT") fail(`cannot take over the lock ${lock}: ${error.message}`);
  }
}

/** Runs `work` while no other setup of this checkout does. The lock lies outside node_modules, which npm ci removes. */
function locked(work) {
  const key = createHash("sha256")
    .update(`${root}\0${process.getuid?.() ?? ""}`)
    .digest("hex")
    .slice(0, 16);
  const lock = path.join(os.tmpdir(), `tidings-setup-${key}`);
  const started = Date.now();
  for (let said = false; ; sleep(100)) {
    try {
      fs.mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== "EEXIST") fail(`cannot make the lock ${lock}: ${error.message}`);
    }
    if (stale(lock)) bury(lock);
    else if (!said && Date.now() - started > 1_000) {
      say("waiting for another setup of this checkout");
      said = true;
    }
    if (Date.now() - started > 600_000)
      fail(`another setup did not finish in 10 minutes; remove ${lock} and try again`);
  }
  process.on("exit", () => fs.rmSync(lock, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));
  fs.writeFileSync(path.join(lock, "owner.json"), JSON.stringify({ pid: process.pid }));
  work();
}

if (Number(process.versions.node.split(".")[0]) < 20) {
  fail(`Node 20 or newer is needed, this is ${process.version}`);
}
if (process.argv[2] !== "build") fail("usage: node .ci/setup.mjs build");
if (!installed() || !builtFromThis()) {
  locked(() => {
    if (!installed()) install();
    if (!builtFromThis()) build();
  });
}
