/** Imports a user's file as it is, TypeScript or JavaScript. */
import { extname } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../lib/errors.js'

const typescript = new Set(['.ts', '.mts', '.cts', '.tsx'])

/** What a file exports by default; `what` says what kind of file it is, for the error. */
export const importFile = async (
  path: string,
  what: string,
): Promise<E.Either<StreamError, unknown>> => {
  const unregister = typescript.has(extname(path)) ? await registerTypeScript() : undefined
  try {
    const module: { readonly default?: unknown } = await import(pathToFileURL(path).href)
    return E.right(exportedBy(module))
  } catch (cause) {
    return E.left(
      streamError('invalid', `the ${what} '${path}' cannot be loaded: ${messageOf(cause)}`, {
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
