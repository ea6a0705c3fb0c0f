/** Module hook: test files that import "uvu" get uvu.ts, which is uvu with every test and hook reported. */
const shim = new URL("./uvu.ts", import.meta.url).href;

export function resolve(specifier, context, next) {
  if (specifier === "uvu" && !context.parentURL?.startsWith(shim)) return { url: shim, shortCircuit: true };
  return next(specifier, context);
}
