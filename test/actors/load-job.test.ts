import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import * as E from 'fp-ts/lib/Either.js'
import { loadJob } from '../../actors/load-job.js'
import type { StreamError } from '../../lib/errors.js'

// Inside the project, so that the files find its packages.
const jobFile = async (t: ExecutionContext, name: string, text: string): Promise<string> => {
  const folder = await mkdtemp(join(process.cwd(), 'dist', 'job-file-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, name)
  await writeFile(file, text)
  return file
}

const refusal = async (file: string): Promise<StreamError> => {
  const loaded = await loadJob(file)
  if (E.isLeft(loaded)) return loaded.left
  throw new Error(`${file} was loaded`)
}

const imports = `
  import * as t from 'io-ts'
  import { actor, iterable, jetstream, job } from '../lib/index.js'
  const numbers = iterable.source({ id: 'numbers', open: offset => [1, 2, 3].slice(offset) })
  const out = jetstream.sink({ id: 'out', subject: 'out' })
`

test('a job file is loaded, validated and planned', async t => {
  const file = await jobFile(
    t,
    'job.mjs',
    `${imports}; export default job('j').from(numbers).into(out)`,
  )
  const loaded = await loadJob(file)
  if (E.isLeft(loaded)) return t.fail(loaded.left.message)
  t.is(loaded.right.job, 'j')
  t.deepEqual(
    loaded.right.subtasks.map(({ id }) => id),
    ['numbers/0'],
  )
})

test('a job file in TypeScript is loaded as it is', async t => {
  const typed = `${imports}; const name: string = 'typed'; export default job(name).from(numbers).into(out)`
  const loaded = await loadJob(await jobFile(t, 'job.mts', typed))
  t.is(E.isRight(loaded) ? loaded.right.job : loaded.left.message, 'typed')
})

test('a file that is not there is named', async t => {
  const error = await refusal('no/such/job.ts')
  t.is(error.type, 'invalid')
  t.is(error.message, "there is no job file 'no/such/job.ts'")
})

test('a file that exports no job says what it exports, and what to write', async t => {
  for (const [text, what] of [
    ['export const x = 1', 'nothing'],
    ['export default null', 'null'],
    ['export default [1]', 'an array'],
    ['export default { type: "job" }', 'a value of type object'],
    ['export default () => 1', 'a value of type function'],
  ] as const) {
    const error = await refusal(await jobFile(t, 'job.mjs', text))
    t.regex(error.message, new RegExp(`does not export a job by default, but ${what}$`))
    t.regex(error.next ?? '', /export default job\('name'\)/)
  }
})

test('a file that throws, or does not parse, says why', async t => {
  const throws = await refusal(await jobFile(t, 'job.mjs', "throw new Error('no database')"))
  t.regex(throws.message, /cannot be loaded: no database$/)
  const broken = await refusal(await jobFile(t, 'job.mjs', 'export default job('))
  t.regex(broken.message, /cannot be loaded: /)
})

test('every problem of a job is told at once', async t => {
  const text = `${imports}; export default job('').from(numbers, { parallelism: 0 }).into(out)`
  const { message } = await refusal(await jobFile(t, 'job.mjs', text))
  t.regex(message, /has (\d+|one) problems?:\n {2}/)
  t.true(message.split('\n').length >= 3, message)
})
