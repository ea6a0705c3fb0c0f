// @timeout 60
import { conformance } from "./conformance.ts";

conformance("conformance on Node", [process.execPath, ...process.execArgv]);
