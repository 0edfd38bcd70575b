/**
 * Finds and reads what is configured for all jobs: the environment, and one file.
 *
 * The file is the one that `SLUICE_CONFIG` names (so does `--config`, for this process and all that
 * it starts), or else `sluice.config.json` or `sluice.config.ts` in the working directory.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, extname, resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { messageOf, type StreamError, streamError } from '../lib/errors.js'
import type { Layers } from '../lib/job/configuration.js'
import { Configuration, configurationProblems } from '../lib/job/configuration-codec.js'
import { configurationIn, type Environment } from '../lib/job/environment.js'
import { type Problem, problemText } from '../lib/job/problem.js'
import { importFile } from './import-file.js'

/** The variable that names the configuration file. */
export const configVariable = 'SLUICE_CONFIG'

const fileNames = ['sluice.config.json', 'sluice.config.ts'] as const

/** This process's environment, naming another configuration file if one is given. */
export const environmentWith = (file: string | undefined): Environment =>
  file === undefined ? process.env : { ...process.env, [configVariable]: file }

/** What is configured for all jobs; every problem of both places is in the error. */
export const loadConfiguration = async (
  environment: Environment = process.env,
): Promise<E.Either<StreamError, Layers>> => {
  const path = findFile(environment)
  if (E.isLeft(path)) return path
  const content = path.right === undefined ? E.right({}) : await read(path.right)
  if (E.isLeft(content)) return content
  const fromFile = Configuration.decode(content.right)
  const fromEnvironment = configurationIn(environment)
  const problems = [
    ...(E.isLeft(fromFile)
      ? configurationProblems(fromFile.left, key => `${path.right}${key === '' ? '' : `: ${key}`}`)
      : []),
    ...(E.isLeft(fromEnvironment) ? fromEnvironment.left : []),
  ]
  if (E.isLeft(fromFile) || E.isLeft(fromEnvironment)) return E.left(problemsError(problems))
  const folder = process.cwd()
  return E.right({
    environment: absolute(fromEnvironment.right, folder),
    file:
      path.right === undefined
        ? undefined
        : { path: path.right, values: absolute(fromFile.right, dirname(path.right)) },
  })
}

const problemsError = (problems: readonly Problem[]): StreamError => {
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`
  const lines = problems.map(problem => `  ${problemText(problem)}`)
  return streamError('invalid', `the configuration has ${count}:\n${lines.join('\n')}`, {
    next: "Mend the configuration; 'sluice config' shows what it comes to.",
  })
}

const findFile = (environment: Environment): E.Either<StreamError, string | undefined> => {
  const named = environment[configVariable]
  if (named !== undefined && named !== '') {
    const path = resolve(named)
    if (existsSync(path)) return E.right(path)
    return E.left(
      streamError('invalid', `there is no configuration file '${named}'`, {
        next: `Correct --config or ${configVariable}.`,
      }),
    )
  }
  const found = fileNames.map(name => resolve(name)).filter(path => existsSync(path))
  if (found.length < 2) return E.right(found[0])
  return E.left(
    streamError('invalid', `there are two configuration files: ${fileNames.join(' and ')}`, {
      next: 'Remove one, or name one with --config.',
    }),
  )
}

const read = async (path: string): Promise<E.Either<StreamError, unknown>> => {
  if (extname(path) !== '.json') return importFile(path, 'configuration file')
  try {
    const text = await readFile(path, 'utf8')
    return parsed(path, text)
  } catch (cause) {
    return E.left(unreadable(path, 'be read', cause, 'Give a file that this user may read.'))
  }
}

const parsed = (path: string, text: string): E.Either<StreamError, unknown> => {
  try {
    return E.right(JSON.parse(text))
  } catch (cause) {
    return E.left(unreadable(path, 'be parsed as JSON', cause, 'Mend the file.'))
  }
}

const unreadable = (path: string, what: string, cause: unknown, next: string): StreamError =>
  streamError('invalid', `the configuration file '${path}' cannot ${what}: ${messageOf(cause)}`, {
    next,
    cause,
  })

/** Folders as every process of the job understands them, wherever it was started. */
const absolute = (values: Configuration, base: string): Configuration => {
  const { stateBackend, checkpointsFolder, savepointsFolder, localRecoveryFolders } = values
  const at = (folder: string): string => resolve(base, folder)
  return {
    ...values,
    ...(stateBackend?.type === 'fs' && stateBackend.folder !== undefined
      ? { stateBackend: { ...stateBackend, folder: at(stateBackend.folder) } }
      : {}),
    ...(checkpointsFolder === undefined ? {} : { checkpointsFolder: at(checkpointsFolder) }),
    ...(savepointsFolder === undefined ? {} : { savepointsFolder: at(savepointsFolder) }),
    ...(localRecoveryFolders === undefined
      ? {}
      : { localRecoveryFolders: localRecoveryFolders.map(at) }),
  }
}
