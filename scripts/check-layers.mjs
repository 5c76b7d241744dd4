#!/usr/bin/env node
/**
 * The rules of the house that biome cannot express, checked by `make lint`:
 *
 *  1. Imports (of types too) point down the list of layers only, and nothing in src/ imports from outside it.
 *     The driver lies beside that list: it imports wire and runtime, and only driver/device.ts (the interface) is imported
 *     from above, by the exokernel. src/cli, src/host and src/index.ts put the parts together and may import all.
 *  2. Time and dice are injected: clocks, timers and randomness are used in src/runtime and src/cli only.
 *     `new Date(ms)`, `Date.UTC` and `Date.parse` compute and read no clock, they are free.
 *  3. Foreign code is called from src/runtime/syscalls.ts only: nobody else imports koffi.
 *
 *   node scripts/check-layers.mjs [src]
 *
 * Prints one `file:line: sentence` for each breach; exit code 1 when there is any.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** From top to bottom: a layer may import itself and what stands after it. */
const LAYERS = ['servers', 'sockets', 'tcp', 'libos', 'exokernel', 'downloadfilter', 'wire', 'runtime'];
const BESIDE = { driver: ['driver', 'wire', 'runtime'] };
const FREE = ['cli', 'host', 'index.ts'];
const DEVICE_INTERFACE = 'driver/device.ts';

const CLOCK_MODULES = ['crypto', 'perf_hooks', 'timers', 'timers/promises'];
const CLOCK_GLOBALS = ['performance', 'crypto', 'setTimeout', 'setInterval', 'setImmediate'];
const CLOCK_MEMBERS = ['Math.random', 'process.hrtime', 'process.uptime', 'Date.now'];
const CLOCK_FOLDERS = ['runtime', 'cli'];
const FOREIGN_FILE = 'runtime/syscalls.ts';

const root = resolve(process.argv[2] ?? fileURLToPath(new URL('../src', import.meta.url)));
const files = readdirSync(root, { recursive: true })
  .filter((path) => path.endsWith('.ts'))
  .sort();
const breaches = files.flatMap(checkFile);
for (const breach of breaches) console.error(breach);
if (breaches.length === 0) console.log(`Checked the layers of ${files.length} files.`);
process.exitCode = breaches.length > 0 ? 1 : 0;

/** The breaches of one file, whose path is relative to the root. */
function checkFile(path) {
  const source = ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest, true);
  const found = [];
  const report = (node, sentence) => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
    found.push(`${relative(process.cwd(), join(root, path))}:${line + 1}: ${sentence}`);
  };
  const visit = (node) => {
    const specifier = importedFrom(node);
    if (specifier !== undefined) {
      const sentence = specifier.startsWith('.') ? judgeRelative(path, specifier) : judgePackage(path, specifier);
      if (sentence !== undefined) report(node, sentence);
    }
    if (!CLOCK_FOLDERS.includes(folderOf(path))) {
      const name = clockUse(node);
      if (name !== undefined)
        report(node, `${name} outside src/runtime and src/cli: take a Clock, a Random or a timer.`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** `tcp` for tcp/input.ts, `index.ts` for a file that lies in the root. */
function folderOf(path) {
  return path.split('/')[0];
}

/** What a node imports from: import and export declarations, `import()` calls, `import('x').Type`. */
function importedFrom(node) {
  let literal;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) literal = node.moduleSpecifier;
  else if (ts.isImportTypeNode(node)) literal = ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
  else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
    literal = node.arguments[0];
  return literal !== undefined && ts.isStringLiteralLike(literal) ? literal.text : undefined;
}

/** Why `path` must not import the relative `specifier`, or undefined when it may. */
function judgeRelative(path, specifier) {
  const target = normalize(join(dirname(path), specifier));
  if (target.startsWith('..')) return `imports ${specifier}, which is outside the sources.`;
  const from = folderOf(path);
  const to = folderOf(target);
  if (FREE.includes(from)) return undefined;
  if (from === 'exokernel' && to === 'driver') {
    return target === DEVICE_INTERFACE ? undefined : `exokernel imports ${target}, it knows ${DEVICE_INTERFACE} only.`;
  }
  const at = LAYERS.indexOf(from);
  const allowed = at >= 0 ? LAYERS.slice(at) : BESIDE[from];
  if (allowed === undefined) return `${from}/ is no layer of the house: name its place in scripts/check-layers.mjs.`;
  return allowed.includes(to) ? undefined : `${from} imports ${target}; it may import ${allowed.join(', ')}.`;
}

/** Why `path` must not import the package or Node module `specifier`, or undefined when it may. */
function judgePackage(path, specifier) {
  if (specifier === 'koffi' && path !== FOREIGN_FILE) {
    return `koffi outside src/${FOREIGN_FILE}: give the system call a function there.`;
  }
  const module = specifier.replace(/^node:/, '');
  if (CLOCK_MODULES.includes(module) && !CLOCK_FOLDERS.includes(folderOf(path))) {
    return `imports ${specifier} outside src/runtime and src/cli: take a Clock, a Random or a timer.`;
  }
  return undefined;
}

/** The clock, timer or dice that an expression uses, or undefined. */
function clockUse(node) {
  if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
    const member = `${node.expression.text}.${node.name.text}`;
    if (CLOCK_MEMBERS.includes(member)) return member;
  }
  if (ts.isNewExpression(node) && isNamed(node.expression, 'Date') && (node.arguments ?? []).length === 0) {
    return 'new Date()';
  }
  if (ts.isCallExpression(node) && isNamed(node.expression, 'Date')) return 'Date()';
  if (ts.isIdentifier(node) && CLOCK_GLOBALS.includes(node.text) && isReference(node)) return node.text;
  return undefined;
}

function isNamed(node, name) {
  return ts.isIdentifier(node) && node.text === name;
}

/** Whether an identifier is read as a variable: no property name, no declaration, no type. */
function isReference(node) {
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent)) {
    return parent.expression === node || isNamed(parent.expression, 'globalThis');
  }
  if (ts.isTypeNode(parent) || ts.isTypeElement(parent) || ts.isQualifiedName(parent)) return false;
  if (ts.isImportSpecifier(parent) || ts.isExportSpecifier(parent)) return false;
  if (ts.isShorthandPropertyAssignment(parent)) return true;
  return parent.name !== node && parent.propertyName !== node;
}
