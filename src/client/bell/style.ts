/**
 * How the bell looks: light and dark, and open to the page by custom properties (all named in the README):
 * --tidings-accent, -badge, -surface, -text, -muted, -border, -hover, -unread, -radius, -font, -size, -panel-width, -z.
 * Its own names begin with `--_`, so that a page may write `--tidings-accent: var(--accent)` without a circle.
 */
export const STYLE: string = `
:host {
  --_accent: var(--tidings-accent, #4f46e5);
  --_badge: var(--tidings-badge, #e11d48);
  --_surface: var(--tidings-surface, #ffffff);
  --_text: var(--tidings-text, #16181d);
  --_muted: var(--tidings-muted, #626a78);
  --_border: var(--tidings-border, #e6e8ec);
  --_hover: var(--tidings-hover, #f4f5f7);
  --_unread: var(--tidings-unread, color-mix(in srgb, var(--_accent) 6%, var(--_surface)));
  --_radius: var(--tidings-radius, 14px);
  --_size: var(--tidings-size, 40px);
  --_shadow: 0 0 0 1px rgb(15 18 25 / .05), 0 4px 10px rgb(15 18 25 / .06), 0 18px 48px rgb(15 18 25 / .16);
  --_blue: #2563eb; --_violet: #7c3aed; --_amber: #b45309; --_red: #dc2626; --_teal: #0f766e; --_green: #15803d;
  position: relative; display: inline-block; color-scheme: light; line-height: 1.45;
  font-family: var(--tidings-font, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif);
  font-size: 14px; font-weight: 400; text-align: start;
}
:host([hidden]) { display: none; }
@media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { DARK } }
:host([theme="dark"]) { DARK }
*, *::before { box-sizing: border-box; }
[hidden] { display: none !important; }
button, a { font: inherit; color: inherit; text-decoration: none; text-align: inherit; background: none; border: 0; padding: 0; margin: 0; cursor: pointer; -webkit-tap-highlight-color: transparent; }
:focus { outline: none; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: -2px; }
h2:focus-visible { outline: none; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.icon { width: 20px; height: 20px; flex: none; display: block; fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }

.trigger { position: relative; display: grid; place-items: center; width: var(--_size); height: var(--_size); border-radius: 50%; transition: background .15s; }
.trigger:hover, .trigger[aria-expanded="true"] { background: color-mix(in srgb, currentColor 8%, transparent); }
.trigger > .icon { width: 55%; height: 55%; transform-origin: 50% 10%; }
.badge { position: absolute; top: 2px; inset-inline-start: 52%; min-width: 18px; height: 18px; padding: 0 5px; border-radius: 9px; background: var(--_badge); color: #fff; font-size: 11px; font-weight: 650; line-height: 18px; text-align: center; font-variant-numeric: tabular-nums; box-shadow: 0 0 0 2px var(--_surface); animation: pop .25s cubic-bezier(.3, 1.6, .6, 1); }
.ring > .icon { animation: ring .8s ease-in-out; }

.panel { position: absolute; top: calc(100% + 8px); inset-inline-end: 0; z-index: var(--tidings-z, 1000); width: min(var(--tidings-panel-width, 392px), calc(100vw - 16px)); max-height: min(640px, calc(100vh - 96px)); display: flex; flex-direction: column; overflow: hidden; border-radius: var(--_radius); background: var(--_surface); color: var(--_text); box-shadow: var(--_shadow); animation: rise .16s ease-out; }
.panel.start { inset-inline: 0 auto; }
header { display: flex; align-items: center; gap: 10px; padding: 14px 12px 12px 18px; border-bottom: 1px solid var(--_border); }
h2 { margin: 0; font-size: 16px; font-weight: 650; letter-spacing: -.01em; }
.status { display: flex; align-items: center; gap: 5px; color: var(--_muted); font-size: 12px; }
.status.on::before { content: ""; width: 7px; height: 7px; border-radius: 50%; background: #16a34a; box-shadow: 0 0 0 3px rgb(22 163 74 / .16); }
.mark-all { display: flex; align-items: center; gap: 6px; margin-inline-start: auto; padding: 6px 8px; border-radius: 8px; color: var(--_accent); font-size: 13px; font-weight: 550; }
.mark-all .icon { width: 17px; height: 17px; }
.mark-all:hover:enabled, .older:hover { background: var(--_hover); }
.mark-all:disabled { color: var(--_muted); opacity: .55; cursor: default; }
.notice { display: flex; align-items: center; justify-content: space-between; gap: 12px; padding: 8px 18px; background: color-mix(in srgb, #f59e0b 14%, var(--_surface)); font-size: 13px; }
.retry { flex: none; font-weight: 600; text-decoration: underline; text-underline-offset: 3px; }

.scroll { overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin; padding-bottom: 6px; }
h3 { margin: 0; padding: 12px 18px 6px; color: var(--_muted); font-size: 12px; font-weight: 600; }
ul { list-style: none; margin: 0; padding: 0 6px; display: grid; gap: 2px; }
.item { position: relative; border-radius: 10px; animation: arrive .3s ease-out; }
.item.unread { background: var(--_unread); }
.item-main { display: flex; gap: 12px; width: 100%; padding: 11px 34px 11px 12px; border-radius: inherit; }
.item:hover, .item:focus-within { background: var(--_hover); }
.item.unread::after { content: ""; position: absolute; top: 18px; inset-inline-end: 14px; width: 8px; height: 8px; border-radius: 50%; background: var(--_accent); pointer-events: none; }
.item:hover::after, .item:focus-within::after { opacity: 0; }
.item-body { display: grid; gap: 1px; min-width: 0; flex: 1; overflow-wrap: anywhere; }
.item-title { font-weight: 500; }
.unread .item-title { font-weight: 650; }
.item-message { color: var(--_muted); display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; white-space: pre-line; }
.item-message:empty { display: none; }
.item-time { color: var(--_muted); font-size: 12px; margin-top: 2px; }
.item-actions { position: absolute; top: 8px; inset-inline-end: 8px; display: flex; gap: 2px; padding: 2px; border-radius: 9px; background: var(--_surface); box-shadow: 0 0 0 1px var(--_border), 0 1px 3px rgb(15 18 25 / .08); opacity: 0; transition: opacity .12s; }
.item:hover .item-actions, .item:focus-within .item-actions { opacity: 1; }
.item-action { display: grid; place-items: center; width: 26px; height: 26px; border-radius: 7px; color: var(--_muted); }
.item-action:hover { background: var(--_hover); color: var(--_text); }
.item-action .icon { width: 16px; height: 16px; }
.figure { position: relative; flex: none; display: grid; place-items: center; width: 38px; height: 38px; border-radius: 50%; overflow: hidden; color: var(--_tint, var(--_accent)); background: color-mix(in srgb, var(--_tint, var(--_accent)) 13%, var(--_surface)); }
.figure img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }
.blue { --_tint: var(--_blue); } .violet { --_tint: var(--_violet); } .amber { --_tint: var(--_amber); }
.red { --_tint: var(--_red); } .teal { --_tint: var(--_teal); } .green { --_tint: var(--_green); }
.older { display: block; width: calc(100% - 24px); margin: 8px 12px 4px; padding: 9px; border-radius: 9px; text-align: center; font-size: 13px; font-weight: 550; color: var(--_accent); }
.empty { display: grid; justify-items: center; gap: 4px; padding: 52px 40px 60px; text-align: center; }
.empty .figure { width: 60px; height: 60px; margin-bottom: 12px; }
.empty .figure .icon { width: 28px; height: 28px; }
.empty.loading .figure { animation: breathe 1.4s ease-in-out infinite; }
.empty p { margin: 0; }
.empty-title { font-size: 15px; font-weight: 600; }
.empty-text { color: var(--_muted); }

@media (hover: none) { .item-actions { opacity: 1; background: none; box-shadow: none; } .item-main { padding-inline-end: 72px; } .item.unread::after { display: none; } }
@media (max-width: 480px) { .panel, .panel.start { position: fixed; inset: auto 8px 8px; width: auto; max-height: calc(100vh - 80px); } }
@media (prefers-reduced-motion: reduce) { *, *::before { animation: none !important; transition: none !important; } }
@media (forced-colors: active) { .panel, .item, .badge { border: 1px solid CanvasText; } .item.unread::after { background: Highlight; forced-color-adjust: none; } }
@keyframes pop { from { transform: scale(.4); } }
@keyframes rise { from { opacity: 0; transform: translateY(-6px) scale(.985); } }
@keyframes arrive { from { opacity: 0; transform: translateY(-8px); } }
@keyframes breathe { 50% { opacity: .45; } }
@keyframes ring { 15% { transform: rotate(14deg); } 30% { transform: rotate(-12deg); } 45% { transform: rotate(9deg); } 60% { transform: rotate(-6deg); } 80% { transform: rotate(3deg); } }
`.replaceAll(
  "DARK",
  `
  --_accent: var(--tidings-accent, #8b8cf8);
  --_badge: var(--tidings-badge, #f43f5e);
  --_surface: var(--tidings-surface, #1a1c22);
  --_text: var(--tidings-text, #edeef2);
  --_muted: var(--tidings-muted, #9aa2b1);
  --_border: var(--tidings-border, #2c2f38);
  --_hover: var(--tidings-hover, #24272f);
  --_unread: var(--tidings-unread, color-mix(in srgb, var(--_accent) 11%, var(--_surface)));
  --_shadow: 0 0 0 1px rgb(255 255 255 / .07), 0 18px 48px rgb(0 0 0 / .55);
  --_blue: #60a5fa; --_violet: #a78bfa; --_amber: #fbbf24; --_red: #f87171; --_teal: #2dd4bf; --_green: #4ade80;
  color-scheme: dark;
`,
);
