/**
 * Loads a user's job file as it is, TypeScript or JavaScript, and plans it.
 */
import { existsSync } from 'node:fs'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../lib/errors.js'
import { isJob } from '../lib/job/graph.js'
import { type Plan, plan } from '../lib/job/plan.js'
import { validate } from '../lib/job/validate.js'

const typescript = new Set(['.ts', '.mts', '.cts', '.tsx'])

/** The job of a file, validated and planned; every problem of its graph is in the error, not only the first. */
export const loadJob = async (file: string): Promise<E.Either<StreamError, Plan>> => {
  const path = resolve(file)
  if (!existsSync(path)) {
    return E.left(
      streamError('invalid', `there is no job file '${file}'`, {
        next: 'Give the path of a file that exports a job by default.',
      }),
    )
  }
  const loaded = await importFile(path)
  if (E.isLeft(loaded)) return loaded
  const job = loaded.right
  if (!isJob(job)) {
    return E.left(
      streamError('invalid', `'${file}' does not export a job by default, but ${describe(job)}`, {
        next: "End the file with: export default job('name').from(…).to(…).into(…)",
      }),
    )
  }
  const valid = validate(job.graph)
  if (E.isRight(valid)) return E.right(plan(valid.right))
  const lines = valid.left.map(
    p => `  ${p.path}: expected ${p.expected}, found ${p.found}. ${p.next}`,
  )
  const count = valid.left.length === 1 ? 'one problem' : `${valid.left.length} problems`
  return E.left(
    streamError('invalid', `the job in '${file}' has ${count}:\n${lines.join('\n')}`, {
      next: 'Mend the job file.',
    }),
  )
}

const importFile = async (path: string): Promise<E.Either<StreamError, unknown>> => {
  const unregister = typescript.has(extname(path)) ? await registerTypeScript() : undefined
  try {
    const module: { readonly default?: unknown } = await import(pathToFileURL(path).href)
    return E.right(exportedBy(module))
  } catch (cause) {
    return E.left(
      streamError('invalid', `the job file '${path}' cannot be loaded: ${messageOf(cause)}`, {
        next: 'Mend the file; run it with node or tsc to see more.',
        cause,
      }),
    )
  } finally {
    await unregister?.()
  }
}

/** In a package without `"type": "module"`, TypeScript's `export default` becomes `exports.default`. */
const exportedBy = ({ default: exported }: { readonly default?: unknown }): unknown =>
  isCommonJsModule(exported) ? exported.default : exported

const isCommonJsModule = (value: unknown): value is { readonly default?: unknown } =>
  typeof value === 'object' && value !== null && '__esModule' in value

/**
 * Node 20 cannot read TypeScript by itself; the loaders are in place only while the file is imported. Both
 * of them, since the file's package decides whether it is a module or CommonJS.
 */
const registerTypeScript = async (): Promise<() => Promise<void>> => {
  // Its cache would stay behind in the temporary folder.
  process.env.TSX_DISABLE_CACHE ??= '1'
  const [esm, commonJs] = await Promise.all([import('tsx/esm/api'), import('tsx/cjs/api')])
  const ends = [commonJs.register(), esm.register()]
  return async () => {
    for (const end of ends) await end()
  }
}

const describe = (value: unknown): string => {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}
