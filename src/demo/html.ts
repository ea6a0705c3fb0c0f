/** The document at `/`: the script fills it. Says to the script whether this server gives tokens to its demo users. */

const ICON =
  "data:image/svg+xml," +
  encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="9" fill="#4f46e5"/><path d="M11 14a5 5 0 0 1 10 0c0 4 1.4 5 2 5.7H9c.6-.7 2-1.7 2-5.7ZM14.3 22.5a1.8 1.8 0 0 0 3.4 0" fill="none" stroke="#fff" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/></svg>`,
  );

/** @param tokens whether `POST /demo/token` is there */
export const demoPage = (tokens: boolean): string => `<!doctype html>
<html lang="en" data-tokens="${tokens ? "given" : "pasted"}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="theme-color" content="#f6f7f9" media="(prefers-color-scheme: light)">
<meta name="theme-color" content="#0f1115" media="(prefers-color-scheme: dark)">
<meta name="description" content="In-app notifications for anyone with a Postgres database, live in two windows.">
<title>Tidings</title>
<link rel="icon" href="${ICON}">
<link rel="stylesheet" href="demo.css">
<script type="module" src="demo.js"></script>
</head>
<body>
<noscript>This page shows live streams and needs JavaScript.</noscript>
</body>
</html>
`;
