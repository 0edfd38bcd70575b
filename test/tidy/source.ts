/**
 * What the tidy rules look at: the facts of one source file, read from its syntax tree.
 *
 * A parser stands behind it, because text alone cannot tell an import from a comment about one.
 * Nothing here judges.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from '@babel/parser'

/** The project's folder, seen from the built test. */
export const projectFolder = fileURLToPath(new URL('../../../', import.meta.url))

/** One way in which a file names another module. */
export interface Import {
  /** As written: `../errors.js`, `nats`, `node:fs`. */
  readonly specifier: string
  /** The compiler erases it: nothing is loaded. */
  readonly typeOnly: boolean
  /** `entry`: a file that is started by its address, `new URL('./x.js', import.meta.url)`. */
  readonly kind: 'static' | 'dynamic' | 'entry'
  readonly line: number
}

/** Something at a line of a file. */
export interface Found {
  readonly name: string
  readonly line: number
}

/** Everything that the rules want to know of a file. */
export interface SourceFacts {
  /** From the project's folder, with forward slashes. */
  readonly path: string
  readonly imports: readonly Import[]
  /** Names used as values that are nobody's property, and `Date.now` and its like as one name. */
  readonly names: readonly Found[]
  /** Where something waits: `async`, `await`. */
  readonly waits: readonly Found[]
  /** Where types are not told the truth: `any`, `as unknown as`, compiler directives. */
  readonly evasions: readonly Found[]
  /** Default exports; named after what is exported: `job` for what `job(...)` begins, else `other`. */
  readonly defaultExports: readonly Found[]
  /** Tests that do not run, or keep others from running. */
  readonly unrun: readonly Found[]
  /** Exported names that are declared here, and whether a doc comment stands before them. */
  readonly exported: ReadonlyMap<string, { readonly documented: boolean }>
  /** Exported names that come from elsewhere: where from, and under what name there. */
  readonly reexported: ReadonlyMap<string, { readonly specifier: string; readonly name: string }>
}

/** All TypeScript files below folders of the project. */
export const sourceFiles = (...folders: readonly string[]): readonly SourceFacts[] =>
  folders.flatMap(folder =>
    readdirSync(join(projectFolder, folder), { recursive: true, encoding: 'utf8' })
      .map(file => join(folder, file).replaceAll('\\', '/'))
      .filter(path => path.endsWith('.ts'))
      .sort()
      .map(path => factsOf(path, readFileSync(join(projectFolder, path), 'utf8'))),
  )

type Tree = Readonly<Record<string, unknown>> & { readonly type: string }

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'

/** The facts of one file's text. Throws where the text is no TypeScript. */
export const factsOf = (path: string, text: string): SourceFacts => {
  const { program, comments } = parse(text, { sourceType: 'module', plugins: ['typescript'] })
  const facts = {
    path,
    imports: [] as Import[],
    names: [] as Found[],
    waits: [] as Found[],
    evasions: directives(comments ?? []),
    defaultExports: [] as Found[],
    unrun: [] as Found[],
    exported: new Map<string, { readonly documented: boolean }>(),
    reexported: new Map<string, { readonly specifier: string; readonly name: string }>(),
  }
  const constants = new Map<string, unknown>()
  walk(program, undefined, '', (node, parent, field) => {
    facts.imports.push(...importsOf(node))
    facts.names.push(...namesOf(node, parent, field))
    facts.waits.push(...waitsOf(node))
    facts.evasions.push(...evasionsOf(node))
    facts.unrun.push(...unrunOf(node))
    if (node.type === 'VariableDeclarator' && textAt(node.id, 'name') !== '')
      constants.set(textAt(node.id, 'name'), node.init)
  })
  for (const statement of program.body) {
    if (!isTree(statement)) continue
    facts.defaultExports.push(...defaultExportsOf(statement, constants))
    readExports(statement, facts)
  }
  return facts
}

type Visit = (node: Tree, parent: Tree | undefined, field: string) => void

const walk = (value: unknown, parent: Tree | undefined, field: string, visit: Visit): void => {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, parent, field, visit)
    return
  }
  if (!isTree(value)) return
  visit(value, parent, field)
  for (const [key, child] of Object.entries(value)) {
    if (!notTree.has(key)) walk(child, value, key, visit)
  }
}

const notTree = new Set(['type', 'loc', 'extra', 'errors', 'tokens'])

const textAt = (node: unknown, field: string): string => {
  const value = isTree(node) ? node[field] : undefined
  return typeof value === 'string' ? value : ''
}

const lineOf = (node: Tree): number => {
  const loc = node.loc
  if (typeof loc !== 'object' || loc === null || !('start' in loc)) return 0
  const { start } = loc
  return typeof start === 'object' && start !== null && 'line' in start ? Number(start.line) : 0
}

const importsOf = (node: Tree): readonly Import[] => {
  const line = lineOf(node)
  const named = (kind: Import['kind'], from: unknown, typeOnly: boolean): readonly Import[] =>
    isTree(from) && from.type === 'StringLiteral'
      ? [{ specifier: textAt(from, 'value'), typeOnly, kind, line }]
      : []
  switch (node.type) {
    case 'ImportDeclaration':
      return named('static', node.source, node.importKind === 'type' || allTypes(node, 'import'))
    case 'ExportNamedDeclaration':
      return named('static', node.source, node.exportKind === 'type' || allTypes(node, 'export'))
    case 'ExportAllDeclaration':
      return named('static', node.source, node.exportKind === 'type')
    case 'TSImportType':
      return named('static', node.argument, true)
    case 'CallExpression':
      return isTree(node.callee) && node.callee.type === 'Import'
        ? named('dynamic', firstOf(node.arguments), false)
        : []
    case 'NewExpression':
      return textAt(node.callee, 'name') === 'URL' && isMetaUrl(secondOf(node.arguments))
        ? named('entry', firstOf(node.arguments), false)
        : []
    default:
      return []
  }
}

/** `import { type A, type B }`: nothing but types, by name. */
const allTypes = (node: Tree, what: 'import' | 'export'): boolean => {
  const { specifiers } = node
  if (!Array.isArray(specifiers) || specifiers.length === 0) return false
  return specifiers.every(one => textAt(one, `${what}Kind`) === 'type')
}

const firstOf = (list: unknown): unknown => (Array.isArray(list) ? list[0] : undefined)
const secondOf = (list: unknown): unknown => (Array.isArray(list) ? list[1] : undefined)

const isMetaUrl = (node: unknown): boolean =>
  isTree(node) &&
  node.type === 'MemberExpression' &&
  isTree(node.object) &&
  node.object.type === 'MetaProperty' &&
  textAt(node.property, 'name') === 'url'

const namesOf = (
  node: Tree,
  parent: Tree | undefined,
  field: string,
): readonly { readonly name: string; readonly line: number }[] => {
  const line = lineOf(node)
  if (node.type === 'MemberExpression' && node.computed !== true) {
    const object = textAt(node.object, 'name')
    return object === '' ? [] : [{ name: `${object}.${textAt(node.property, 'name')}`, line }]
  }
  if (node.type === 'NewExpression' && Array.isArray(node.arguments)) {
    const callee = textAt(node.callee, 'name')
    return node.arguments.length === 0 ? [{ name: `new ${callee}()`, line }] : []
  }
  if (node.type !== 'Identifier' || parent === undefined) return []
  return isProperty(parent, field) ? [] : [{ name: textAt(node, 'name'), line }]
}

/** Whether an identifier only names a member of something: `a.name`, `{ name: 1 }`, `name: string`. */
const isProperty = (parent: Tree, field: string): boolean => {
  if (parent.computed === true) return false
  if (field === 'property') return parent.type.endsWith('MemberExpression')
  if (field === 'key') return true
  if (field === 'imported' || field === 'exported') return true
  return parent.type.startsWith('TS') && field !== 'expression'
}

const waitsOf = (node: Tree): readonly Found[] => {
  const line = lineOf(node)
  if (node.type === 'AwaitExpression') return [{ name: 'await', line }]
  if (node.type === 'ForOfStatement' && node.await === true) return [{ name: 'for await', line }]
  return node.async === true ? [{ name: 'async', line }] : []
}

const evasionsOf = (node: Tree): readonly Found[] => {
  const line = lineOf(node)
  if (node.type === 'TSAnyKeyword') return [{ name: 'any', line }]
  if (node.type !== 'TSAsExpression' || !isTree(node.expression)) return []
  const inner = node.expression
  const isUnknown = isTree(inner.typeAnnotation) && inner.typeAnnotation.type === 'TSUnknownKeyword'
  return inner.type === 'TSAsExpression' && isUnknown ? [{ name: 'as unknown as', line }] : []
}

const directives = (comments: readonly unknown[]): Found[] =>
  comments.flatMap(comment => {
    const name = /^[\s*]*@(ts-[a-z-]+)/.exec(textAt(comment, 'value'))?.[1]
    return name === undefined || !isTree(comment) ? [] : [{ name, line: lineOf(comment) }]
  })

const unrunOf = (node: Tree): readonly Found[] => {
  if (node.type !== 'MemberExpression') return []
  const name = textAt(node.property, 'name')
  const isTest =
    textAt(node.object, 'name') === 'test' || textAt(node.object, 'type') === 'MemberExpression'
  const isUnrun = name === 'only' || name === 'skip' || name === 'todo' || name === 'failing'
  return isTest && isUnrun ? [{ name: `test.${name}`, line: lineOf(node) }] : []
}

const defaultExportsOf = (
  statement: Tree,
  constants: ReadonlyMap<string, unknown>,
): readonly Found[] => {
  const line = lineOf(statement)
  if (statement.type === 'ExportDefaultDeclaration') {
    const named = textAt(statement.declaration, 'name')
    const value = constants.get(named) ?? statement.declaration
    return [{ name: isJob(value) ? 'job' : 'other', line }]
  }
  if (statement.type !== 'ExportNamedDeclaration' || !Array.isArray(statement.specifiers)) return []
  return statement.specifiers
    .filter(one => isTree(one) && textAt(one.exported, 'name') === 'default')
    .map(one => ({ name: isJob(constants.get(textAt(one.local, 'name'))) ? 'job' : 'other', line }))
}

/** Whether an expression begins with `job(...)` and goes on with its methods. */
const isJob = (value: unknown): boolean => {
  if (!isTree(value) || value.type !== 'CallExpression' || !isTree(value.callee)) return false
  const { callee } = value
  if (callee.type === 'Identifier') return callee.name === 'job'
  return callee.type === 'MemberExpression' && isJob(callee.object)
}

const readExports = (
  statement: Tree,
  facts: {
    readonly exported: Map<string, { readonly documented: boolean }>
    readonly reexported: Map<string, { readonly specifier: string; readonly name: string }>
  },
): void => {
  if (statement.type !== 'ExportNamedDeclaration') return
  const { specifiers, source, declaration } = statement
  for (const one of Array.isArray(specifiers) ? specifiers : []) {
    const name = textAt(one.local, 'name')
    const specifier = textAt(source, 'value')
    facts.reexported.set(textAt(one.exported, 'name'), { specifier, name })
  }
  const documented = hasDoc(statement)
  for (const name of declared(declaration)) {
    // An overload or a type and a value of one name: one doc comment is enough.
    const before = facts.exported.get(name)?.documented === true
    facts.exported.set(name, { documented: documented || before })
  }
}

const declared = (declaration: unknown): readonly string[] => {
  if (!isTree(declaration)) return []
  if (declaration.type !== 'VariableDeclaration') return [textAt(declaration.id, 'name')]
  const list = Array.isArray(declaration.declarations) ? declaration.declarations : []
  return list.map(one => textAt(one.id, 'name'))
}

const hasDoc = (node: Tree): boolean => {
  const comments = Array.isArray(node.leadingComments) ? node.leadingComments : []
  const last = comments.at(-1)
  return isTree(last) && last.type === 'CommentBlock' && textAt(last, 'value').startsWith('*')
}
