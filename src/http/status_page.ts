/** The page at /status: three small charts of the samples, drawn as SVG. Plain HTML and script in one text. */

export const STATUS_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidings status</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 15%, transparent); --a: #2f7df6; --b: #e0672b }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 2rem 1rem }
section { border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; margin: 1rem 0 }
h2 { font-size: 1rem; margin: 0; display: flex; gap: 1rem; flex-wrap: wrap } h2 span { font-weight: 400 }
svg { width: 100%; height: 120px; display: block; margin-top: .6rem }
path { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke } .a { stroke: var(--a); color: var(--a) } .b { stroke: var(--b); color: var(--b) }
</style>
</head>
<body>
<h1>Tidings status</h1>
<p>This instance over the last five minutes.</p>
<main id="main"></main>
<script type="module">
const charts = [
  ["Open streams", [["websocket", "a", "WebSocket"], ["sse", "b", "SSE"]], ""],
  ["Entries per second", [["rate", "a", "sent"]], "/s"],
  ["Numbered to written", [["p50", "a", "p50"], ["p99", "b", "p99"]], " ms"],
];
const main = document.getElementById("main");
const make = (name, attributes) => { const node = document.createElementNS("http://www.w3.org/2000/svg", name); for (const key in attributes) node.setAttribute(key, attributes[key]); return node; };
function draw(samples) {
  main.replaceChildren(...charts.map(([title, lines, unit]) => {
    const section = document.createElement("section"), heading = document.createElement("h2"), svg = make("svg", { viewBox: "0 0 149 100", preserveAspectRatio: "none", role: "img", "aria-label": title });
    heading.append(title);
    const top = Math.max(1, ...samples.flatMap((sample) => lines.map(([key]) => sample[key] ?? 0)));
    for (const [key, colour, label] of lines) {
      const last = samples.at(-1)?.[key], value = document.createElement("span");
      value.className = colour; value.textContent = label + " " + (last == null ? "–" : Math.round(last * 10) / 10 + unit);
      heading.append(value);
      let d = "", pen = "M";
      samples.forEach((sample, at) => { if (sample[key] == null) { pen = "M"; return; } d += pen + (150 - samples.length + at) + " " + (98 - 96 * sample[key] / top); pen = "L"; });
      svg.append(make("path", { d, class: colour }));
    }
    section.append(heading, svg);
    return section;
  }));
}
async function tick() {
  try { draw((await (await fetch("/status/samples")).json()).samples); } catch { /* the next one tries again */ }
  setTimeout(tick, 2000);
}
tick();
</script>
</body>
</html>
`;
