/** The page at /docs: reads /openapi.json and lists it. Plain HTML and script in one text, nothing from elsewhere. */

export const DOCS_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidings API</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 15%, transparent); --soft: color-mix(in srgb, currentColor 6%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 6rem; }
h1 { margin-bottom: .2rem } h2 { margin-top: 2.5rem; text-transform: capitalize }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; }
summary { padding: .6rem .8rem; cursor: pointer; display: flex; gap: .8rem; align-items: baseline; flex-wrap: wrap }
summary code { font-weight: 600 } details > div { padding: 0 .8rem .8rem }
.verb { font: 700 12px/1.6 ui-monospace, monospace; min-width: 4.5em; text-align: center; border-radius: 4px; background: var(--soft); padding: 0 .4em }
pre { background: var(--soft); padding: .8rem; border-radius: 6px; overflow: auto; font-size: 13px }
</style>
</head>
<body>
<h1>Tidings API</h1>
<p id="about"></p>
<main id="main">Loading…</main>
<script type="module">
const el = (name, text, ...children) => { const node = document.createElement(name); if (text) node.textContent = text; node.append(...children); return node; };
const block = (title, value) => value === undefined ? "" : el("div", "", el("strong", title), el("pre", JSON.stringify(value, null, 2)));
const api = await (await fetch("openapi.json")).json();
document.getElementById("about").textContent = api.info.description;
const groups = new Map();
for (const [path, item] of Object.entries(api.paths)) for (const [verb, operation] of Object.entries(item)) {
  const tag = operation.tags?.[0] ?? "other";
  if (!groups.has(tag)) groups.set(tag, []);
  groups.get(tag).push([verb, path, operation]);
}
const main = document.getElementById("main");
main.replaceChildren();
for (const [tag, list] of groups) {
  main.append(el("h2", tag));
  for (const [verb, path, operation] of list) {
    const badge = el("span", verb.toUpperCase()); badge.className = "verb";
    const body = el("div", "", block("Parameters", operation.parameters), block("Body", operation.requestBody), block("Answers", operation.responses));
    main.append(el("details", "", el("summary", "", badge, el("code", path), el("span", operation.summary ?? "")), body));
  }
}
main.append(el("h2", "frames and schemas"));
for (const [name, schema] of Object.entries(api.components?.schemas ?? {})) main.append(el("details", "", el("summary", "", el("code", name)), el("div", "", el("pre", JSON.stringify(schema, null, 2)))));
</script>
</body>
</html>
`;
