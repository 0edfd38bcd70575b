/**
 * Loads a user's job file as it is, TypeScript or JavaScript, configures the job, and plans it.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { type StreamError, streamError } from '../lib/errors.js'
import { type ConfiguredValue, configure, originText } from '../lib/job/configuration.js'
import type { Environment } from '../lib/job/environment.js'
import { isJob, type Job } from '../lib/job/graph.js'
import { type Plan, plan } from '../lib/job/plan.js'
import { type Problem, problemText } from '../lib/job/problem.js'
import { validate } from '../lib/job/validate.js'
import { importFile } from './import-file.js'
import { loadConfiguration } from './load-configuration.js'

/** A job that can run, and where each of its settings came from. */
export interface LoadedJob {
  readonly plan: Plan
  readonly settings: readonly ConfiguredValue[]
  /** The configuration file, if there is one. */
  readonly file: string | undefined
}

/** The job of a file, configured, validated and planned; every problem of its graph is in the error, not only the first. */
export const loadJob = async (
  file: string,
  environment: Environment = process.env,
): Promise<E.Either<StreamError, Plan>> => {
  const loaded = await loadConfiguredJob(file, environment)
  return E.isLeft(loaded) ? loaded : E.right(loaded.right.plan)
}

/** The same, with where each setting came from. */
export const loadConfiguredJob = async (
  file: string,
  environment: Environment = process.env,
): Promise<E.Either<StreamError, LoadedJob>> => {
  const job = await importJob(file)
  if (E.isLeft(job)) return job
  const layers = await loadConfiguration(environment)
  if (E.isLeft(layers)) return layers
  const { graph, values } = configure(job.right.graph, layers.right)
  const valid = validate(graph)
  if (E.isRight(valid))
    return E.right({ plan: plan(valid.right), settings: values, file: layers.right.file?.path })
  const problems = valid.left.map(problem => withOrigin(problem, values))
  const lines = problems.map(problem => `  ${problemText(problem)}`)
  const count = valid.left.length === 1 ? 'one problem' : `${valid.left.length} problems`
  return E.left(
    streamError('invalid', `the job in '${file}' has ${count}:\n${lines.join('\n')}`, {
      next: 'Mend the job file.',
    }),
  )
}

/** A value that is not in the job file is said to come from elsewhere. */
const withOrigin = (problem: Problem, values: readonly ConfiguredValue[]): Problem => {
  const from = values.find(({ key }) => key === problem.path)?.from
  if (from === undefined || from.type === 'code' || from.type === 'default') return problem
  return { ...problem, found: `${problem.found} (${originText(from)})` }
}

const importJob = async (file: string): Promise<E.Either<StreamError, Job>> => {
  const path = resolve(file)
  if (!existsSync(path)) {
    return E.left(
      streamError('invalid', `there is no job file '${file}'`, {
        next: 'Give the path of a file that exports a job by default.',
      }),
    )
  }
  const loaded = await importFile(path, 'job file')
  if (E.isLeft(loaded)) return loaded
  const job = loaded.right
  if (isJob(job)) return E.right(job)
  return E.left(
    streamError('invalid', `'${file}' does not export a job by default, but ${describe(job)}`, {
      next: "End the file with: export default job('name').from(…).to(…).into(…)",
    }),
  )
}

const describe = (value: unknown): string => {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}
